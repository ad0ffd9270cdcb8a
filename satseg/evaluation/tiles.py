"""Score a network on whole tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.prefetch import read_ahead
from satseg.records import EvaluationReport, Progress, ProgressEvent, no_progress
from satseg.tiles.batches import Sample, TileReader

if TYPE_CHECKING:
    from torch import Tensor

    from satseg.tiles.tileset import Tile


def score_tiles(
    network: Callable[[np.ndarray, np.ndarray], Tensor],
    tiles: Sequence[Tile],
    reader: TileReader,
    *,
    names: Sequence[str],
    batch_size: int,
    workers: int = 1,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Classify tiles and compare them with their labels.

    Args:
        network: Maps raw values (N, C, S, S) and valid (N, S, S) bool to scores (N, K, S, S), logits or
            probabilities, of which the largest wins. Called without gradients.
        tiles: Tiles to score.
        reader: Reads them.
        names: K class names.
        batch_size: Tiles at a time.
        workers: Threads that read tiles ahead.
        progress: Told after every batch.

    Raises:
        TileError: A tile cannot be read.
        LabelError: A label is no class of the network.
    """
    import torch

    confusion = ConfusionMatrix(len(names))
    groups = [tiles[first : first + batch_size] for first in range(0, len(tiles), batch_size)]

    def read(group: Sequence[Tile]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return stack([reader.read(tile) for tile in group])

    done = 0
    for bands, labels, valid in read_ahead(read, groups, workers=workers, ahead=workers + 1):
        with torch.inference_mode():
            classes = network(bands, valid).argmax(dim=1)
        confusion.add(labels, classes.to(torch.uint8).cpu().numpy())
        done += len(labels)
        progress(ProgressEvent("Evaluating", done, len(tiles), "tile"))
    return score(confusion.counts, names)


def stack(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack samples to bands (N, C, S, S), labels (N, S, S) and valid (N, S, S)."""
    parts = ([s.bands for s in samples], [s.labels for s in samples], [s.valid for s in samples])
    bands, labels, valid = (np.stack(part) for part in parts)
    return bands, labels, valid
