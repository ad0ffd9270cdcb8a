"""Lists on stdin in the encodings that programs write, and streams that are closed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scene_files import write_scene

from satseg.classes import ClassTable, MapClass
from satseg.cli.streams import names_on_stdin

NAMES = ["one.tif", "zwei ü.tif", "日本.tif"]
LATIN = os.fsdecode(b"b\xe2t.tif")


def read(content: bytes) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), encoding="utf-8"))
        return list(names_on_stdin())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("last", [True, False])
def test_lists_are_read_in_the_encodings_of_windows(encoding: str, end: str, last: bool) -> None:
    content = end.join(["", *NAMES, "", "x.tif"][1:]) + (end if last else "")
    assert read(content.encode(encoding)) == [*NAMES, "x.tif"]


def test_lists_may_hold_any_bytes_that_names_have() -> None:
    assert read(b"b\xe2t.tif\n  two.tif \n\n") == [LATIN, "two.tif"]
    assert read(b"a\nb.tif\0b\xe2t.tif\0c.tif") == ["a\nb.tif", LATIN, "c.tif"]
    assert read(b"") == []


@given(names=st.lists(st.text(st.characters(exclude_characters="\0/", exclude_categories=("Cs",)), min_size=1)))
def test_what_find_prints_with_print0_comes_back(names: list[str]) -> None:
    content = b"".join(b"/" + os.fsencode(name) + b"\0" for name in names)
    assert read(content) == [f"/{name}".rstrip("\r\n").strip() for name in names]


def test_blanks_around_a_name_stay_where_a_file_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / " a.tif ").touch()
    assert read(b" a.tif \n b.tif \n") == [" a.tif ", "b.tif"]


def test_names_are_taken_as_they_come() -> None:
    code = (
        "import sys; from satseg.cli.streams import names_on_stdin\n"
        "for name in names_on_stdin(): print(name, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for name in (b"a.tif\n", b"b.tif\n"):
            process.stdin.write(name)
            process.stdin.flush()
            assert process.stdout.readline() == name
        process.stdin.close()


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = line.replace("satseg", f"'{sys.executable}' -m satseg")
    return subprocess.run(["bash", "-c", words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_closed_streams_are_said_or_are_no_matter(tmp_path: Path) -> None:
    write_scene(tmp_path / "map.tif", np.kron(np.eye(2), np.ones((4, 4)))[None].astype(np.uint8))
    done = in_shell("satseg vectorize map.tif -o a.gpkg >&- <&- 2>&-", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "a.gpkg").exists()
    for line in ("satseg vectorize map.tif -o - >&-", "satseg vectorize map.tif -o b.gpkg --json >&-"):
        done = in_shell(line, tmp_path)
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            1,
            "error: stdout is closed, so that nothing can be written to it.",
        )
    assert not (tmp_path / "b.gpkg").exists()
    done = in_shell("satseg vectorize - -o b.gpkg <&-", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: stdin is closed: there is no list of names to read.\n")


def test_names_that_are_no_utf8_are_printed(tmp_path: Path) -> None:
    write_scene(tmp_path / "plain.tif", np.ones((1, 4, 4), dtype=np.uint8)).rename(tmp_path / LATIN)
    for words in (["info", tmp_path / LATIN], ["info", tmp_path / LATIN, "--json"]):
        command = [sys.executable, "-m", "satseg", *map(str, words)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert (b"b\xe2t.tif" in done.stdout) or json.loads(done.stdout)["path"].endswith("t.tif")
    done = subprocess.run([*command[:4], f"{tmp_path}/none-{LATIN}"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert rb"none-b\udce2t.tif does not exist" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_names_that_a_stream_has_no_characters_for_are_spelt_out(tmp_path: Path, encoding: str) -> None:
    path = write_scene(tmp_path / "größe–水.tif", np.ones((1, 4, 4), dtype=np.uint8))
    for words, code in ((("info", path), 0), (("info", f"{path}.none"), 1)):
        done = subprocess.run(
            [sys.executable, "-m", "satseg", *map(str, words)],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert rb"\u6c34.tif" in (done.stderr if code else done.stdout)


def test_geojson_on_stdout_is_utf8_whatever_the_encoding_of_the_stream(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "map.tif", np.zeros((1, 4, 4), dtype=np.uint8))
    table = ClassTable((MapClass(0, "größe–水", "#112233"),))
    with rasterio.open(path, "r+") as file:
        file.update_tags(SATSEG_CLASSES=json.dumps(table.to_dict()))
    done = subprocess.run(
        [sys.executable, "-m", "satseg", "vectorize", str(path), "-o", "-"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8").strip("\x1e\n"))["properties"]["class_name"] == "größe–水"
