"""What an int8 network loses of mean IoU, scored on tiles beside the network in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.exporting.check import measured_pixels
from satseg.exporting.settings import ExportSettings
from satseg.inference.network import Network
from satseg.results import Result


@dataclass(frozen=True, repr=False)
class QuantizationLoss(Result):
    """Scores of an int8 network and of the network in float32 on the same labelled tiles.

    Args:
        mean_iou: Mean IoU of the int8 network.
        float_mean_iou: That of the network in float32.
        loss: The latter less the former; below 0 where the int8 network scores better.
        differing: Share of the pixels with another class.
        pixels: Pixels that were compared.
    """

    mean_iou: float
    float_mean_iou: float
    loss: float
    differing: float
    pixels: int

    def holds(self, limit: float) -> bool:
        """Tell whether the loss is within a limit; it is not if it is not a number."""
        return self.loss <= limit


def quantization_loss(
    run: Callable[[np.ndarray], np.ndarray],
    reference: Network,
    samples: Iterable[tuple[np.ndarray, np.ndarray]],
    settings: ExportSettings,
) -> QuantizationLoss:
    """Score an int8 network beside the one that it comes from; memory holds one sample.

    Args:
        run: (N, C, H, W) raw values to (N, K, H, W) probabilities or (N, H, W) classes.
        reference: The network as ``predict`` runs it.
        samples: (N, C, H, W) raw values and (N, H, W) uint8 labels, 255 = ignore.
        settings: What was exported.
    """
    names = reference.classes.names
    quantized, plain = ConfusionMatrix(len(names)), ConfusionMatrix(len(names))
    differing, pixels = 0, 0
    for images, labels in samples:
        valid = measured_pixels(images, reference, settings)
        expected = reference.probabilities(images, valid).numpy().argmax(axis=1)[valid].astype(np.uint8)
        found = run(images)
        found = (found if settings.argmax else found.argmax(axis=1))[valid].astype(np.uint8)
        plain.add(labels[valid], expected)
        quantized.add(labels[valid], found)
        differing += int((found != expected).sum())
        pixels += found.size
    before, after = (score(matrix.counts, names).mean_iou for matrix in (plain, quantized))
    return QuantizationLoss(after, before, before - after, differing / max(pixels, 1), pixels)
