from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.errors import NetworkError
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.evaluation.tiles import score_tiles
from satseg.records import ProgressEvent
from satseg.tiles.batches import TileReader


@dataclass(frozen=True)
class FakeTile:
    number: int
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        return f"tile-{self.number}"

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.number)
        truth, guess = rng.integers(0, 3, (2, *self.shape)).astype(np.uint8)
        valid = rng.random(self.shape) < 0.9
        return np.where(valid, guess, 0)[None], np.where(valid, truth, 255).astype(np.uint8), valid


def as_painted(bands: np.ndarray, valid: np.ndarray) -> Tensor:
    """The oracle: what the first band says."""
    return torch.nn.functional.one_hot(torch.from_numpy(bands[:, 0]).long(), 3).permute(0, 3, 1, 2)


TILES = [FakeTile(i, (8, 8) if i % 3 else (5, 8)) for i in range(7)]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_every_pixel_of_every_tile_counts_once_in_batches_of_any_size(batch_size: int) -> None:
    expected = ConfusionMatrix(3)
    for tile in TILES:
        bands, labels, _ = tile.read()
        expected.add(labels, bands[0])
    report = score_tiles(as_painted, TILES, TileReader(8), names="abc", batch_size=batch_size)  # type: ignore[arg-type]
    assert report.confusion == tuple(map(tuple, expected.counts.tolist()))


def test_progress_counts_tiles() -> None:
    events: list[ProgressEvent] = []
    score_tiles(as_painted, TILES, TileReader(8), names="abc", batch_size=3, progress=events.append)  # type: ignore[arg-type]
    assert [(event.done, event.total, event.unit) for event in events] == [
        (3, 7, "tile"),
        (6, 7, "tile"),
        (7, 7, "tile"),
    ]


def test_scores_that_are_not_finite_are_refused_with_the_tile_and_the_place() -> None:
    def mad(bands: np.ndarray, valid: np.ndarray) -> Tensor:
        scores = as_painted(bands, valid).float()
        scores[1, 2, 3, 4] = torch.nan
        return scores

    row, column = 3, 4
    asked = [tile for tile in TILES if tile.shape == (8, 8)]
    known = next(i for i in range(1, len(asked)) if asked[i].read()[2][row, column])
    tiles = [asked[0], asked[known]]
    with pytest.raises(NetworkError, match=f"at row 3, column 4 of the tile {tiles[1].name}"):
        score_tiles(mad, tiles, TileReader(8), names="abc", batch_size=2)  # type: ignore[arg-type]
