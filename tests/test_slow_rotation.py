"""The turns of the slow tests: each test has its turn, the same on the same day, within the budget."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import date, timedelta

import pytest
from slow_rotation import ROOT, UNKNOWN_SECONDS, durations, split_into_turns, summary, turn_of

BUDGET = 24 * 60


@pytest.fixture
def seconds() -> dict[str, float]:
    numbers = random.Random(0)
    return {f"tests/test_a.py::test_{n}": numbers.uniform(0.1, 300) for n in range(250)}


def test_all_tests_run_once_in_a_cycle_of_days(seconds: dict[str, float]) -> None:
    turns = split_into_turns(seconds, BUDGET)
    days = [date(2026, 2, 25) + timedelta(days=n) for n in range(len(turns))]
    ran = [test for day in days for test in turns[turn_of(day, len(turns))]]
    assert sorted(ran) == sorted(seconds)


def test_no_turn_takes_longer_than_the_budget(seconds: dict[str, float]) -> None:
    turns = split_into_turns(seconds, BUDGET)
    sums = [sum(seconds[test] for test in turn) for turn in turns]
    assert max(sums) <= BUDGET
    assert len(turns) <= -(-sum(sums) // BUDGET) + 1  # and turns are filled


def test_a_test_that_takes_longer_than_the_budget_has_a_turn_of_its_own() -> None:
    assert split_into_turns({"a": 50, "long": 200, "b": 40}, 100) == [["long"], ["a", "b"]]


def test_turns_do_not_depend_on_the_order_of_tests(seconds: dict[str, float]) -> None:
    shuffled = list(seconds)
    random.Random(1).shuffle(shuffled)
    assert split_into_turns({test: seconds[test] for test in shuffled}, BUDGET) == split_into_turns(seconds, BUDGET)


def test_what_was_never_measured_has_a_default() -> None:
    assert durations(["tests/test_new.py::test_it"]) == {"tests/test_new.py::test_it": UNKNOWN_SECONDS}


def test_the_summary_counts_the_cases_of_each_function() -> None:
    seconds = {"t.py::test_a[1]": 60.0, "t.py::test_a[x[2]]": 30.0, "t.py::test_b": 6.0}
    assert summary(list(seconds), seconds) == ["  t.py::test_a: 2 (about 1.5 min)", "  t.py::test_b: 1 (about 0.1 min)"]


def test_the_script_says_which_tests_it_runs() -> None:
    words = [sys.executable, "tests/slow_rotation.py", "tests/vectorization", "--day", "2026-03-01", "--list"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Slow tests of 2026-03-01, turn " in told
    listed = [line for line in told.splitlines() if line.startswith("  tests/")]
    assert listed


def test_no_test_begins_after_the_time_of_the_turn_and_those_left_out_are_named() -> None:
    words = [sys.executable, "tests/slow_rotation.py", "tests/vectorization/test_trace.py", "--minutes", "0"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "did not begin within 0 minutes:\n  tests/vectorization/test_trace.py::" in told
    assert "passed" not in told
