"""Settings classes: what follows from a field that declares an option."""

from __future__ import annotations

import inspect
import json
import pickle
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from satseg.arguments import Given, Numbers, Thresholds, byte_size, numbers, thresholds
from satseg.errors import UsageError
from satseg.settings import QUALITY, Option, Settings, option_reference, options_of


class Outlines(Settings):
    """How outlines are drawn."""

    raw: Annotated[bool, Option("Keep every edge; excludes `min_area`.", panel="Outlines")] = False
    min_area: Annotated[str | float | None, Option("Smallest region to keep.", metavar="AREA")] = None
    connectivity: Annotated[Literal[4, 8], Option("Neighbours of a pixel.")] = 4


class Mapping(Settings):
    """How scenes are mapped."""

    window: Annotated[int | Literal["auto"] | None, Option("Side of a window.", metavar="PX", minimum=32)] = None
    memory: Annotated[Given[str | int | None, int | None], Option("Bytes.", recorded=False)] = Given(byte_size)
    scales: Annotated[Given[Numbers, tuple[float, ...]], Option("Factors.", panel=QUALITY)] = Given(numbers, (1.0,))
    threshold: Annotated[Given[Thresholds, tuple[str, ...]], Option("Least probability.", repeated=True)] = Given(
        thresholds, ()
    )
    share: Annotated[float, Option("Share.", minimum=0, maximum=1)] = 0.5
    pictures: Annotated[bool, Option("Draw pictures.")] = True
    cache: Annotated[int, Option("Bytes to keep.", python_only=True)] = 5
    outlines: Outlines = Outlines()


class Tracing(Outlines):
    """How rasters are traced."""

    band: Annotated[int, Option("Band to trace.", metavar="N", minimum=1)] = 1


def test_values_that_are_passed_are_brought_into_one_form() -> None:
    settings = Mapping(memory="4GB", scales="0.75,1", threshold={"building": 0.7}, window=np.int64(64))
    assert (settings.memory, settings.scales, settings.threshold) == (4_000_000_000, (0.75, 1.0), ("building=0.7",))
    assert type(settings.window) is int


def test_what_was_passed_is_known_also_where_it_is_the_default() -> None:
    assert Mapping(share=0.5).given == {"share"}
    assert Mapping(share=0.5) == Mapping()
    assert Mapping(share=0.5).changed(window=64).given == {"share", "window"}
    assert pickle.loads(pickle.dumps(Mapping(share=0.5))).given == {"share"}


def test_it_is_shown_by_what_differs_from_the_defaults() -> None:
    assert repr(Mapping(window=64, outlines=Outlines(raw=True))) == "Mapping(window=64, outlines=Outlines(raw=True))"
    assert repr(Mapping()) == "Mapping()"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"memory": "lots"}, "`memory` is 'lots', not a size."),
        ({"window": "wide"}, "`window` is 'wide', not a whole number or 'auto' or None."),
        ({"window": 16}, "`window` is 16; it must be at least 32."),
        ({"share": 1.5}, "`share` is 1.5; it must be at least 0 and at most 1."),
        ({"windw": 64}, "Mapping() takes no argument 'windw'."),
        ({"raw": True}, "Mapping() takes no argument 'raw'."),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        Mapping(**values)
    assert refused.value.message == sentence


def test_a_choice_is_one_of_its_literal() -> None:
    with pytest.raises(UsageError, match="`connectivity` is 6, not 4 or 8"):
        Outlines(connectivity=6)  # type: ignore[arg-type]


def test_hints_say_what_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean window"):
        Mapping(windw=64)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match=r"Pass outlines=satseg.Outlines\(raw=...\)"):
        Mapping(raw=True)  # type: ignore[call-arg]


def test_words_give_the_same_settings_again() -> None:
    settings = Mapping(window="auto", threshold=["a=1", "b=0.5"], pictures=False, outlines=Outlines(min_area="3px"))
    assert settings.words() == [
        *("--window", "auto", "--threshold", "a=1", "--threshold", "b=0.5", "--no-pictures", "--min-area", "3px")
    ]
    assert Mapping(memory=3).words() == []
    assert settings.words(window=128, pictures=True)[:2] == ["--window", "128"]


def test_the_record_is_json_by_option_name() -> None:
    record = Mapping(scales=2, outlines=Outlines(raw=True)).record(without=["share"])
    assert json.loads(json.dumps(record)) == record
    assert record["scales"] == [2.0]
    assert record["raw"] is True
    assert "share" not in record
    assert "memory" not in record


def test_settings_are_made_of_options_by_name() -> None:
    assert Mapping.of_options({"window": 64, "raw": True}) == Mapping(window=64, outlines=Outlines(raw=True))
    assert Mapping.of_options({"raw": True}).given == {"outlines"}
    assert Mapping.of_options({"other": 1}).given == frozenset()


def test_options_of_a_class_come_before_those_it_inherits() -> None:
    assert [option.name for option in options_of(Tracing)] == ["band", "raw", "min_area", "connectivity"]
    assert Tracing(band=2, raw=True).words() == ["--band", "2", "--raw"]


def test_the_docstring_lists_the_options() -> None:
    text = inspect.getdoc(Mapping) or ""
    assert text.startswith("How scenes are mapped.\n\nArgs:\n    window: Side of a window.\n")
    assert "    cache: Bytes to keep. Default: 5.\n" in text
    assert "    outlines: See :class:`Outlines`." in text


def test_the_signature_shows_what_may_be_passed() -> None:
    parameters = inspect.signature(Mapping).parameters
    assert parameters["memory"].annotation == str | int | None
    assert parameters["scales"].default == (1.0,)
    assert parameters["window"].kind is inspect.Parameter.KEYWORD_ONLY


def test_the_reference_is_plain_records() -> None:
    entries = {entry["name"]: entry for entry in option_reference(Mapping)}
    assert json.loads(json.dumps(entries)) == entries
    assert entries["window"] | {"help": ""} == {
        "name": "window",
        "path": [],
        "flag": "--window",
        "off_flag": None,
        "short": None,
        "metavar": "PX",
        "type": 'int | "auto" | None',
        "choices": [],
        "default": None,
        "help": "",
        "panel": None,
        "repeated": False,
        "recorded": True,
        "python_only": False,
    }
    assert (entries["connectivity"]["path"], entries["connectivity"]["choices"]) == (["outlines"], ["4", "8"])
    assert (entries["pictures"]["off_flag"], entries["scales"]["default"]) == ("--no-pictures", "1")
    assert entries["cache"]["python_only"]
