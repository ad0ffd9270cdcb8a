"""How much each class counts in the cross-entropy, from the pixels that the training tiles hold of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLASS_WEIGHTS = ("none", "inverse", "median")


def class_weights(rule: str, pixels: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Weigh classes by how rare they are.

    Args:
        rule: ``none``; ``inverse``, one over the share of the class; or ``median``, the median frequency balancing
            of SegNet (Badrinarayanan et al. 2017, section 4), where the frequency of a class is its share of the
            tiles that hold it at all.
        pixels: (T, K) labelled pixels per tile and class.

    Returns:
        (K,) float32, or None for ``none``. ``inverse`` weights average 1 over the classes present. A class that
        no tile holds gets 0.
    """
    if rule == "none":
        return None
    counts = np.asarray(pixels, dtype=np.float64)
    labelled = counts.sum(axis=1, keepdims=True)  # per tile
    seen = labelled * (counts > 0) if rule == "median" else np.broadcast_to(labelled, counts.shape)
    present = counts.sum(axis=0) > 0
    frequency = counts.sum(axis=0)[present] / seen.sum(axis=0)[present]
    weights = np.zeros(counts.shape[1], dtype=np.float32)
    if rule == "median":
        weights[present] = np.median(frequency) / frequency if frequency.size else 0
    else:
        weights[present] = (1 / frequency) / np.mean(1 / frequency) if frequency.size else 0
    return weights
