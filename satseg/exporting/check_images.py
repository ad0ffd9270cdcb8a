"""Raw images of several sizes on which an exported network is checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from satseg.checkpoint import ModelCard
from satseg.exporting.subject import SMALLEST
from satseg.results import Size

COUNT = 8
BATCHES = (1, 3)
"""Images of a batch, in turns."""

_ODD = Size(97, 130)  # multiples of no stride
_LEAST, _MOST = 128, 512
_SEED = 0


@dataclass(frozen=True)
class CheckImages:
    """Images that an exported network is checked on.

    Args:
        images: (C, H, W) raw values each; of any size.
        origin: Where they come from, as a phrase.
        sizes: Sizes to which they are cut.
    """

    images: tuple[np.ndarray, ...]
    origin: str
    sizes: tuple[Size, ...]

    def batches(self) -> Iterator[np.ndarray]:
        """Yield batches (N, C, H, W): :data:`COUNT` images of each size, in the batch sizes in turns."""
        for size in self.sizes:
            rng = np.random.default_rng(_SEED)
            cut = (cut_out(image, size, rng) for image in itertools.islice(itertools.cycle(self.images), COUNT))
            for count in itertools.cycle(BATCHES):
                if not (batch := list(itertools.islice(cut, count))):
                    break
                yield np.stack(batch)


def sizes_of(card: ModelCard, window: int | None) -> tuple[Size, ...]:
    """Return the smallest size, one that is no multiple of anything, and about that of the training tiles.

    Args:
        card: What the network was trained on.
        window: The single size that it takes, or None.
    """
    if window:
        return (Size(window, window),)
    side = min(max(card.tile_size, _LEAST), _MOST)
    return Size(SMALLEST, SMALLEST), _ODD, Size(side, side)


def random_images(card: ModelCard, size: Size) -> tuple[np.ndarray, ...]:
    """Return raw values that are drawn evenly from the range of each band in training, always the same ones."""
    rng, dtype = np.random.default_rng(_SEED), np.dtype(card.bands.dtype)
    low, high = (np.array(part)[:, None, None] for part in (card.statistics.minimum, card.statistics.maximum))
    shares = rng.random((COUNT, len(card.bands), *size))
    values = low + shares * (high - low)
    return tuple((np.round(values) if dtype.kind in "iu" else values).astype(dtype))


def cut_out(image: np.ndarray, size: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Cut (C, H, W) of a size out of an image, anywhere; an image that is smaller is mirrored at its edges."""
    missing = [max(0, side - there) for side, there in zip(size, image.shape[1:], strict=True)]
    if any(missing):
        image = np.pad(image, ((0, 0), *((0, more) for more in missing)), mode="symmetric")
    top, left = (int(rng.integers(there - side + 1)) for side, there in zip(size, image.shape[1:], strict=True))
    return image[:, top : top + size[0], left : left + size[1]]
