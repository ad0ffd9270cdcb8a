"""Check an exported network against the network that ``predict`` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from satseg.classes import IGNORE_INDEX
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject
from satseg.inference.network import Network

LIMIT = 1e-4
"""Largest difference of probabilities that an export in single precision may have."""
HALF_LIMIT = 0.05
"""In half precision: steps of numbers are 8,000 times as coarse, and a network has many layers."""


@dataclass(frozen=True)
class Agreement:
    """How far two networks agree.

    Args:
        difference: Largest difference of probabilities; of classes, the smallest difference of probabilities that
            explains the others.
        differing: Share of the pixels with another class.
        pixels: Pixels that were compared.
    """

    difference: float
    differing: float
    pixels: int

    def holds(self, limit: float) -> bool:
        """Tell whether the difference is within a limit; it is not if it is not a number."""
        return self.difference <= limit


def compare(
    run: Callable[[np.ndarray], np.ndarray],
    reference: Network,
    batches: Iterable[np.ndarray],
    settings: ExportSettings,
) -> Agreement:
    """Run an exported network beside the one that it comes from.

    Args:
        run: (N, C, H, W) raw values to (N, K, H, W) probabilities or (N, H, W) classes.
        reference: The network as ``predict`` runs it.
        batches: (N, C, H, W) raw values.
        settings: What was exported.
    """
    difference, differing, pixels = 0.0, 0, 0
    for images in batches:
        valid = measured_pixels(images, reference, settings)
        expected = reference.probabilities(images, valid).numpy()
        found = run(images)
        if settings.argmax:
            here, others = _compare_classes(expected, found, valid)
        else:
            here, others = _compare_probabilities(expected, found)
        difference = float(np.maximum(difference, here))  # NaN stays
        differing += others
        pixels += valid.size
    return Agreement(difference, differing / max(pixels, 1), pixels)


def in_double(subject: Subject) -> Network:
    """Build the network of a checkpoint in float64, where rounding is far below :data:`LIMIT`.

    Deep networks carry the rounding of float32 on: that of torch and that of the file can be apart by more.
    """
    card = subject.checkpoint.card
    return Network(
        _InDouble(subject.checkpoint.build_model(subject.builder)),
        classes=card.classes,
        statistics=card.statistics,
        clipping=card.clipping,
        device=torch.device("cpu"),
    )


class _InDouble(nn.Module):
    """A model that computes in float64, between the same inputs and outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits in float64."""
        logits: Tensor = self.model(images.double())
        return logits


def measured_pixels(images: np.ndarray, reference: Network, settings: ExportSettings) -> np.ndarray:
    """Return (N, H, W) bool: pixels that ``predict`` would map."""
    nodata = settings.nodata
    valid = np.ones((len(images), *images.shape[2:]), dtype=bool) if nodata is None else (images != nodata).all(axis=1)
    return np.stack([reference.values.measured(*pair) for pair in zip(images, valid, strict=True)])


def _compare_probabilities(expected: np.ndarray, found: np.ndarray) -> tuple[float, int]:
    if found.shape != expected.shape:
        return np.inf, expected[:, 0].size
    return float(np.abs(found - expected).max()), int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())


def _compare_classes(expected: np.ndarray, found: np.ndarray, valid: np.ndarray) -> tuple[float, int]:
    """Return half of the largest lead that another class had, and the number of pixels with another class."""
    if found.shape != valid.shape or ((found == IGNORE_INDEX) != ~valid).any():
        return np.inf, valid.size
    best = expected.max(axis=1)
    chosen = np.take_along_axis(expected, np.where(valid, found, 0)[:, None].astype(np.int64), axis=1)[:, 0]
    lead = np.where(valid, best - chosen, 0)
    return float(lead.max() / 2), int((valid & (found != expected.argmax(axis=1))).sum())
