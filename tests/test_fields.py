"""What is said of values."""

from __future__ import annotations

from typing import Any

import pytest

from satseg.fields import typed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "on"),
        (False, "off"),
        (0.1, "0.1"),
        (3, "3"),
        ("ce + dice", "ce + dice"),
        ([1, 2.5, "a"], "1, 2.5, a"),
        ({"encoder": "resnet18", "depth": None}, "encoder resnet18, depth none"),
        ([], "none"),
        ("x" * 200, "x" * 117 + "..."),
    ],
)
def test_values_are_told_as_people_type_them(value: Any, text: str) -> None:
    assert typed(value) == text
