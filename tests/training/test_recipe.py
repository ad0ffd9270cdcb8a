from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from satseg.errors import UsageError
from satseg.training.augmentation import PRESETS
from satseg.training.recipe import Recipe, with_rates


def test_rates_and_warm_up_are_the_network_s_where_none_are_given() -> None:
    recipe = Recipe(batch_size=4, accumulate=4)
    assert (recipe.lr, recipe.warm_up, recipe.encoder_rate) == (None, None, None)
    assert (recipe.peak_lr, recipe.warm_up_fraction, recipe.encoder_factor) == (0.00424, 0.05, 1)
    resolved = recipe.resolved(32)
    assert (resolved.lr, resolved.warm_up, resolved.encoder_rate) == (0.006, 0.05, 1)
    assert resolved.resolved(64) == resolved


def test_rates_that_are_given_stay() -> None:
    recipe = Recipe(
        lr=0.1, warm_up=0.0, encoder_rate=0.5, augment="light", arch="unet", arch_options={"pretrained": True}
    )
    assert recipe.resolved(64) == recipe
    assert recipe.changed(encoder_rate=None).resolved(64).encoder_rate == 0.1


def test_a_rate_is_not_resolved_before_the_batch_is_known() -> None:
    recipe = Recipe(batch_size="auto")
    assert recipe.peak_lr == 3e-3
    assert recipe.to_dict()["lr"] is None
    assert recipe.changed(batch_size=32).resolved(32).to_dict()["lr"] == 6e-3


@pytest.mark.parametrize(
    ("choices", "samples", "notes"),
    [
        ({}, 8, []),
        ({"lr": 0.1, "encoder_rate": 0.1, "arch": "unet", "arch_options": {"pretrained": True}}, 32, []),
        ({"arch": "erfnet"}, 32, ["The learning rate is 0.006: that of erfnet, for steps of 32 samples."]),
        ({"arch": "deeplabv1"}, 8, ["The learning rate is 0.0001: that of deeplabv1, for steps of 8 samples."]),
        (
            {"arch": "unet", "arch_options": {"encoder": "resnet18", "pretrained": True}},
            8,
            ["The encoder, which starts from trained weights, learns at 0.1 of the learning rate."],
        ),
    ],
)
def test_rates_that_are_not_the_usual_ones_are_told(
    choices: dict[str, Any], samples: int, notes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "satseg")
    recipe = Recipe(**choices)
    assert with_rates(recipe, samples) == recipe.resolved(samples)
    assert caplog.messages == notes


def test_the_warm_up_is_the_schedule_s_where_none_is_given() -> None:
    assert Recipe(schedule="one-cycle").warm_up_fraction == 0.3
    assert Recipe(schedule="one-cycle", warm_up=0.1).warm_up_fraction == 0.1


def test_a_preset_is_taken_by_its_name() -> None:
    assert Recipe(augment="strong", lr=0.1) == Recipe(augment=PRESETS["strong"], lr=0.1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"arch": "unet"}, "light"),
        ({"arch": "unet", "arch_options": {"encoder": "resnet18", "pretrained": True}}, "middle"),
        ({"arch": "unet", "arch_options": {"encoder": "resnet18", "encoder_weights": "a.pth"}}, "middle"),
        ({"arch": "erfnet", "init_from": "runs/roofs"}, "middle"),
        ({"arch": "erfnet", "init_from": "runs/roofs", "augment": "none"}, "none"),
    ],
)
def test_networks_that_know_something_get_samples_that_differ_more(settings: dict[str, Any], expected: str) -> None:
    recipe = Recipe(**settings)
    assert recipe.augmentation == recipe.resolved(8).augment == PRESETS[expected]


def test_an_augmentation_is_taken_by_what_differs_from_light() -> None:
    assert Recipe(augment={"gain": 0.3}).augment == replace(PRESETS["light"], gain=0.3)
    with pytest.raises(UsageError, match="no range of augmentation 'gian'"):
        Recipe(augment={"gian": 0.3})


def test_its_record_is_plain_json_and_makes_it_again() -> None:
    record = Recipe().to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["augment"] is None
    assert Recipe(**record).to_dict() == record


def test_an_unknown_choice_is_guessed() -> None:
    with pytest.raises(UsageError, match="no argument 'los'") as caught:
        Recipe(los="ce")  # type: ignore[call-arg]
    assert caught.value.hint == "Did you mean loss?"


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"accumulate": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"encoder_rate": -0.1},
        {"encoder_rate": float("inf")},
        {"ema": 1.0},
        {"clip_values": 0.5},
        {"warm_up": 1.0},
        {"clip": -1.0},
        {"patience": -1},
        {"optimizer": "adam"},
        {"schedule": "step"},
        {"class_weights": "some"},
        {"loss": "ce + dise"},
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Recipe(**wrong)
