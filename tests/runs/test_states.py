from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from satseg.errors import OutputError, TrainingError
from satseg.runs.states import load_state, save_state

TENSORS = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor(0.1)}
VALUES = {"step": 3, "seconds": 0.1 + 0.2, "best": None}


def test_tensors_and_values_come_back_as_they_were(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", TENSORS, VALUES)
    tensors, values = load_state(tmp_path / "s.safetensors")
    assert values == VALUES
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_equal_states_are_equal_files(tmp_path: Path) -> None:
    save_state(tmp_path / "1.safetensors", TENSORS, VALUES)
    save_state(tmp_path / "2.safetensors", dict(reversed(TENSORS.items())), dict(reversed(VALUES.items())))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_others_may_read_a_state_as_they_may_read_other_files(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", TENSORS, VALUES)
    (tmp_path / "usual").touch()
    assert (tmp_path / "s.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_broken_or_missing_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    with pytest.raises(TrainingError, match=r"s\.safetensors"):
        load_state(path)
    save_state(path, TENSORS, VALUES)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(TrainingError, match=r"s\.safetensors"):
        load_state(path)


def test_a_full_disk_is_said_and_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, TENSORS, VALUES)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match=r"Cannot write .*s\.safetensors: .*No space left on device"):
        save_state(path, TENSORS, VALUES)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
