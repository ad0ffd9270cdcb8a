"""A network with what stands before and behind it: raw pixels in, probabilities or classes out."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from satseg.backend import Builder
from satseg.checkpoint import Checkpoint
from satseg.classes import IGNORE_INDEX
from satseg.exporting.deepness import Restored, tile_side
from satseg.exporting.same_padding import with_open_sizes
from satseg.exporting.settings import ExportSettings
from satseg.inference.network import has_global_context
from satseg.raster.bands import Normaliser


class RawNetwork(nn.Module):
    """A network that takes raw pixels, normalises them as training did, and gives probabilities or classes.

    Args:
        model: Normalised images (N, C, H, W) to logits (N, K, H, W), which others may follow.
        normalise: Raw values to what the model was trained on.
        classes: K; what the model says of objects behind their logits is left out.
        settings: What it gives, and in which precision it computes.
        restore: Given pixels to raw ones; None where they are raw.
        window: Side of the only images that it is to take, in pixels; None if it is to take any.
    """

    def __init__(
        self,
        model: nn.Module,
        normalise: Normaliser,
        classes: int,
        settings: ExportSettings,
        *,
        restore: nn.Module | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.restore = restore
        self.window = window
        self.model = model.half() if settings.half else model
        self.normalise = normalise
        self.classes = classes
        self.settings = settings
        self.eval()

    @classmethod
    def of(cls, checkpoint: Checkpoint, settings: ExportSettings, builder: Builder | None = None) -> Self:
        """Build the network of a checkpoint, on the CPU, without what only training needs.

        Args:
            checkpoint: What to build.
            settings: What it gives.
            builder: Function that builds the network that was trained from an own file.

        Raises:
            CheckpointError: It cannot be built.
        """
        card = checkpoint.card
        model = checkpoint.build_model(builder)
        normalise = Normaliser(card.statistics, torch.device("cpu"), card.clipping)
        restore, window = None, getattr(model, "window", None)
        if window is None and getattr(model, "unrolls", False):
            window = card.tile_size  # its graph has a part for each line of the image
        if settings.deepness:
            restore = Restored(card.bands.dtype, settings.nodata)
            window = tile_side(card, window, global_context=has_global_context(model))
        model = with_open_sizes(without_auxiliary(model))
        return cls(model, normalise, len(card.classes), settings, restore=restore, window=window)

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify raw pixels.

        Args:
            pixels: (N, C, H, W) raw values in the dtype, scale and order of bands of the training scenes, or what is
                restored to them.

        Returns:
            (N, K, H, W) float32 in 0..1, summing to 1 over K; or (N, H, W) uint8, 255 where there is no data.
        """
        pixels = pixels if self.restore is None else self.restore(pixels)
        images, measured = self.normalise.measure(pixels, self._valid(pixels))
        logits = self.model(images.half() if self.settings.half else images)[:, : self.classes].float()
        if not self.settings.argmax:
            return logits.softmax(dim=1)
        found = logits.argmax(dim=1).to(torch.uint8)
        return found if measured is None else found.masked_fill(~measured, IGNORE_INDEX)

    def _valid(self, pixels: Tensor) -> Tensor | None:
        """Return (N, H, W) bool, or None where no value stands for missing data."""
        if self.settings.nodata is None:
            return None
        # torch cannot compare unsigned integers of all sizes; in float64 all of them are exact up to 2**53.
        values = pixels if pixels.is_floating_point() else pixels.to(torch.float64)
        return (values != self.settings.nodata).all(dim=1)


def without_auxiliary(model: nn.Module) -> nn.Module:
    """Take the modules named ``aux...``, which only training needs, out of a network in eval mode."""
    for module in list(model.modules()):
        for name in dict(module.named_children()):
            if name.startswith("aux"):
                setattr(module, name, None)
    return model
