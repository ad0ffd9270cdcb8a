"""Score a network on tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.objects import ObjectOutputs
from satseg.objects.grouping import MOST_STEPS, OFFSET_STEPS
from satseg.prefetch import read_ahead
from satseg.records import CERTAIN, EvaluationReport, Progress, ProgressEvent, no_progress
from satseg.tiles.batches import Sample, TileReader

if TYPE_CHECKING:
    from torch import Tensor

    from satseg.tiles.tile import Tile

Classify = Callable[[np.ndarray, np.ndarray], "Tensor"]
"""Computes scores (N, K, S, S) from raw values (N, C, S, S) and valid (N, S, S) bool, without gradients.

What the network says of objects may follow: see :class:`~satseg.objects.ObjectOutputs`.
"""


@dataclass(frozen=True, eq=False)
class SaidOfObjects:
    """What a network says of the objects of a tile, as maps store it.

    Args:
        confidence: Probability of each pixel's class, (S, S) uint8, 254 for 1.
        maps: Boundary and distance, both alike; or heat of centres, alike, and offsets to them, (2, S, S) int16 in
            sixteenths of a pixel.
        outputs: Which of them.
    """

    confidence: np.ndarray
    maps: tuple[np.ndarray, np.ndarray]
    outputs: ObjectOutputs = ObjectOutputs.EDGES


@dataclass(frozen=True, eq=False)
class ClassifiedTile:
    """A tile and its prediction.

    Args:
        tile: The tile.
        labels: (S, S) uint8 class ids, 255 = ignore.
        classes: (S, S) uint8 predicted class ids, 255 where not valid.
        loss: Mean cross-entropy over the labelled pixels in nats; NaN without labelled pixels, or if not computed.
        objects: What the network says of objects; None if it was not asked.
    """

    tile: Tile
    labels: np.ndarray
    classes: np.ndarray
    loss: float = math.nan
    objects: SaidOfObjects | None = None


def score_tiles(
    network: Classify,
    tiles: Sequence[Tile],
    reader: TileReader,
    *,
    names: Sequence[str],
    batch_size: int,
    workers: int = 1,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Classify tiles and compare them with their labels, pixel by pixel.

    Args:
        network: Computes the scores; the class with the largest score is predicted.
        tiles: Tiles to score.
        reader: Reads tiles.
        names: K class names.
        batch_size: Tiles per batch.
        workers: Threads that read tiles ahead.
        progress: Called after every batch.

    Raises:
        TileError: A tile cannot be read.
        LabelError: A label is not a class of the network.
    """
    confusion = ConfusionMatrix(len(names))
    found_tiles = classify_tiles(
        network, tiles, reader, num_classes=len(names), batch_size=batch_size, workers=workers, progress=progress
    )
    for found in found_tiles:
        confusion.add(found.labels, found.classes)
    return score(confusion.counts, names)


def classify_tiles(
    network: Classify,
    tiles: Sequence[Tile],
    reader: TileReader,
    *,
    num_classes: int,
    batch_size: int,
    workers: int = 1,
    with_loss: bool = False,
    progress: Progress = no_progress,
) -> Iterator[ClassifiedTile]:
    """Yield the prediction of each tile, in order.

    Args:
        network: Computes the scores; the class with the largest score is predicted.
        tiles: Tiles to classify.
        reader: Reads tiles.
        num_classes: Number of classes K.
        batch_size: Tiles per batch.
        workers: Threads that read tiles ahead.
        with_loss: Whether to compute the loss; the network must then return probabilities.
        progress: Called after every batch.

    Raises:
        TileError: A tile cannot be read.
        NetworkError: The output of the network is not finite at a valid pixel.
    """
    import torch

    groups = [tiles[first : first + batch_size] for first in range(0, len(tiles), batch_size)]

    def read(group: Sequence[Tile]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return stack([reader.read(tile) for tile in group])

    done = 0
    batches = read_ahead(read, groups, workers=workers, ahead=workers + 1)
    for group, (bands, labels, valid) in zip(groups, batches, strict=True):
        with torch.inference_mode():
            scores = network(bands, valid)
            _check_finite(scores, valid, group)
            shares = scores[:, :num_classes]
            found = shares.argmax(dim=1).to(torch.uint8).cpu().numpy()
            classes = np.where(valid, found, np.uint8(IGNORE_INDEX))
            losses = _losses(shares, labels) if with_loss else [math.nan] * len(group)
            said = _said_of_objects(scores, num_classes)
        yield from map(ClassifiedTile, group, labels, classes, losses, said)
        done += len(labels)
        progress(ProgressEvent("Evaluating", done, len(tiles), "tile"))


def _said_of_objects(scores: Tensor, num_classes: int) -> Sequence[SaidOfObjects | None]:
    """Return what a network says of the objects of each tile."""
    import torch

    if scores.shape[1] == num_classes:
        return [None] * len(scores)
    outputs = next(outputs for outputs in ObjectOutputs if outputs.planes == scores.shape[1] - num_classes)
    last = num_classes + outputs.shares
    shares = torch.cat([scores[:, :num_classes].amax(dim=1, keepdim=True), scores[:, num_classes:last]], dim=1)
    stored = (shares * CERTAIN).round().clamp(0, CERTAIN).to(torch.uint8).cpu().numpy()
    if outputs is ObjectOutputs.EDGES:
        return [SaidOfObjects(sure, (boundary, distance)) for sure, boundary, distance in stored]
    steps = (scores[:, last:] * OFFSET_STEPS).round().clamp(-MOST_STEPS, MOST_STEPS).to(torch.int16).cpu().numpy()
    return [SaidOfObjects(sure, (heat, offsets), outputs) for (sure, heat), offsets in zip(stored, steps, strict=True)]


def _check_finite(scores: Tensor, valid: np.ndarray, tiles: Sequence[Tile]) -> None:
    """Refuse NaN at valid pixels, which would be taken for the first class."""
    from satseg.backend.finite import first_not_finite, not_finite

    if scores.sum().isfinite():
        return
    found = first_not_finite(scores, valid)
    if found is not None:
        number, row, column = found
        raise not_finite(f"row {row}, column {column} of the tile {tiles[number].name}")


def count_pixels(labels: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the (K, K) int64 confusion matrix of (H, W) labels and classes, both uint8 with 255 left out.

    Raises:
        LabelError: An id is not a class.
    """
    confusion = ConfusionMatrix(num_classes)
    confusion.add(labels, classes)
    return confusion.counts


def stack(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack samples into bands (N, C, S, S), labels (N, S, S) and valid (N, S, S)."""
    parts = ([s.bands for s in samples], [s.labels for s in samples], [s.valid for s in samples])
    bands, labels, valid = (np.stack(part) for part in parts)
    return bands, labels, valid


def _losses(probabilities: Tensor, labels: np.ndarray) -> list[float]:
    """Return the mean of -log p of the label over the labelled pixels of each tile."""
    import torch

    target = torch.from_numpy(labels.astype(np.int64)).to(probabilities.device)
    labelled = target != IGNORE_INDEX
    known = torch.where(labelled, target, 0).clamp_max(probabilities.shape[1] - 1)  # larger ids are refused later
    chosen = probabilities.float().gather(1, known[:, None])[:, 0]
    loss = torch.where(labelled, -chosen.clamp_min(torch.finfo(torch.float32).tiny).log(), 0.0)
    means = loss.sum(dim=(1, 2), dtype=torch.float64) / labelled.sum(dim=(1, 2))
    return means.tolist()
