"""Compare class maps with labels in strips and blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.accumulator import Place, ScoreAccumulator
from satseg.evaluation.blocks import HaloStrip, Strip, columns, halo_strips
from satseg.evaluation.boundaries import Boundaries
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.evaluation.object_counts import CountedObjects, pixel_area
from satseg.evaluation.objects import ObjectMatcher
from satseg.evaluation.tally import empty_tally
from satseg.labels.labels import Labels
from satseg.raster.area import SceneArea
from satseg.raster.windows import block_strips
from satseg.records import Progress, ProgressEvent, Rows, SceneInfo


@dataclass(frozen=True, eq=False)
class MapComparison:
    """Compare the map of one scene with its labels.

    Memory holds some hundred rows of both, and the objects that reach the last of them.

    Args:
        scene: Grid of labels and map.
        number: Number of the scene among those that are compared.
        block: Side of the blocks that are scored apart, in pixels.
        num_classes: Classes K.
        boundaries: How boundaries are compared, or None.
        objects: Matches objects, or None.
    """

    scene: SceneInfo
    number: int
    block: int
    num_classes: int
    boundaries: Boundaries | None = None
    objects: ObjectMatcher | None = None

    def run(self, pieces: Iterable[Strip], accumulator: ScoreAccumulator) -> None:
        """Count a scene.

        Args:
            pieces: All its rows, in order from the top.
            accumulator: What takes the counts.

        Raises:
            LabelError: An id is no class.
        """
        halo = self.boundaries.halo if self.boundaries else (0, 0)
        width, height = self.scene.width, self.scene.height
        row: list[_Block] = []
        for strip in halo_strips(pieces, height, block=self.block, halo=halo[0]):
            row = row or [_Block(self.num_classes) for _ in range(0, width, self.block)]
            for block, (haloed, core) in zip(row, columns(width, block=self.block, halo=halo[1]), strict=True):
                block.add(strip, haloed, core, self.boundaries)
            rows = strip.core.stop - strip.core.start
            end = strip.top + rows
            self._match_objects(strip, Window(0, strip.top, width, rows), accumulator)
            if end % self.block == 0 or end == height:
                self._finish(row, (end - 1) // self.block, accumulator)
                row = []

    def _finish(self, row: list[_Block], down: int, accumulator: ScoreAccumulator) -> None:
        top = down * self.block
        for across, block in enumerate(row):
            left = across * self.block
            name = f"{self.scene.path} at row {top}, column {left}"
            height, width = min(self.block, self.scene.height - top), min(self.block, self.scene.width - left)
            place = Place(name, top, left, height, width, self._unit(down, across))
            found = block.confusion
            accumulator.add(place, found.counts, block.tally, left_out=found.left_out, unlabelled=found.unlabelled)

    def _unit(self, down: int, across: int) -> tuple[int, ...]:
        return self.number, down, across

    def _match_objects(self, strip: HaloStrip, window: Window, accumulator: ScoreAccumulator) -> None:
        if self.objects is None:
            return
        last = window.row_off + window.height == self.scene.height
        outcome = self.objects.add(strip.labels[strip.core], strip.classes[strip.core], window, last=last)
        counted = CountedObjects.of(outcome, pixel_area(self.scene.gsd))
        for (down, across), part in self._by_block(counted):
            accumulator.add_objects(self._unit(down, across), part)

    def _by_block(self, counted: CountedObjects) -> Iterator[tuple[list[int], CountedObjects]]:
        """Yield the counts of each block in which objects begin."""
        rows, columns = np.divmod(counted.places, self.scene.width)
        at = np.stack([rows, columns], axis=1) // self.block
        order = np.lexsort((at[:, 1], at[:, 0]))
        blocks, begins = np.unique(at[order], axis=0, return_index=True)
        for block, chosen in zip(blocks.tolist(), np.split(order, begins[1:]), strict=False):
            yield block, counted.where(chosen)


class _Block:
    """Counts of a block whose rows are still coming."""

    def __init__(self, num_classes: int) -> None:
        self.confusion = ConfusionMatrix(num_classes)
        self.tally = empty_tally(num_classes)

    def add(self, strip: HaloStrip, haloed: slice, core: slice, boundaries: Boundaries | None) -> None:
        """Add the rows of a strip; ``haloed`` are the columns of the block with halo, ``core`` its own within these."""
        labels, classes = strip.labels[:, haloed], strip.classes[:, haloed]
        self.confusion.add(labels[strip.core, core], classes[strip.core, core])
        if boundaries is not None:
            self.tally += boundaries.count(labels, classes, len(self.tally), (strip.core, core))


def beside_labels(rows: Iterable[Rows], labels: Labels, areas: Sequence[SceneArea] = ()) -> Iterator[Strip]:
    """Combine the rows of a map with labels on the same grid.

    Pixels without a class in the map, such as the border of a rotated image, are ignored if they are background only
    because no polygon lies there.

    Args:
        rows: The map.
        labels: Its labels.
        areas: Pixels outside of one of these areas have neither label nor class.

    Raises:
        LabelError: The labels cannot be read.
    """
    for strip in rows:
        height, width = strip.classes.shape
        window = Window(0, strip.offset, width, height)
        known, left_out = labels.read(window), strip.classes == IGNORE_INDEX
        if left_out.any():
            known[left_out & labels.implied(window, known)] = IGNORE_INDEX
        classes = strip.classes
        for area in areas:
            outside = ~area.inside(window)
            known[outside] = IGNORE_INDEX
            classes = np.where(outside, np.uint8(IGNORE_INDEX), classes)
        yield Strip(strip.offset, known, classes)


def read_labels(labels: Labels, grid: SceneInfo) -> Iterator[Rows]:
    """Read labels as the rows of a map, strip by strip, from the top.

    Args:
        labels: Labels on the grid.
        grid: The grid.

    Raises:
        LabelError: The labels cannot be read.
    """
    for window in block_strips(grid):
        yield Rows(int(window.row_off), labels.read(window))


def telling(rows: Iterable[Rows], grid: SceneInfo, progress: Progress) -> Iterator[Rows]:
    """Yield rows, and report the progress after each of them."""
    done = 0
    for strip in rows:
        yield strip
        done += strip.classes.size
        progress(ProgressEvent("Evaluating", done, grid.pixels, "px"))
