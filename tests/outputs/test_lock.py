from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.outputs.lock import LOCK, OWNER, ensure_locked, locked, work_folder

HOLDER = """
import sys, time
from pathlib import Path
from satseg.outputs.lock import locked
with locked(*map(Path, sys.argv[1:])):
    print("held", flush=True)
    time.sleep(60)
"""

LATE = """
import sys
from pathlib import Path
from satseg.outputs import lock
take, waited = lock.lock_descriptor, []
def late(lock, **options):
    if not waited:
        waited.append(print("opened", flush=True))
        sys.stdin.readline()
    return take(lock, **options)
lock.lock_descriptor = late
with lock.locked(Path(sys.argv[1])):
    print("held", Path(sys.argv[2]).exists())
"""


def hold(*paths: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, *map(str, paths)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_run_is_told_who_has_the_output(tmp_path: Path) -> None:
    first, second = tmp_path / "a.tif", tmp_path / "b.gpkg"
    process = hold(first, second)
    try:
        for lock in (locked, ensure_locked):
            with pytest.raises(OutputError, match=rf"b\.gpkg is being written by process {process.pid} \(") as refused:
                lock(second).__enter__()
            assert refused.value.hint is not None
    finally:
        process.kill()
        process.wait()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    process = hold(tmp_path / "a.tif")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path / "a.tif"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_where_one_output_is_locked_none_is_taken(tmp_path: Path) -> None:
    with locked(tmp_path / "b"):
        with pytest.raises(OutputError, match="b is being written"), locked(tmp_path / "a", tmp_path / "b"):
            pass
        with locked(tmp_path / "a"):
            pass


def test_a_lock_of_this_process_is_not_taken_twice(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with locked(path):
        with ensure_locked(path):
            pass
        with pytest.raises(OutputError, match="a is being written"), locked(path):
            pass
        assert (work_folder(path) / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_deleted_is_not_taken_for_held(tmp_path: Path) -> None:
    """Whoever opened the lock before it was deleted must not share the output with those who come later."""
    path, folder = tmp_path / "a", work_folder(tmp_path / "a")
    with locked(path):
        other = subprocess.Popen(
            [sys.executable, "-c", LATE, str(path), str(folder / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"opened\n"
    assert not folder.exists()
    assert other.communicate(b"\n")[0] == b"held True\n"
    assert list(tmp_path.iterdir()) == []


def test_what_serves_resuming_stays_without_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with locked(path):
        (work_folder(path) / "journal").touch()
    assert os.listdir(work_folder(path)) == ["journal"]


def test_a_stale_lock_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    work_folder(path).mkdir()
    for name in (LOCK, OWNER):
        (work_folder(path) / name).write_bytes(b"not JSON \xff")
    with locked(path):
        pass
    assert not work_folder(path).exists()


@pytest.mark.parametrize("name", ["a" * 246 + ".fgb", "ä" * 125 + ".fgb", os.fsdecode(b"\xff" * 251 + b".fgb")])
def test_work_folders_of_long_names_fit_and_differ(tmp_path: Path, name: str) -> None:
    folder = work_folder(tmp_path / name)
    assert len(os.fsencode(folder.name)) <= 255
    assert folder.name != work_folder(tmp_path / f"b{name[1:]}").name
    with locked(tmp_path / name):
        assert folder.is_dir()


def test_short_names_show_in_the_work_folder(tmp_path: Path) -> None:
    assert work_folder(tmp_path / "map.tif") == tmp_path / ".map.tif.satseg"


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match="No space left on device"), locked(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_systems_without_locks_are_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object, **options: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("satseg.outputs.lock.lock_descriptor", unsupported)
    with locked(tmp_path / "a"), ensure_locked(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_holds_the_beginning_of_a_command_that_names_thousands_of_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["satseg", "predict", "my scene.tif", *(f"s{i}.tif" for i in range(5000))])
    with locked(tmp_path / "a"):
        text = (work_folder(tmp_path / "a") / OWNER).read_text()
    assert "satseg predict 'my scene.tif' s0.tif s1.tif" in text
    assert len(text) < 500
