"""Labelled tiles on which an int8 network is calibrated and scored, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.exporting.subject import SMALLEST
from satseg.tiles.tile import Tile


@dataclass(frozen=True)
class ValTiles:
    """Tiles in the shape that an exported network takes.

    Args:
        tiles: The tiles, all with labels.
        window: Side of the images that the network takes, in pixels; None where it takes any from 64 px.
    """

    tiles: tuple[Tile, ...]
    window: int | None = None

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield raw values (1, C, H, W) and labels (1, H, W) uint8, 255 = ignore, of each tile.

        Raises:
            TileError: A tile cannot be read.
        """
        for tile in self.tiles:
            bands, labels, _ = tile.read()
            sides = [self.window or max(SMALLEST, side) for side in labels.shape]
            yield _fitted(bands, sides)[None], _fitted(labels, sides, IGNORE_INDEX)[None]

    def images(self, most: int) -> Iterator[np.ndarray]:
        """Yield raw values (1, C, H, W) of so many tiles at most, which are spread over all of them."""
        step = max(1, -(-len(self.tiles) // most))
        return (images for images, _ in ValTiles(self.tiles[::step], self.window))


def _fitted(array: np.ndarray, sides: list[int], fill: int | None = None) -> np.ndarray:
    """Cut (..., H, W) to a size, or extend it at the bottom and right: by its mirror image, or by a value."""
    array = array[..., : sides[0], : sides[1]]
    missing = [(0, side - there) for side, there in zip(sides, array.shape[-2:], strict=True)]
    pads = [(0, 0)] * (array.ndim - 2) + missing
    if fill is None:
        return np.pad(array, pads, mode="symmetric")
    return np.pad(array, pads, constant_values=fill)
