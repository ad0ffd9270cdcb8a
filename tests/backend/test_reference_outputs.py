"""Logits against those of the authors' networks, which counts of parameters cannot see: the order of layers, alignment.

``reference_outputs.json`` holds what these gave, with weights and images of a formula, at some pixels: every
seventh row from the second on, and every ninth column from the third on. Sizes are stride * k + 1 where corners are
aligned; scores at stride 8 were interpolated as the authors do before their loss.

``reference`` is what ran: repository@commit, file and, if it is another than the default, the variant. Behind "with ...
as ours" stands what was changed in it first: where our network deviates, as its builder's docstring says, or where the
choice is free, such as the order of concatenated features. All else is compared. Where parallel branches run in
another order there, its layers were filled in the order of ours. What follows a hyphen in the name of a row tells it
from others of its network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from formula_weights import fill, uniform

from satseg.backend import create_model

REFERENCES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("reference_outputs.json").read_text(encoding="utf-8")
)
ROWS = [pytest.param(name, marks=[pytest.mark.slow] if kept.get("slow") else []) for name, kept in REFERENCES.items()]


@pytest.mark.parametrize("name", ROWS)
def test_logits_are_those_of_the_reference(name: str) -> None:
    kept = REFERENCES[name]
    images = uniform(1, 3, *kept["size"], key=7)
    model = create_model(name.partition("-")[0], in_channels=3, num_classes=kept["classes"], **kept["options"])
    with torch.inference_mode():
        logits = fill(model, images)(images)[0, :, 1::7, 2::9]
    torch.testing.assert_close(logits, torch.tensor(kept["values"]).view_as(logits), rtol=1e-4, atol=1e-4)


def test_the_formula_gives_the_same_numbers_everywhere() -> None:
    found = uniform(2, 2, key=7)
    assert found.flatten().tolist() == pytest.approx([0.45762834, -0.02788002, 0.86526465, -0.23406026], abs=1e-7)
