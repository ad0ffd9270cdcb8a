from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from satseg.mapfile import overviews
from satseg.mapfile.overviews import mean, most_frequent, write_overviews
from satseg.mapfile.work_raster import WorkRaster
from satseg.records import MapLayer

VOID = 255


def halved(pixels: np.ndarray, layer: MapLayer) -> np.ndarray:
    """Look at every two by two by itself, in reading order."""
    bands, height, width = pixels.shape
    half = np.full((bands, -(-height // 2), -(-width // 2)), VOID, dtype=np.uint8)
    for band, row, column in np.ndindex(half.shape):
        cell = pixels[band, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].ravel()
        values = [int(value) for value in cell if value != VOID]
        if values and layer is MapLayer.CLASSES:
            # The one that has as many as any other has in the end, and had them first.
            counts = [values[: i + 1].count(value) for i, value in enumerate(values)]
            half[band, row, column] = values[counts.index(max(counts))]
        elif values:
            half[band, row, column] = (sum(values) + len(values) // 2) // len(values)
    return half


@pytest.mark.parametrize("layer", [MapLayer.CLASSES, MapLayer.PROBABILITIES])
@pytest.mark.parametrize("strip", [8, 2**18])
def test_every_level_is_half_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: MapLayer, strip: int
) -> None:
    monkeypatch.setattr(overviews, "STRIP_BYTES", strip)
    pixels = np.random.default_rng(0).choice([0, 1, 2, 250, VOID], (3, 37, 70)).astype(np.uint8)
    with WorkRaster(tmp_path / "rows.raw", height=37, width=70, bands=3) as rows:
        rows.write(0, 0, pixels)
        levels = write_overviews(rows, tmp_path, layer=layer, smallest=16)
    assert [(level.height, level.width) for level in levels] == [(19, 35), (10, 18), (5, 9)]
    for level in levels:
        pixels = halved(pixels, layer)
        with WorkRaster(level.path, height=level.height, width=level.width, bands=3) as written:
            assert (written.read(0, level.height) == pixels).all()


def test_a_small_raster_has_none(tmp_path: Path) -> None:
    with WorkRaster(tmp_path / "rows.raw", height=512, width=40) as rows:
        assert write_overviews(rows, tmp_path, layer=MapLayer.CLASSES, smallest=512) == []


def test_nodata_counts_only_where_there_is_nothing_else() -> None:
    void, three, four = (np.full((1, 1, 1), value, dtype=np.uint8) for value in (VOID, 3, 4))
    assert most_frequent(void, void, three, void).item() == 3
    assert most_frequent(void, void, void, void).item() == VOID
    assert mean(void, three, void, four).item() == 4
    assert mean(void, void, void, void).item() == VOID
