"""Find out what a foreign file gives, by running it once."""

from __future__ import annotations

import numpy as np

from satseg.checkpoint import ModelCard
from satseg.errors import CheckpointError
from satseg.exported.graph import Graph
from satseg.exported.model import Gives
from satseg.exported.sessions import Sessions

_SEED = 0
_IMAGES = 2
_ROUNDING = 1e-3  # of shares that networks compute in half precision


def what_comes_out(graph: Graph, sessions: Sessions, card: ModelCard, window: int) -> Gives:
    """Run a file on random images, and tell by type, shape and range of the values what they are.

    Args:
        graph: The file.
        sessions: Runs it.
        card: Its bands and classes.
        window: Side of the images.

    Raises:
        CheckpointError: They are no classes of pixels.
        NetworkError: It does not run.
    """
    count = graph.input.shape[0] or _IMAGES
    raw = np.random.default_rng(_SEED).integers(0, 256, (count, len(card.bands), window, window))
    mean, std = (np.array(part)[:, None, None] for part in (card.statistics.mean, card.statistics.std))
    found = sessions.run(((raw - mean) / std).astype(np.float32))
    planes = found.shape[1] if found.ndim == raw.ndim else 1
    if found.ndim not in (3, 4) or (len(found), *found.shape[-2:]) != (count, window, window):
        raise CheckpointError(
            f"{graph.path} gives {found.shape} for images {raw.shape}: not one value for each class and pixel."
        )
    if found.dtype.kind in "iu":
        return _classes(graph, planes)
    if planes not in (1, len(card.classes)):
        raise CheckpointError(f"{graph.path} gives {planes} planes, but names {len(card.classes)} classes.")
    if not np.isfinite(found).all():
        raise CheckpointError(f"{graph.path} gives values that are not finite for random images.")
    shares = found.min() >= -_ROUNDING and found.max() <= 1 + _ROUNDING
    if planes == 1:
        return Gives.PROBABILITY if shares else Gives.SCORE
    return Gives.PROBABILITIES if shares else Gives.SCORES


def _classes(graph: Graph, planes: int) -> Gives:
    if planes != 1:
        raise CheckpointError(f"{graph.path} gives {planes} planes of whole numbers, where classes are one.")
    return Gives.CLASSES
