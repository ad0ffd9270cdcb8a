from __future__ import annotations

from pathlib import Path

import numpy as np

from satseg.exporting.val_tiles import ValTiles
from satseg.tiles.tileset import TileSet


def test_tiles_come_one_at_a_time_with_their_labels(bright_tiles: Path) -> None:
    tiles = tuple(TileSet.open(bright_tiles).tiles("val"))
    pairs = list(ValTiles(tiles))
    assert len(pairs) == 4
    for tile, (images, labels) in zip(tiles, pairs, strict=True):
        bands, ids, _ = tile.read()
        assert np.array_equal(images, bands[None])
        assert np.array_equal(labels, ids[None])


def test_a_window_cuts_tiles_or_extends_them_without_labels(bright_tiles: Path) -> None:
    tile = TileSet.open(bright_tiles).tiles("val")[0]
    bands, ids, _ = tile.read()
    ((images, labels),) = ValTiles((tile,), 48)
    assert np.array_equal(images[0], bands[:, :48, :48])
    assert np.array_equal(labels[0], ids[:48, :48])
    ((images, labels),) = ValTiles((tile,), 70)
    assert np.array_equal(images[0, :, :64, 64:], bands[:, :, :57:-1])
    assert np.array_equal(labels[0, :64, :64], ids)
    assert (labels[0, 64:] == 255).all()
    assert (labels[0, :, 64:] == 255).all()


def test_few_images_are_spread_over_all_tiles(bright_tiles: Path) -> None:
    tiles = tuple(TileSet.open(bright_tiles).tiles("val"))
    found = list(ValTiles(tiles).images(2))
    assert [np.array_equal(image[0], tiles[number].read()[0]) for number, image in zip((0, 2), found, strict=True)] == [
        True,
        True,
    ]
    assert len(list(ValTiles(tiles).images(9))) == 4
    assert list(ValTiles(()).images(9)) == []
