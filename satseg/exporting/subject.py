"""What is exported: a checkpoint, and what its file is to compute."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from satseg.backend import Builder
from satseg.checkpoint import Checkpoint
from satseg.exporting.deepness import plugin_metadata, require_fit
from satseg.exporting.raw_network import RawNetwork
from satseg.exporting.settings import ExportSettings
from satseg.inference.network import Network
from satseg.inference.receptive_field import effective_receptive_field
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

    Raises:
        UsageError: The program for which the file is meant cannot run the network.
    """

    checkpoint: Checkpoint
    settings: ExportSettings
    builder: Builder | None = None
    images: Iterable[np.ndarray] = ()

    def __post_init__(self) -> None:
        if self.settings.deepness:
            require_fit(self.checkpoint.card)

    @property
    def channels(self) -> int:
        """Bands of its images."""
        return len(self.checkpoint.card.bands)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the pixels that its file takes."""
        if self.settings.deepness:
            return torch.float32
        found: torch.dtype = getattr(torch, self.checkpoint.card.bands.dtype)
        return found

    @property
    def output(self) -> str:
        """Name of what it gives."""
        return "classes" if self.settings.argmax else "probabilities"

    def network(self) -> RawNetwork:
        """Build the network from raw pixels to what it gives."""
        return RawNetwork.of(self.checkpoint, self.settings, self.builder)

    def metadata(self, window: int | None = None) -> dict[str, str]:
        """Return what files hold beside the network, by keys of satseg and of programs that they are meant for.

        ``satseg`` is the card of the checkpoint (:class:`satseg.checkpoint.ModelCard`): classes, bands in the order of
        the input, their dtype and scale, ground metres per pixel, size of the training tiles. ``satseg_export`` says
        what the file computes, and from which checkpoint.

        Args:
            window: Side of the only images that the file takes, in pixels; None if it takes any.
        """
        made = {
            "checkpoint": f"{self.checkpoint.path.name} sha256:{self.checkpoint.digest}",
            "output": self.output,
            "settings": self.settings.record(),
            "smallest": SMALLEST,
            **self.sight,
            "version": __version__,
        }
        card = self.checkpoint.card
        others = plugin_metadata(card, window) if self.settings.deepness and window else {}
        return {**others, "satseg": card.to_json(), "satseg_export": json.dumps(made, sort_keys=True)}

    @cached_property
    def sight(self) -> dict[str, object]:
        """What the windows of ``predict`` follow from: gradients, which measure it, do not go through files."""
        network = Network.from_checkpoint(
            self.checkpoint, device=torch.device("cpu"), precision="32-true", builder=self.builder
        )
        if network.global_context:
            return {"global_context": True}
        side = effective_receptive_field(network)
        return {} if side is None else {"receptive_field": side}
