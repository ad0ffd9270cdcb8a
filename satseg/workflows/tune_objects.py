"""Find on labelled tiles how the maps of a network are best divided into objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from satseg.classes import ClassTable
from satseg.errors import TileError
from satseg.evaluation.bootstrap import CONFIDENCE
from satseg.evaluation.tally import ratio
from satseg.evaluation.tiles import ClassifiedTile
from satseg.geo.units import Gsd
from satseg.objects.stored_division import StoredDivision
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.smallest_objects import written_area
from satseg.workflows.tile_objects import TileObjects, match_tile

DEPTHS = tuple(round(0.05 * step, 2) for step in range(1, 15))
"""Values of ``marker_depth`` that are tried."""
SMALLEST = (0, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Values of ``min_area`` that are tried beside the present one, in pixels of the tiles."""

_HITS, _LABELLED, _MAPPED = range(3)
_REPLICATES = 1000


@dataclass(frozen=True)
class Tuning:
    """What was found.

    Args:
        division: The best values, as :attr:`satseg.checkpoint.ModelCard.division` has them.
        f1: Object F1 at an IoU of 0.5 with them, over all tiles and classes.
        before: That with the present ones.
        gain: 95 % interval of what they gain over the blocks of the tiles; None of a single block.
    """

    division: StoredDivision
    f1: float
    before: float
    gain: tuple[float, float] | None

    def __str__(self) -> str:
        said = f"marker_depth {self.division['marker_depth']:g}, min_area {self.division['min_area']}"
        gain = ", where chance decides: all val tiles lie in one block"
        if self.gain:
            gain = f", a gain of {self.gain[0]:.3f} to {self.gain[1]:.3f}"
        return f"{said}: object F1 {self.f1:.3f}, against {self.before:.3f} before{gain}"


class ObjectTuning:
    """Counts the objects that each setting gives, tile by tile.

    Args:
        classes: Class table of the network.
        gsd: Ground metres per pixel of the tiles, or None.
        present: How maps are divided now.
    """

    def __init__(self, classes: ClassTable, gsd: Gsd, present: PolygonSettings) -> None:
        self._classes, self._gsd = classes, gsd
        smallest = present.in_pixels(gsd, ids=False).min_area
        self._depths = sorted({*DEPTHS, present.marker_depth})
        self._smallest = sorted({*SMALLEST, smallest})
        self._present = self._depths.index(present.marker_depth), self._smallest.index(smallest)
        shape = len(self._depths), len(self._smallest), 3
        self._counts: dict[tuple[int, ...], np.ndarray] = defaultdict(lambda: np.zeros(shape))

    def add(self, unit: tuple[int, ...], found: ClassifiedTile) -> None:
        """Count the objects of a tile, which belongs to a block."""
        labels, background = TileObjects.of_labels(found, self._classes), self._classes.background
        counts = self._counts[unit]
        for number, depth in enumerate(self._depths):
            mapped = TileObjects.of_network(found, self._classes, depth)
            outcome = match_tile(found, labels, mapped, background)
            counts[number, :, _LABELLED] += len(outcome.labels.areas)
            counts[number, :, _MAPPED] += self._not_smaller(outcome.mapped.areas)
            counts[number, :, _HITS] += self._not_smaller(outcome.correct.areas)

    def best(self) -> Tuning:
        """Return the setting with the best object F1; of equal ones, that which is nearest to the present one.

        Raises:
            TileError: No tile holds an object.
        """
        counts = np.stack([*self._counts.values()])
        if not counts[..., _LABELLED].any():
            raise TileError(
                "The val tiles hold no labelled object.", hint="Make the tile set with more of them in val."
            )
        scores = _f1(counts.sum(axis=0))
        steps = np.abs(np.indices(scores.shape) - np.reshape(self._present, (2, 1, 1))).sum(axis=0)
        best = np.unravel_index(np.lexsort((steps.ravel(), -scores.ravel()))[0], scores.shape)
        return Tuning(
            {"marker_depth": self._depths[best[0]], "min_area": written_area(self._smallest[best[1]], self._gsd)},
            float(scores[best]),
            float(scores[self._present]),
            _gain(counts[:, *best], counts[:, *self._present]),
        )

    def _not_smaller(self, areas: np.ndarray) -> np.ndarray:
        """Return how many objects are at least as large as each of the smallest."""
        return (areas[:, None] >= self._smallest).sum(axis=0)


def _f1(counts: np.ndarray) -> np.ndarray:
    """Return the object F1 of (..., 3) counts; 0 where there are no objects at all."""
    return np.nan_to_num(ratio(2 * counts[..., _HITS], counts[..., _LABELLED] + counts[..., _MAPPED]))


def _gain(best: np.ndarray, present: np.ndarray) -> tuple[float, float] | None:
    """Return the interval of a gain from (blocks, 3) counts, by drawing blocks as :class:`Bootstrap` does."""
    if len(best) == 1:
        return None
    weights = np.random.default_rng(0).poisson(1.0, size=(_REPLICATES, len(best)))
    gains = _f1(weights @ best) - _f1(weights @ present)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gains, (tail, 1 - tail)).tolist()
    return low, high


def tune(
    tiles: Iterable[tuple[tuple[int, ...], ClassifiedTile]], classes: ClassTable, gsd: Gsd, present: PolygonSettings
) -> Tuning:
    """Return the best setting for tiles, each with the block that it belongs to; see :class:`ObjectTuning`."""
    tuning = ObjectTuning(classes, gsd, present)
    for unit, found in tiles:
        tuning.add(unit, found)
    return tuning.best()
