"""Confidence intervals of scores by a streaming block bootstrap.

Errors of neighbouring pixels are correlated, so that whole tiles or blocks are resampled, not pixels. In each
replicate, the weight of a unit is a Poisson number of mean 1 (the limit of drawing n units out of n with replacement).
This needs neither the number of units in advance nor their tallies afterwards: only the replicates are in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from satseg.evaluation.object_counts import CELLS, CountedObjects, ObjectTotals
from satseg.evaluation.object_scores import Scores, mean_object_scores, scores_by_class, scores_by_size
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
        sizes: Intervals of the scores of the objects of each class by size.
    """

    overall: Mapping[str, Interval | None] = field(default_factory=dict)
    classes: Sequence[Mapping[str, Interval | None]] = ()
    sizes: Mapping[int, Mapping[int, Mapping[str, Interval | None]]] = field(default_factory=dict)


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
        self._objects = ObjectTotals(replicates)
        self._first: list[tuple[int, ...] | None] = [None] * num_classes  # unit in which each class was first counted
        self._several = np.zeros(num_classes, dtype=bool)  # whether a class was counted in another one, too

    def add(self, unit: tuple[int, ...], tally: np.ndarray) -> None:
        """Add a tally.

        Args:
            unit: Its unit; all tallies of one unit get the same weight, in any order.
            tally: (K, C) counts.
        """
        self._totals += self._weights(unit)[:, None, None] * tally
        self._note(unit, np.flatnonzero(tally.any(axis=1)))

    def add_objects(self, unit: tuple[int, ...], counted: CountedObjects) -> None:
        """Add counts of objects of a unit."""
        self._objects.add(counted, self._weights(unit))
        self._note(unit, np.unique(counted.cells // CELLS))

    def intervals(self) -> Intervals:
        """Return the central 95 % interval of each score; scores that are undefined in most replicates have none."""
        objects = scores_by_class(self._objects)
        overall = mean_scores(self._totals) | mean_object_scores(self._objects, objects)
        several = bool(self._several.any()) or len({unit for unit in self._first if unit is not None}) > 1
        by_class = class_scores(self._totals)
        return Intervals(
            _intervals(overall, several=several),
            [
                _intervals(
                    {**{name: values[:, i] for name, values in by_class.items()}, **objects.get(i, {})},
                    several=bool(self._several[i]),
                )
                for i in range(len(self._several))
            ],
            {
                number: {
                    size: _intervals(scores, several=bool(self._several[number]))
                    for size, scores in scores_by_size(self._objects, number).items()
                }
                for number in objects
            },
        )

    def _weights(self, unit: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng((self._seed, *unit)).poisson(1.0, size=len(self._totals))

    def _note(self, unit: tuple[int, ...], classes: np.ndarray) -> None:
        """Note that classes were counted in a unit."""
        for number in classes[~self._several[classes]].tolist():
            if self._first[number] is None:
                self._first[number] = unit
            self._several[number] = self._first[number] != unit


def _intervals(scores: Scores, *, several: bool) -> dict[str, Interval | None]:
    """Return the intervals of the scores that have one; None for each if the counts come from a single unit."""
    found = {name: _central(values) for name, values in scores.items()}
    return {name: interval if several else None for name, interval in found.items() if interval is not None}


def _central(values: np.ndarray) -> Interval | None:
    """Return the central interval of (R,) scores; None if most of them are undefined."""
    tail = (1 - CONFIDENCE) / 2
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values):
        return None
    low, high = np.quantile(defined, (tail, 1 - tail)).tolist()
    return low, high
