"""Confidence intervals of scores by a block bootstrap that streams.

Neighbouring pixels are wrong together, so whole tiles or blocks are resampled, not pixels. Each replicate draws every
unit as often as a Poisson number of mean 1 says (the limit of drawing n units out of n with replacement), which needs
neither the number of units beforehand nor their tallies afterwards: memory is that of the replicates alone.
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
    """Confidence intervals (low, high) by the name of the score; None where all of it comes from one unit.

    One unit drawn any number of times gives the same score: that is no interval.

    Args:
        overall: Of the scores over all classes.
        classes: Of the scores of each class; empty where there are none.
    """

    overall: Mapping[str, Interval | None] = field(default_factory=dict)
    classes: Sequence[Mapping[str, Interval | None]] = ()


NO_INTERVALS = Intervals()


class Bootstrap:
    """Resample tallies as they come.

    Args:
        num_classes: Classes K.
        replicates: Resampled totals.
        seed: Number that all draws follow from, together with the unit.
    """

    def __init__(self, num_classes: int, *, replicates: int, seed: int = 0) -> None:
        self._seed = seed
        self._totals = np.zeros((replicates, *empty_tally(num_classes).shape))
        self._first: list[tuple[int, ...] | None] = [None] * num_classes  # unit in which each class was first counted
        self._several = np.zeros(num_classes, dtype=bool)  # whether a class was counted in another one, too

    def add(self, unit: tuple[int, ...], tally: np.ndarray) -> None:
        """Count a piece.

        Args:
            unit: What is drawn as a whole: all pieces of one unit are drawn equally often, in whatever order they come.
            tally: (K, C) counts of the piece.
        """
        drawn = np.random.default_rng((self._seed, *unit)).poisson(1.0, size=len(self._totals))
        self._totals += drawn[:, None, None] * tally
        for number in np.flatnonzero(tally.any(axis=1) & ~self._several).tolist():
            if self._first[number] is None:
                self._first[number] = unit
            self._several[number] = self._first[number] != unit

    def intervals(self) -> Intervals:
        """Return the central 95 % of each score over the replicates; scores that most replicates lack have none."""
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
    """Return the intervals of the scores that have one; None for each where they do not come from several units."""
    return {name: interval if several else None for name, interval in intervals.items() if interval is not None}
