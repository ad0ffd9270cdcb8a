"""A network ready for inference: on its device, in its precision, with its normalisation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from satseg.backend import Builder
from satseg.checkpoint import Checkpoint
from satseg.classes import ClassTable
from satseg.raster.bands import normalise
from satseg.records import BandStatistics

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Network:
    """Turn raw windows into class probabilities.

    Args:
        model: Any module that obeys the model contract: (N, C, H, W) float32 to logits (N, K, H, W).
        classes: Class table of its logits.
        statistics: What its images are normalised with.
        device: Where it runs.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.

    Attributes:
        window: Side of the windows it must be given, or None where any size will do.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: ClassTable,
        statistics: BandStatistics,
        device: torch.device,
        precision: str = "32-true",
    ) -> None:
        self.classes = classes
        self.device = device
        self.precision = precision
        self.window: int | None = getattr(model, "window", None)
        self._statistics = statistics
        self._model = model.eval().to(device).to(memory_format=torch.channels_last)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, device: torch.device, precision: str, builder: Builder | None = None
    ) -> Network:
        """Build the network of a checkpoint; ``builder`` is its function where it was trained from an own file."""
        return cls(
            checkpoint.build_model(builder),
            classes=checkpoint.card.classes,
            statistics=checkpoint.card.statistics,
            device=device,
            precision=precision,
        )

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray, valid: np.ndarray) -> Tensor:
        """Run the network on a batch of windows.

        Args:
            images: (N, C, H, W) raw values in the dtype of the scene.
            valid: (N, H, W) bool.

        Returns:
            (N, K, H, W) float32 on the network's device, in 0..1, summing to 1 over K.
        """
        raw = torch.from_numpy(images).to(self.device, non_blocking=True)
        mask = None if valid.all() else torch.from_numpy(valid).to(self.device, non_blocking=True)
        inputs = normalise(raw, self._statistics, mask).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            logits = self._model(inputs)
        return logits.float().softmax(dim=1)

    def _autocast(self) -> AbstractContextManager[None]:
        dtype = _AUTOCAST.get(self.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)
