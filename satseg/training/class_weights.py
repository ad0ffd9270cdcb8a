"""Class weights for pixel losses, from the number of labelled pixels of each class in the training tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_weights(rule: str, pixels: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Compute class weights: the rarer a class, the larger its weight.

    Args:
        rule: ``none``; ``inverse``, the inverse class frequency; or ``median``, the median frequency balancing of
            SegNet (Badrinarayanan et al. 2017, section 4), where the frequency of a class is its fraction of the
            labelled pixels in the tiles that contain it.
        pixels: (T, K) labelled pixels per tile and class.

    Returns:
        (K,) float32, or None for ``none``. ``inverse`` weights average 1 over the classes present. A class that no tile
        contains gets 0.
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
