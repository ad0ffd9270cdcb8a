from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from satseg.errors import OutputError
from satseg.files.spill import SpillStore


def test_arrays_come_back_as_they_were_whatever_the_budget(tmp_path: Path, held_bytes: Callable[[], int]) -> None:
    rng = np.random.default_rng(0)
    arrays = {i: rng.integers(0, 999, (3, i + 1, 5)).astype(["uint8", "int16", "float32"][i % 3]) for i in range(20)}
    with SpillStore(1000, tmp_path) as store:
        for key, array in arrays.items():
            store.put(key, array)
        assert held_bytes() <= 1000
        for key in [*reversed(arrays), *arrays]:
            found = store.get(key)
            assert found.dtype == arrays[key].dtype
            assert (found == arrays[key]).all()


def test_what_is_taken_or_dropped_is_gone_and_its_place_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[IO[bytes]] = []
    make = tempfile.TemporaryFile
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: files.append(make(**options)) or files[-1])
    with SpillStore(0, tmp_path) as store:
        for turn in range(50):
            store.put("a", np.full(1000, turn))
            store.put("b", np.full(1000, -turn))
            assert store.take("a")[0] == turn
            assert "a" not in store
            store.drop("b")
            assert files[0].seek(0, os.SEEK_END) <= 3 * 8000
        with pytest.raises(KeyError):
            store.get("a")


def test_the_scratch_file_has_no_name(tmp_path: Path) -> None:
    with SpillStore(0, tmp_path) as store:
        store.put("a", np.ones(9))
        store.put("b", np.ones(9))
        assert list(tmp_path.iterdir()) == []


def test_a_missing_scratch_folder_is_named(tmp_path: Path) -> None:
    with SpillStore(0, tmp_path / "gone") as store:
        store.put("a", np.ones(9))
        with pytest.raises(OutputError, match="gone"):
            store.put("b", np.ones(9))
