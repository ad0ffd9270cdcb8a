from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.checkpoint import Checkpoint
from satseg.exporting.half_checkpoint import open_half_checkpoint, write_half_checkpoint


def test_a_half_checkpoint_has_rounded_weights_and_the_same_card(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path), half=True)
    write_half_checkpoint(tmp_path / "half.safetensors", subject)
    half = Checkpoint.load(tmp_path / "half.safetensors")
    assert half.card == subject.checkpoint.card
    weights = subject.checkpoint.read_weights()
    for name, tensor in half.read_weights().items():
        assert tensor.dtype == torch.float16
        assert torch.equal(tensor, weights[name].half())
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_half_checkpoint_runs_as_predict_runs_it(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path), half=True)
    write_half_checkpoint(tmp_path / "half.safetensors", subject)
    images = pixels(subject, 2, 64, 64)
    expected = reference_of(subject).probabilities(images, np.ones((2, 64, 64), dtype=bool)).numpy()
    found = open_half_checkpoint(tmp_path / "half.safetensors", subject)(images)
    assert 0 < np.abs(found - expected).max() < 0.01
