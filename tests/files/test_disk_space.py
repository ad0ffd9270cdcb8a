from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from satseg.errors import OutputError
from satseg.files.disk_space import format_bytes, require_space, rows_in


def test_what_fits_passes_in_folders_that_do_not_exist_yet(tmp_path: Path) -> None:
    require_space({tmp_path / "new" / "folder": 1000, tmp_path: 0})
    assert not (tmp_path / "new").exists()


def test_what_does_not_fit_is_refused_with_numbers(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutputError, match=r"not enough disk space in .*/out: up to 1 PB are needed, .* are free"):
        require_space({tmp_path / "out": 10**15})
    with pytest.raises(OutputError, match=r"/a and .*/b: up to"):  # each would fit, but they share a disk
        require_space({tmp_path / "a": int(free * 0.7), tmp_path / "b": int(free * 0.7)})


def test_sizes_are_readable() -> None:
    sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 12_345_678: "12.3 MB", 999_600: "1 MB", 2 * 10**9: "2 GB"}
    assert {count: format_bytes(count) for count in sizes} == sizes


def test_what_lies_there_already_is_counted_as_far_as_it_is_written(tmp_path: Path) -> None:
    assert rows_in(tmp_path / "absent") == 0
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "full.raw").write_bytes(b"x" * 100_000)
    with (tmp_path / "a" / "b" / "empty.raw").open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "a" / "other").write_bytes(b"x" * 100_000)
    assert 100_000 <= rows_in(tmp_path) < 200_000
