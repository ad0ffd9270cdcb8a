"""Run as many slow tests as fit into some minutes; the others run on other days, so that all have run after a few.

The day is that of the commit, so that a commit has the same tests wherever it is checked. How long each test takes is
recorded in ``slow_seconds.json``; ``--record`` runs all of them and measures anew.

    python tests/slow_rotation.py --minutes 24
    python tests/slow_rotation.py --record
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = Path(__file__).with_name("slow_seconds.json")
UNKNOWN_SECONDS = 15.0  # of a test that was never measured


def split_into_turns(seconds: Mapping[str, float], budget: float) -> list[list[str]]:
    """Return the tests of each turn: the first turn that has room takes a test, long tests first.

    Args:
        seconds: Duration of each test by its pytest id.
        budget: Seconds that a turn may take; a test that takes longer has a turn of its own.
    """
    turns: list[list[str]] = []
    taken: list[float] = []
    for test in sorted(seconds, key=lambda name: (-seconds[name], name)):
        free = [number for number, filled in enumerate(taken) if filled + seconds[test] <= budget]
        if not free:
            free = [len(turns)]
            turns.append([])
            taken.append(0.0)
        turns[free[0]].append(test)
        taken[free[0]] += seconds[test]
    return turns


def turn_of(day: date, turns: int) -> int:
    """Return whose turn it is, from 0: that of the next tests on each day."""
    return day.toordinal() % turns


def durations(tests: Sequence[str]) -> dict[str, float]:
    """Return how long each test took in seconds when it was measured."""
    known: dict[str, float] = json.loads(SECONDS.read_text(encoding="utf-8"))
    return {test: known.get(test, UNKNOWN_SECONDS) for test in tests}


def summary(tests: Sequence[str], seconds: Mapping[str, float]) -> list[str]:
    """Return a line for each test function: its number of cases and the minutes that they should take."""
    cases: dict[str, list[float]] = defaultdict(list)
    for test in tests:
        cases[test.partition("[")[0]].append(seconds[test])
    return [f"  {name}: {len(times)} (about {sum(times) / 60:.1f} min)" for name, times in sorted(cases.items())]


class Turn:
    """A pytest plugin that keeps the tests whose turn it is.

    Args:
        day: Day whose turn it is.
        minutes: How long a turn may take. On a machine that is slower than the one that durations were measured on, no
            test begins after that time, and those left out are named at the end.
    """

    def __init__(self, day: date, minutes: float) -> None:
        self._day, self._minutes = day, minutes
        self._end = monotonic() + minutes * 60
        self._left_out: list[str] = []

    @pytest.hookimpl(trylast=True)  # after the choice by marker
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        seconds = durations([item.nodeid for item in items])
        turns = split_into_turns(seconds, self._minutes * 60)
        number = turn_of(self._day, len(turns))
        kept = set(turns[number])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
        items[:] = [item for item in items if item.nodeid in kept]
        minutes = sum(seconds[test] for test in kept) / 60
        print(f"\nSlow tests of {self._day}, turn {number + 1} of {len(turns)}:", end=" ")
        print(f"{len(kept)} of {len(seconds)} tests, about {minutes:.0f} min")
        print(*summary(sorted(kept), seconds), sep="\n", flush=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if monotonic() < self._end:
            return None
        self._left_out.append(item.nodeid)
        return True  # nothing else runs it

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left_out:
            terminalreporter.write_line(f"{len(self._left_out)} tests did not begin within {self._minutes:g} minutes:")
        for test in self._left_out:
            terminalreporter.write_line(f"  {test}")


class Stopwatch:
    """A pytest plugin that writes how long each test took, with its set-up and teardown."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        rounded = {test: round(self._seconds[test], 1) for test in sorted(self._seconds)}
        SECONDS.write_text(json.dumps(rounded, indent=0) + "\n", encoding="utf-8")


def day_of_commit() -> date:
    """Return the day on which the commit that is checked out was made."""
    words = ["git", "log", "-1", "--format=%cs"]
    return date.fromisoformat(subprocess.check_output(words, cwd=ROOT, text=True).strip())


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the slow tests whose turn it is.")
    parser.add_argument("--minutes", type=float, default=24, help="minutes that they may take; none begins later")
    parser.add_argument("--day", type=date.fromisoformat, help="a day, YYYY-MM-DD, instead of that of the commit")
    parser.add_argument("--list", action="store_true", help="say which tests would run, and run none")
    parser.add_argument("--record", action="store_true", help="run all slow tests and record how long each takes")
    parser.add_argument("paths", nargs="*", default=[str(ROOT / "tests")], help="files and folders of tests")
    options = parser.parse_args()
    plugin = Stopwatch() if options.record else Turn(options.day or day_of_commit(), options.minutes)
    more = ["--collect-only", "-qq", "--no-summary"] if options.list else []
    return pytest.main(["-m", "slow", "--rootdir", str(ROOT), *more, *options.paths], [plugin])


if __name__ == "__main__":
    sys.exit(main())
