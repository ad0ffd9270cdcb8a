"""What is exported: a checkpoint, and what its file is to compute."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from satseg.backend import Builder
from satseg.checkpoint import Checkpoint
from satseg.exporting.raw_network import RawNetwork
from satseg.exporting.settings import ExportSettings
from satseg.version import __version__

SMALLEST = 64
"""Smallest side of images that exported networks take, in pixels."""


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Args:
        checkpoint: The network.
        settings: What its file computes.
        builder: Function that builds the network that was trained from an own file.
        images: Raw values (N, C, H, W), one batch after the other, on which an int8 network measures its ranges.
    """

    checkpoint: Checkpoint
    settings: ExportSettings
    builder: Builder | None = None
    images: Iterable[np.ndarray] = ()

    @property
    def channels(self) -> int:
        """Bands of its images."""
        return len(self.checkpoint.card.bands)

    @property
    def dtype(self) -> torch.dtype:
        """Type of its pixels."""
        found: torch.dtype = getattr(torch, self.checkpoint.card.bands.dtype)
        return found

    @property
    def output(self) -> str:
        """Name of what it gives."""
        return "classes" if self.settings.argmax else "probabilities"

    def network(self) -> RawNetwork:
        """Build the network from raw pixels to what it gives."""
        return RawNetwork.of(self.checkpoint, self.settings, self.builder)

    def metadata(self) -> dict[str, str]:
        """Return what files hold beside the network, by keys of satseg; other programs may have their own beside them.

        ``satseg`` is the card of the checkpoint (:class:`satseg.checkpoint.ModelCard`): classes, bands in the order of
        the input, their dtype and scale, ground metres per pixel, size of the training tiles. ``satseg_export`` says
        what the file computes, and from which checkpoint.
        """
        made = {
            "checkpoint": f"{self.checkpoint.path.name} sha256:{self.checkpoint.digest}",
            "output": self.output,
            "settings": self.settings.record(),
            "smallest": SMALLEST,
            "version": __version__,
        }
        return {"satseg": self.checkpoint.card.to_json(), "satseg_export": json.dumps(made, sort_keys=True)}
