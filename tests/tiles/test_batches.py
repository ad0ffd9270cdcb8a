from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from satseg.raster.values import ValueRange
from satseg.tiles.batches import TileReader


@dataclass
class FakeTile:
    name: str
    shape: tuple[int, int] = (8, 8)
    reads: list[str] = field(default_factory=list)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.reads.append(self.name)
        return (
            np.ones((3, *self.shape), dtype=np.uint8),
            np.full(self.shape, 2, dtype=np.uint8),
            np.ones(self.shape, dtype=bool),
        )


def test_a_tile_is_decoded_once() -> None:
    tile, reader = FakeTile("a"), TileReader(8)
    assert reader.read(tile) is reader.read(tile)  # type: ignore[arg-type]
    assert tile.reads == ["a"]


def test_tiles_are_kept_until_the_memory_is_used_up() -> None:
    one = 5 * 64
    reader, tiles = TileReader(8, cache_bytes=2 * one + 7), [FakeTile(name) for name in "abc"]
    for _ in range(3):
        for tile in tiles:
            reader.read(tile)  # type: ignore[arg-type]
    assert [len(tile.reads) for tile in tiles] == [1, 1, 3]


def test_a_small_tile_is_padded_as_not_valid_and_ignored() -> None:
    sample = TileReader(8).read(FakeTile("small", (5, 8)))  # type: ignore[arg-type]
    assert (sample.bands.shape, sample.labels.shape, sample.valid.shape) == ((3, 8, 8), (8, 8), (8, 8))
    assert (sample.labels[:5] == 2).all()
    assert (sample.labels[5:] == 255).all()
    assert (sample.bands[:, 5:] == 0).all()
    assert sample.valid[:5].all()
    assert not sample.valid[5:].any()


def test_pixels_out_of_range_are_ignored_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(FakeTile):
        def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            bands, labels, valid = super().read()
            bands = bands.astype(np.float32)
            bands[1, 2, 3], bands[0, 0, 0] = -3.4e38, 99
            return bands, labels, valid

    reader = TileReader(8, values=ValueRange((0.0,) * 3, (9.0,) * 3))
    with caplog.at_level("WARNING", "satseg"):
        samples = [reader.read(Odd(name)) for name in "ab"]  # type: ignore[arg-type]
    for sample in samples:
        assert np.argwhere(~sample.valid).tolist() == [[0, 0], [2, 3]]
        assert (sample.labels == 255).sum() == 2
        assert np.abs(sample.bands).max() == 1
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("The tile a: 2 px hold values far out of range, such as 99 in band 1 at row 0")
