from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.checkpoint import ModelCard
from satseg.errors import ArchitectureError
from satseg.exporting.program import trace, write_program


def test_a_program_runs_without_satseg_and_brings_its_card(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path, dtype="float32"))
    write_program(tmp_path / "a.pt2", subject)
    notes = {"satseg": "", "satseg_export": ""}
    module = torch.export.load(tmp_path / "a.pt2", extra_files=notes).module()
    assert ModelCard.from_json(notes["satseg"]) == subject.checkpoint.card
    for shape in ((1, 64, 64), (2, 129, 70)):
        images = pixels(subject, *shape)
        images[:, 0, 3:5] = np.nan
        expected = reference_of(subject).probabilities(images, np.ones(shape, dtype=bool))
        assert torch.allclose(module(torch.from_numpy(images)), expected, atol=1e-6)


def test_a_network_that_treats_large_images_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"net\.py:split cannot be exported to this format: .* sizes"):
        trace(subject_of(*small_checkpoint(tmp_path, function="split")))
