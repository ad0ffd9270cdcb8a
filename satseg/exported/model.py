"""The network of an ONNX file as a model like any other: normalised images in, scores out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from satseg.exported.sessions import Sessions
from satseg.raster.bands import Normaliser
from satseg.raster.windows import window_starts


class Gives(StrEnum):
    """What comes out of a file, by which scores are read from it."""

    PROBABILITIES = "probabilities"
    """(N, K, H, W) in 0..1, of one class each; those that do not sum to 1 are scaled to do so."""
    SCORES = "scores"
    """(N, K, H, W) of any range, before softmax."""
    PROBABILITY = "probability"
    """(N, 1, H, W) or (N, H, W) in 0..1, of the second of two classes."""
    SCORE = "score"
    """(N, 1, H, W) or (N, H, W) of any range, before the sigmoid, of the second of two classes."""
    CLASSES = "classes"
    """(N, H, W) or (N, 1, H, W) of whole numbers: ids of classes."""

    def scores(self, found: Tensor, classes: int) -> Tensor:
        """Return (N, K, H, W) float32 scores, whose softmax are probabilities; one-hot where there are only classes."""
        if self is Gives.SCORES:
            return found.float()
        if self is Gives.PROBABILITIES:
            return _log(found.float())
        plane = found.reshape(len(found), 1, *found.shape[-2:])
        if self is Gives.SCORE:
            return torch.cat([torch.zeros_like(plane, dtype=torch.float32), plane.float()], dim=1)
        if self is Gives.PROBABILITY:
            share = plane.float()
            return _log(torch.cat([1 - share, share], dim=1))
        ids = torch.arange(classes, device=found.device).view(1, -1, 1, 1)
        return _log((plane.long() == ids).float())


def _log(shares: Tensor) -> Tensor:
    """Return finite logarithms; NaN stays."""
    return shares.clamp(min=torch.finfo(torch.float32).tiny).log()


@dataclass(frozen=True)
class Taken:
    """What a file takes in place of normalised images.

    Args:
        dtype: Type of its input.
        raw: Turns normalised images into raw values; None where the file takes images as they are normalised.
        nodata: Raw value that the file would take for missing, or None: what is missing is known here, and filled.
        batch: The only number of images that it takes at once, or None.
    """

    dtype: torch.dtype
    raw: Normaliser | None = None
    nodata: float | None = None
    batch: int | None = None

    def images(self, normalised: Tensor) -> Tensor:
        """Return (N, C, H, W) of what the file takes."""
        if self.raw is None:
            return normalised.to(self.dtype)
        raw = self.raw.undo(normalised).to(self.dtype)
        if self.nodata is not None:
            raw[raw == self.nodata] = torch.nextafter(raw.new_tensor(self.nodata), raw.new_tensor(torch.inf))
        return raw


class OnnxModel(nn.Module):
    """A network that onnxruntime computes on the processor: (N, C, H, W) normalised images to (N, K, H, W) scores.

    Args:
        sessions: Runs the file.
        taken: What it takes.
        gives: What it gives.
        classes: K.
        window: Side of the only images that it takes, or None; others are padded to it, or cut into such.
        smallest: Side of the smallest images that it takes; smaller ones are padded.
        receptive_field: Pixels that it sees around a pixel, or None where that is unknown: no gradient goes through it.
        global_context: Whether each pixel sees its whole window.
    """

    def __init__(
        self,
        sessions: Sessions,
        taken: Taken,
        gives: Gives,
        classes: int,
        *,
        window: int | None = None,
        smallest: int = 1,
        receptive_field: int | None = None,
        global_context: bool = False,
    ) -> None:
        super().__init__()
        self._sessions = sessions
        self._taken = taken
        self._gives = gives
        self._classes = classes
        self._smallest = window or smallest
        self.window = window
        self.receptive_field = receptive_field
        self.global_context = global_context

    def forward(self, images: Tensor) -> Tensor:
        """Score normalised images of any size."""
        height, width = images.shape[-2:]
        padded = _mirrored(images, self._smallest)
        if self.window is None:
            return self._run(padded)[..., :height, :width]
        found = images.new_empty(len(images), self._classes, *padded.shape[-2:])
        rows, columns = (window_starts(side, self.window, self.window) for side in padded.shape[-2:])
        for place in ((..., slice(r, r + self.window), slice(c, c + self.window)) for r in rows for c in columns):
            found[place] = self._run(padded[place])
        return found[..., :height, :width]

    def _run(self, images: Tensor) -> Tensor:
        """Score images of a size that the file takes, in batches that it takes."""
        count = self._taken.batch or len(images)
        parts = []
        for part in images.split(count):
            filled = part if len(part) == count else part[torch.arange(count) % len(part)]
            given = self._taken.images(filled.cpu()).contiguous().numpy()
            found = torch.from_numpy(self._sessions.run(given))[: len(part)]
            parts.append(self._gives.scores(found, self._classes).to(images.device))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _mirrored(images: Tensor, least: int) -> Tensor:
    """Pad images at the bottom and on the right, mirrored at their edges, to a side of at least ``least``."""
    height, width = images.shape[-2:]
    if min(height, width) >= least:
        return images
    rows, columns = (_mirror(side, max(side, least)) for side in (height, width))
    return images[..., rows[:, None], columns]


def _mirror(side: int, wanted: int) -> Tensor:
    places = torch.arange(wanted) % (2 * side)
    return torch.minimum(places, 2 * side - 1 - places)
