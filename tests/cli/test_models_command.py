"""``satseg models``: readable at 80 columns, and all of one network."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest


@pytest.mark.parametrize("width", [80, 100])
def test_networks_take_two_lines_at_most(satseg: Callable, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    done = satseg("models")
    heading, *lines = done.stdout.splitlines()
    assert heading.split()[:4] == ["name", "params", "MACs", "stride"]
    assert max(map(len, lines)) <= width
    networks = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert len(networks) == len(json.loads(satseg("models", "--json").stdout))
    assert max(after - before for before, after in pairwise(networks)) <= 2
    assert "multiply-adds" in done.stderr


def test_of_one_network_all_is_shown(satseg: Callable) -> None:
    text = satseg("models", "erfnet").stdout
    assert all(part in text for part in ("2,064,191", "13.3 G", "Romera", "2017", "a first try"))


def test_networks_are_filtered_and_sorted_in_json_too(satseg: Callable) -> None:
    found = json.loads(satseg("models", "resnet", "--sort", "parameters", "--json").stdout)
    assert found[0]["name"] == "linknet"
    assert all("resnet" in entry["encoder"] for entry in found)
    assert all(entry["use"] and entry["multiply_adds"] > 0 for entry in found)


def test_a_name_like_no_network_is_answered_with_the_nearest(satseg: Callable) -> None:
    done = satseg("models", "erfent")
    assert (done.code, done.stdout) == (1, "")
    assert "Did you mean erfnet" in done.stderr
