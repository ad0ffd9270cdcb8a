"""``satseg models``: readable at 80 columns, and all of one network."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from satseg.cli.models import COLUMNS


@pytest.mark.parametrize(("width", "most"), [(80, 4), (100, 2)])
def test_networks_take_few_lines(satseg: Callable, monkeypatch: pytest.MonkeyPatch, width: int, most: int) -> None:
    """What does not fit beside the name follows in a second table, below the first one."""
    monkeypatch.setenv("COLUMNS", str(width))
    done = satseg("models")
    parts = [part.splitlines() for part in done.stdout.split("\n\n")]
    assert [word for heading, *_ in parts for word in heading.split() if word != "name"] == list(COLUMNS[1:])
    for _, *lines in parts:
        assert max(map(len, lines)) <= width
        networks = [number for number, line in enumerate(lines) if not line.startswith(" ")]
        assert len(networks) == len(json.loads(satseg("models", "--json").stdout))
        assert max(after - before for before, after in pairwise(networks)) <= most
    assert "multiply-adds" in done.stderr


def test_a_wide_table_is_one_line_per_network_with_all_that_choosers_ask(satseg: Callable) -> None:
    heading, line = satseg("models", "erfnet", "espnet").stdout.splitlines()[:2]
    assert heading.split() == list(COLUMNS)
    assert line.split()[:10] == ["erfnet", "real-time", "2017", "2.1", "M", "13.3", "G", "8", "1,231", "own"]
    assert line.endswith("edges    yes     a first try, on processors too: best of five compared")


def test_a_plus_marks_encoders_that_can_be_others_and_all_a_field_without_end(satseg: Callable) -> None:
    lines = {line.split()[0]: line for line in satseg("models").stdout.splitlines()}
    assert "resnet50s +" in lines["panoptic_deeplab"]
    assert "own +" in lines["unet"]
    assert " centres " in lines["panoptic_deeplab"]
    assert " all " in lines["dfanet"]


def test_of_one_network_all_is_shown(satseg: Callable) -> None:
    text = satseg("models", "erfnet").stdout
    assert all(part in text for part in ("2,064,191", "13.3 G", "1,231 px", "Romera", "2017", "few multiply"))


def test_what_hinders_an_export_is_told(satseg: Callable) -> None:
    assert "to ONNX, with the same probabilities" in satseg("models", "erfnet").stdout
    (entry,) = json.loads(satseg("models", "segnet", "--json").stdout)
    assert (entry["exportable"], entry["hindrance"][:22]) == (False, "its probabilities diff")
    assert entry["hindrance"] in " ".join(satseg("models", "segnet").stdout.split())


def test_networks_are_filtered_and_sorted_in_json_too(satseg: Callable) -> None:
    found = json.loads(satseg("models", "resnet", "--sort", "parameters", "--json").stdout)
    assert found[0]["name"] == "linknet"
    assert all("resnet" in entry["encoder"] for entry in found)
    assert all(entry["use"] and entry["multiply_adds"] > 0 for entry in found)


def test_a_name_like_no_network_is_answered_with_the_nearest(satseg: Callable) -> None:
    done = satseg("models", "erfent")
    assert (done.code, done.stdout) == (1, "")
    assert "Did you mean erfnet" in done.stderr
