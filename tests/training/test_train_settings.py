"""The settings of a training run.

Covers ``settings``.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from satseg.errors import UsageError
from satseg.settings import options_of
from satseg.training.augmentation import PRESETS
from satseg.training.recipe import Recipe
from satseg.training.settings import TrainSettings


def test_the_recipe_holds_what_a_run_records() -> None:
    settings = TrainSettings(arch="bisenet", encoder="resnet18", pretrained=True, arch_options={"a": 1}, epochs=3)
    recipe = settings.recipe(precision="32-true")
    assert type(recipe) is Recipe
    assert recipe.arch_options == {"a": 1, "encoder": "resnet18", "pretrained": True}
    assert list(recipe.to_dict()) == [entry.name for entry in fields(Recipe)]
    assert (recipe.precision, settings.precision) == ("32-true", "auto")


def test_what_a_run_records_and_what_it_does_not_follows_from_the_fields() -> None:
    recorded = {option.name for option in options_of(TrainSettings, python_only=True) if option.declared.recorded}
    options = {"base", "encoder", "pretrained", "encoder_weights"}  # recorded among those of the network
    network = {"device", "threads"}  # shared with predict, which records them
    assert recorded - options - network == {entry.name for entry in fields(Recipe)}


def test_settings_know_which_were_given_also_at_their_defaults() -> None:
    settings = TrainSettings(lr=0.003, ema=0.0, augment="light")
    assert settings.given == {"lr", "ema", "augment"}
    assert settings.augment == PRESETS["light"]
    assert settings.changed(steps=5).given == {"lr", "ema", "augment", "steps"}


@pytest.mark.parametrize(
    ("budget", "given"), [({}, False), ({"epochs": 1}, True), ({"steps": 1}, True), ({"minutes": 0.5}, True)]
)
def test_a_budget_is_any_of_three(budget: dict[str, float], given: bool) -> None:
    assert TrainSettings(**budget).sets_budget is given


@pytest.mark.parametrize("wrong", [{"devices": 0}, {"nodes": -1}, {"threads": 0}, {"encoder": 3}, {"pictures": "no"}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(wrong))}`"):
        TrainSettings(**wrong)


def test_a_network_to_look_with_needs_one_that_looks() -> None:
    assert TrainSettings(arch="hmsa", base="unet").network_options == {"base": "unet"}
    with pytest.raises(UsageError, match="`base` is unet, but no network is named"):
        TrainSettings(base="unet")
