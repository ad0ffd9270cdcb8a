"""Confidence intervals of scores by a streaming block bootstrap.

Errors of neighbouring pixels are correlated, so that whole tiles or blocks are resampled, not pixels. In each
replicate, the weight of a unit is a Poisson number of mean 1 (the limit of drawing n units out of n with replacement).
This needs neither the number of units in advance nor their tallies afterwards: only the replicates are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from satseg.evaluation.tally import class_scores, empty_tally, mean_scores

CONFIDENCE = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals (low, high) by the name of the score; None if all counts come from one unit.

    A single unit gives the same score in all replicates, which is not a confidence interval.

    Args:
        overall: Intervals of the scores over all classes.
        classes: Intervals of the scores of each class; empty without a bootstrap.
    """

    overall: Mapping[str, Interval | None] = field(default_factory=dict)
    classes: Sequence[Mapping[str, Interval | None]] = ()


NO_INTERVALS = Intervals()


class Bootstrap:
    """Resamples tallies in a stream.

    Args:
        num_classes: Number of classes K.
        replicates: Number of resampled totals.
        seed: Seed of the weights, together with the unit.
    """

    def __init__(self, num_classes: int, *, replicates: int, seed: int = 0) -> None:
        self._seed = seed
        self._totals = np.zeros((replicates, *empty_tally(num_classes).shape))
        self._first: list[tuple[int, ...] | None] = [None] * num_classes  # unit in which each class was first counted
        self._several = np.zeros(num_classes, dtype=bool)  # whether a class was counted in another one, too

    def add(self, unit: tuple[int, ...], tally: np.ndarray) -> None:
        """Add a tally.

        Args:
            unit: Its unit; all tallies of one unit get the same weight, in any order.
            tally: (K, C) counts.
        """
        drawn = np.random.default_rng((self._seed, *unit)).poisson(1.0, size=len(self._totals))
        self._totals += drawn[:, None, None] * tally
        for number in np.flatnonzero(tally.any(axis=1) & ~self._several).tolist():
            if self._first[number] is None:
                self._first[number] = unit
            self._several[number] = self._first[number] != unit

    def intervals(self) -> Intervals:
        """Return the central 95 % interval of each score; scores that are undefined in most replicates have none."""
        overall = {name: _central(values) for name, values in mean_scores(self._totals).items()}
        by_class = {name: _central(values) for name, values in class_scores(self._totals).items()}
        classes = [
            _found({name: parts[i] for name, parts in by_class.items()}, several=bool(self._several[i]))
            for i in range(self._totals.shape[1])
        ]
        several = bool(self._several.any()) or len({unit for unit in self._first if unit is not None}) > 1
        return Intervals(_found({name: parts[0] for name, parts in overall.items()}, several=several), classes)


def _central(values: np.ndarray) -> list[Interval | None]:
    """Return the central interval of each column of (replicates) or (replicates, K) scores."""
    tail = (1 - CONFIDENCE) / 2
    found: list[Interval | None] = []
    for column in values.reshape(len(values), -1).T:
        defined = column[~np.isnan(column)]
        if 2 * len(defined) < len(column):
            found.append(None)
            continue
        low, high = np.quantile(defined, (tail, 1 - tail)).tolist()
        found.append((low, high))
    return found


def _found(intervals: Mapping[str, Interval | None], *, several: bool) -> dict[str, Interval | None]:
    """Return the intervals of the scores that have one; None for each if the counts come from a single unit."""
    return {name: interval if several else None for name, interval in intervals.items() if interval is not None}
