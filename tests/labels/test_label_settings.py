"""Settings of labels (``satseg/labels/settings.py``).

Covers ``settings``.
"""

from __future__ import annotations

from pathlib import Path

from satseg.labels.class_lists import read_class_map
from satseg.labels.settings import LabelSettings


def test_class_maps_from_generators_can_be_read_again() -> None:
    settings = LabelSettings(class_map=(text for text in ("0=water", "1=road")))
    assert settings.class_map == ("0=water", "1=road")
    assert read_class_map(settings.class_map) == read_class_map("0=water,1=road")


def test_one_text_file_or_dictionary_is_a_class_map() -> None:
    assert LabelSettings(class_map="0=water").class_map == ("0=water",)
    assert LabelSettings(class_map=Path("classes.csv")).class_map == (Path("classes.csv"),)
    assert LabelSettings(class_map={0: "water"}).class_map == {0: "water"}
