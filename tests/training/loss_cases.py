"""Cases that the tests of losses share, and softmax written out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def random_case(classes: int = 3, ignored: float = 0.2, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Return logits (2, classes, 5, 7) float64 and targets (2, 5, 7), some of them 255."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, classes, 5, 7))
    targets = rng.integers(classes, size=(2, 5, 7))
    targets[rng.random(targets.shape) < ignored] = 255
    return torch.from_numpy(logits), torch.from_numpy(targets)


def softmax(logits: Tensor) -> np.ndarray:
    """Return probabilities (N, K, H, W) float64."""
    powers = np.exp(logits.numpy() - logits.numpy().max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def likelihoods(logits: Tensor, targets: Tensor) -> list[tuple[float, int]]:
    """Return the probability of the right class, and that class, for every pixel that counts."""
    probs, truth = softmax(logits), targets.numpy()
    return [
        (probs[n, truth[n, i, j], i, j], truth[n, i, j]) for n, i, j in np.ndindex(*truth.shape) if truth[n, i, j] < 255
    ]
