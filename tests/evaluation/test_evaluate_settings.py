"""The settings of an evaluation.

Covers ``settings``.
"""

from __future__ import annotations

import pytest

from satseg.errors import UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.geo.units import Length
from satseg.labels.settings import LabelSettings
from satseg.settings import options_of


def test_settings_of_labels_and_measures_are_among_them() -> None:
    names = [option.name for option in options_of(EvaluateSettings)]
    assert len(names) == len(set(names))
    assert {option.name for option in options_of(LabelSettings)} < set(names)
    assert {"block", "bootstrap", "boundary_tolerance", "split", "window", "gsd"} < set(names)


def test_lengths_are_read_once_for_all() -> None:
    settings = EvaluateSettings(boundary_tolerance="2px", boundary_width="3%", gsd="50cm")
    assert (settings.tolerance.value, settings.tolerance.unit) == (2, "px")
    assert isinstance(settings.width, Length)
    assert (settings.width.unit, settings.resolution) == ("%", 0.5)
    assert EvaluateSettings().resolution is None


@pytest.mark.parametrize("wrong", [{"gsd": "2px"}, {"split": "tran"}, {"block": "0px"}, {"window": 8}, {"worst": -1}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(wrong))}"):
        EvaluateSettings(**wrong)
