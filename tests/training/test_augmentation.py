from __future__ import annotations

import numpy as np
import pytest

from satseg.errors import UsageError
from satseg.training.augmentation import PRESETS, Augmentation, as_augmentation


@pytest.mark.parametrize(
    "wrong", [{"warp": 1.5}, {"cutmix": -0.1}, {"scale": 0.9}, {"shift": 1.5}, {"noise": -1.0}, {"gain": np.nan}]
)
def test_wrong_figures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_presets_are_found_by_name_and_guessed() -> None:
    assert as_augmentation("light") == Augmentation()
    with pytest.raises(UsageError) as caught:
        as_augmentation("strng")
    assert caught.value.hint == "Did you mean strong?"


def test_an_augmentation_is_written_as_its_preset() -> None:
    assert [str(preset) for preset in PRESETS.values()] == list(PRESETS)
    assert str(Augmentation(noise=0.5)).startswith("Augmentation(")


def test_what_is_neither_a_preset_nor_ranges_is_refused() -> None:
    with pytest.raises(UsageError, match=r"`augment` is 3, not the name of a preset"):
        as_augmentation(3)  # type: ignore[arg-type]
