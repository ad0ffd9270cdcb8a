"""The sample on two dates: the later one is shifted, recoloured and altered by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from affine import Affine
from rasterio.features import rasterize
from rasterio.windows import Window
from scipy import ndimage

from satseg.sample import sample

SIDE = 640
SHIFT = (3.4, -5.3)  # rows and columns that the ground moves
BORDER = 8  # px: beyond it, the ground of the later scene is in the earlier one, too
_AROUND = 40
_MIXED = np.array([[0.8, 0.2, 0.0], [0.1, 0.7, 0.1], [0.0, 0.3, 0.6]])
_GAMMA = np.array([0.8, 1.2, 0.9])[:, None, None]
_ALTERED = ((90, 100, 60, 80), (300, 400, 40, 40), (480, 150, 50, 70))  # top, left, height and width


@dataclass(frozen=True)
class Dates:
    """Files of both dates.

    Args:
        earlier: Scene.
        later: The same ground, but for ``changed``.
        labels: Polygons of the earlier scene, one class called ``buildings``.
        expected: (row, col) class ids of the ground of the later scene, as if nothing had changed.
        changed: (row, col) bool.
    """

    earlier: Path
    later: Path
    labels: Path
    expected: np.ndarray
    changed: np.ndarray


def write_dates(folder: Path) -> Dates:
    with rasterio.open(sample().labelled) as source:
        side = SIDE + 2 * _AROUND
        window = Window(400, 600, side, side)
        wide = source.read((1, 2, 3), window=window).astype(float)
        crs, transform = source.crs, source.window_transform(window) * Affine.translation(_AROUND, _AROUND)
    later, changed = altered(recoloured(shifted(wide, SHIFT)))
    for name, bands in (("2023.tif", shifted(wide, (0, 0))), ("2024.tif", later)):
        _write(folder / name, bands, crs, transform)
    labels = geopandas.read_file(sample().labels).to_crs(crs)
    labels.to_file(folder / "buildings.gpkg")
    rows, columns = (round(pixels) for pixels in SHIFT)
    moved = transform * Affine.translation(-columns, -rows)
    expected = rasterize(labels.geometry, (SIDE, SIDE), transform=moved)
    return Dates(folder / "2023.tif", folder / "2024.tif", folder / "buildings.gpkg", expected, changed)


def shifted(wide: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Return (band, row, col) of the middle, whose ground is moved down and to the right."""
    rows, columns = np.indices((SIDE, SIDE)) + float(_AROUND)
    places = [rows - shift[0], columns - shift[1]]
    return np.stack([ndimage.map_coordinates(band, places, order=3) for band in wide])


def recoloured(bands: np.ndarray) -> np.ndarray:
    """Mix the bands, bend their tone curves, and let light fall from one side."""
    mixed = np.clip(np.tensordot(_MIXED, bands, 1), 0, 255)
    light = 1 + 0.15 * np.linspace(-1, 1, SIDE)
    return np.clip(255 * (mixed / 255) ** _GAMMA * light * 0.9 + 8, 0, 255)


def altered(bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put a roof, other ground and bare soil in three places; return where."""
    changed, made = np.zeros(bands.shape[1:], dtype=bool), bands.copy()
    roof, other, soil = (np.s_[t : t + h, left : left + w] for t, left, h, w in _ALTERED)
    made[:, *roof] = np.array([190, 60, 50])[:, None, None]
    made[:, *other] = bands[:, 40:80, 540:580]
    noise = np.random.default_rng(0).normal(0, 6, made[:, *soil].shape)
    made[:, *soil] = np.array([90, 80, 60])[:, None, None] + noise
    for place in (roof, other, soil):
        changed[place] = True
    return np.clip(made, 0, 255), changed


def _write(path: Path, bands: np.ndarray, crs: object, transform: Affine) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "width": SIDE, "height": SIDE, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", count=len(bands), **profile) as target:
        target.write(bands.round().astype(np.uint8))
