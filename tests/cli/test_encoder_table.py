"""``satseg models --encoders``."""

from __future__ import annotations

import json
from collections.abc import Callable


def test_an_encoder_is_shown_with_what_it_can_do(satseg: Callable) -> None:
    done = satseg("models", "--encoders", "convnextv2_atto")
    assert done.code == 0
    assert all(part in done.stdout for part in ("convnextv2_atto", "3.4 M", "4, 8, 16, 32", "any", "hub: fcmae"))


def test_an_encoder_that_cannot_serve_is_shown_with_the_reason(satseg: Callable) -> None:
    assert "cannot serve" in satseg("models", "--encoders", "coatnet_0_224").stdout


def test_sizes_that_are_coarser_than_usual_are_shown(satseg: Callable) -> None:
    assert "multiples of 160" in satseg("models", "--encoders", "test_maxvit").stdout


def test_all_encoders_are_listed_in_json(satseg: Callable) -> None:
    found = json.loads(satseg("models", "--encoders", "--json").stdout)
    assert {"resnet50", "mit_b5", "vit_large_patch16_dinov3"} <= {entry["name"] for entry in found}


def test_names_that_no_encoder_has_are_said(satseg: Callable) -> None:
    done = satseg("models", "--encoders", "resnet5O")
    assert (done.code, done.stdout) == (1, "")
    assert "No encoder has 'resnet5O' in its name" in done.stderr
