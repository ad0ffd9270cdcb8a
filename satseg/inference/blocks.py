"""Map a scene block by block, anywhere and in any order, and join the blocks to what one pass would have given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from satseg.files.spill import SpillStore
from satseg.inference.blending import Blended, BlockSeam
from satseg.inference.decision import Decision
from satseg.inference.pipeline import Cell, Classifier, blend_windows
from satseg.inference.plan import span
from satseg.inference.reading import ReadOptions
from satseg.inference.timing import Stage, Stopwatch
from satseg.raster.scene import Scene
from satseg.records import MapLayer, Plan

_STRIP_COLUMNS = 8192


@dataclass(frozen=True, eq=False)
class UpperOverlap:
    """The upper overlap of a window of a block's first row, still to be blended with the block above.

    Args:
        probabilities: (K, overlap, w) float32, blended with the windows to the left and right only.
        valid: (overlap, w) bool.
        disagreement: (overlap, w) float32 in 0..1, or None where it is not measured.
    """

    probabilities: np.ndarray
    valid: np.ndarray
    disagreement: np.ndarray | None


@dataclass(frozen=True, eq=False)
class BlockPart:
    """What one window contributes to a map, without the rows that the block above shares. It can be pickled.

    Args:
        column: The window's place in its row of windows.
        cell: What is finished: all rows below ``upper``, perhaps none.
        upper: Rows above those, in the first row of a block that lies below another one.
        below: (K, overlap, w) float32 for the block below, in the last row of a block.
    """

    column: int
    cell: Cell
    upper: UpperOverlap | None
    below: np.ndarray | None


def row_blocks(plan: Plan, rows: int, *, first_row: int = 0) -> list[range]:
    """Cut the rows of windows of a plan into blocks that are mapped apart.

    What a block leaves below must not depend on the block above it. It would where a block begins with a row within
    whose upper overlap the next row begins already, as the last one may; or the scene ends.

    Args:
        plan: Windows of the scene.
        rows: Rows of windows of a block; a block may have more to avoid that, and the last one fewer.
        first_row: Row of windows to begin with.
    """
    count = len(plan.row_starts)
    starts = [first_row]
    for row in range(first_row + 1, count):
        top, bottom = span(plan.row_starts, row, plan.height)
        if row - starts[-1] >= rows and bottom - top >= plan.overlap[0]:
            starts.append(row)
    return [range(start, end) for start, end in pairwise([*starts, count])]


def predict_block(
    open_scene: Callable[[], Scene],
    network: Classifier,
    plan: Plan,
    decision: Decision,
    read_options: ReadOptions,
    block: range,
    *,
    first_row: int = 0,
) -> Generator[BlockPart, None, None]:
    """Yield the parts of one block, in the order of its windows.

    Args:
        open_scene: As in :func:`~satseg.inference.pipeline.predict_cells`, like all that is not listed here.
        network: What classifies.
        plan: Windows, overlaps and batches of the whole scene.
        decision: How probabilities become classes, and which layers are stored.
        read_options: Threads, memory and other circumstances.
        block: Rows of windows.
        first_row: Row of windows with which the first of all blocks begins.
    """
    watch = read_options.stopwatch or Stopwatch()
    windows = blend_windows(
        open_scene,
        network,
        plan,
        read_options,
        first_row=block.start,
        end_row=block.stop,
        with_disagreement=MapLayer.DISAGREEMENT in decision.layers,
    )
    columns = len(plan.column_starts)
    open_above = columns if block.start > first_row and plan.overlap[0] else 0
    with closing(windows):
        for number, blended in enumerate(windows):
            with watch.time(Stage.BLEND):
                part = _part(blended, number % columns, decision, plan.overlap[0] if number < open_above else 0)
            yield part


def _part(blended: Blended, column: int, decision: Decision, overlap: int) -> BlockPart:
    upper, finished = _split(blended, overlap)
    kept = None
    if overlap:
        differing = None if upper.disagreement is None else _array(upper.disagreement)
        kept = UpperOverlap(_array(upper.probabilities), upper.valid, differing)
    cell = Cell(finished.top, finished.left, decision.decide(finished), finished.ends_row)
    return BlockPart(column, cell, kept, None if blended.below is None else _array(blended.below))


def _split(blended: Blended, row: int) -> tuple[Blended, Blended]:
    """Cut into what lies above a row, counted from its top, and the rest."""
    differing = blended.disagreement
    halves = [
        Blended(
            top=blended.top + (rows.start or 0),
            left=blended.left,
            probabilities=blended.probabilities[:, rows],
            valid=blended.valid[rows],
            disagreement=None if differing is None else differing[rows],
            ends_row=blended.ends_row,
        )
        for rows in (slice(None, row), slice(row, None))
    ]
    return halves[0], halves[1]


def join_parts(
    parts: Iterable[BlockPart], plan: Plan, decision: Decision, *, budget: int, scratch: Path
) -> Generator[Cell, None, None]:
    """Yield the cells that one pass over the scene would have given, from the parts of its blocks.

    Args:
        parts: Parts of all blocks, from the top.
        plan: Windows and overlaps.
        decision: How probabilities become classes.
        budget: Bytes to keep in memory of what blocks leave below.
        scratch: Folder for what does not fit.
    """
    with SpillStore(budget, scratch) as halos:
        seam = BlockSeam(plan, halos, classes=decision.num_classes, shares=decision.shares)
        for part in parts:
            cell = part.cell if part.upper is None else _joined(part.column, part.upper, part.cell, seam, decision)
            if part.below is not None:
                seam.leave(part.column, torch.from_numpy(part.below.copy()))
            yield cell


def _joined(column: int, upper: UpperOverlap, cell: Cell, seam: BlockSeam, decision: Decision) -> Cell:
    """Put the rows above on a cell, blended and decided."""
    differing = upper.disagreement
    blended = Blended(
        top=cell.top - len(upper.valid),
        left=cell.left,
        # Copies: what comes from another process cannot be written to, and its memory is to be given back.
        probabilities=torch.from_numpy(upper.probabilities.copy()),
        valid=upper.valid,
        disagreement=None if differing is None else torch.from_numpy(differing.copy()),
        ends_row=cell.ends_row,
    )
    seam.close(column, blended)
    above = decision.decide(blended)
    layers = {layer: np.concatenate([above[layer], values], axis=1) for layer, values in cell.layers.items()}
    return Cell(blended.top, cell.left, layers, cell.ends_row)


def strips(parts: Iterable[BlockPart], plan: Plan) -> Iterator[list[BlockPart]]:
    """Put parts together that lie side by side, so that they travel in fewer and larger pieces."""
    together = _columns_together(plan)
    strip: list[BlockPart] = []
    for part in parts:
        strip.append(part)
        if part.cell.ends_row or len(strip) == together:
            yield strip
            strip = []


def count_strips(plan: Plan, block: range) -> int:
    """Return how many strips a block has."""
    return len(block) * -(-len(plan.column_starts) // _columns_together(plan))


def _columns_together(plan: Plan) -> int:
    return max(1, _STRIP_COLUMNS // (plan.window[1] - plan.overlap[1]))


def _array(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.contiguous().cpu().numpy()
    return array
