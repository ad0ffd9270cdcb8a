"""Draw small stand-ins for four public data sets: the same shapes and troubles, a few hundred pixels each.

Each function fills a folder as its publisher would and returns nothing; the script of that project does the rest.
Everything is drawn from a fixed seed, and easy enough that a network learns it in a few dozen steps.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter
from shapely.geometry import MultiPolygon, Polygon, box

CROPS = (
    "Vinterhvede", "Vinterbyg", "Vårbyg", "Vårhvede", "Vårhavre", "Vinterrug", "Vinterraps", "Majs til helsæd",
    "Kartofler, spise-", "Kartofler, stivelses-", "Sukkerroer til fabrik", "Rødkløver, frø", "Hvidkløver, frø",
    "Rajgræs, alm.", "Rajgræs, ital.", "Hestebønner", "Ærter", "Permanent græs, normalt udbytte", "Slåningsbrak",
    "Skovdrift, alm.", "Juletræer og pyntegrønt på landbrugsjord", "Æbler", "Pærer", "Jordbær", "Solbær", "Gulerod",
    "Løg", "Hvidkål", "Porre", "Spinat", "Græskar", "Lucerne, slæt", "Boghvede", "Hør", "Hamp", "=ukendt afgrøde=",
)  # fmt: skip
"""36 names of crops as a registry of fields writes them: commas, letters beyond ASCII, an equals sign."""


def drone_roofs(folder: Path) -> None:
    """Two drone photographs in UTM with pixels of 10 cm, and footprints of both in one GeoPackage in degrees."""
    random = np.random.default_rng(1)
    roofs = []
    for name, left in (("north", 500_000.0), ("south", 500_100.0)):
        grid = Affine(0.1, 0, left, 0, -0.1, 3_057_000.0)
        image = _noise(random, 3, 512, 512, mean=(70, 95, 60), spread=14)
        for row in range(20, 460, 75):
            for col in range(20, 460, 75):
                height, width = random.integers(34, 62, 2)
                image[:, row : row + height, col : col + width] += np.array([110, 55, 70])[:, None, None]
                roofs.append(_on_ground(grid, row, col, height, width))
        _write(folder / f"{name}.tif", image.clip(0, 255).astype("uint8"), grid, 32645)
    gpd.GeoDataFrame(geometry=roofs, crs=32645).to_crs(4326).to_file(folder / "footprints.gpkg")


def crop_types(folder: Path) -> None:
    """A Sentinel-2 scene of 452 x 413 pixels in 16 bits, and the registry's fields of 36 crops as a Shapefile."""
    random = np.random.default_rng(2)
    grid = Affine(10, 0, 520_000.0, 0, -10, 6_180_000.0)
    light = random.uniform(600, 4200, (len(CROPS), 6))
    image = _noise(random, 6, 413, 452, mean=(900,) * 6, spread=150)
    fields, crops = [], []
    for number, (row, col) in enumerate((r, c) for r in range(4, 390, 24) for c in range(4, 430, 24)):
        crop = (number * 7 + number // 36) % len(CROPS)
        image[:, row : row + 21, col : col + 21] += light[crop][:, None, None]
        fields.append(_on_ground(grid, row, col, 21, 21))
        crops.append(CROPS[crop])
    _write(folder / "T32VNH.tif", image.clip(1, 10_000).astype("uint16"), grid, 32632)
    table = gpd.GeoDataFrame({"Afgroede": crops, "Marknr": range(len(crops))}, geometry=fields, crs=32632)
    table.to_crs(25832).to_file(folder / "Marker.shp", encoding="UTF-8")


def forest_pairs(folder: Path) -> None:
    """44 images with masks in folders of their split; each image names its four bands after itself."""
    random = np.random.default_rng(3)
    for number in range(44):
        split = "train" if number < 30 else "val" if number < 37 else "test"
        grid = Affine(3, 0, 200_000.0 + 600 * number, 0, -3, 9_400_000.0)
        cleared = gaussian_filter(random.normal(size=(128, 128)), 14) > 0
        image = _noise(random, 4, 128, 128, mean=(300, 500, 350, 3000), spread=90)
        image[:, cleared] += np.array([500, 350, 700, -1400])[:, None]
        name = f"plot {number:02d}"
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        names = [f"{name}_B{band}" for band in (2, 3, 4, 8)]
        _write(folder / split / "images" / f"{name}.tif", image.clip(1, 65_000).astype("uint16"), grid, 32720, names)
        _write(folder / split / "masks" / f"{name}.tif", cleared[None].astype("uint8"), grid, 32720)


def flood_chips(folder: Path) -> None:
    """Twelve radar chips in decibel with NaN beside the swath, and labels -1 / 0 / 1 of each under another suffix."""
    random = np.random.default_rng(4)
    for kind in ("S1", "LabelHand"):
        (folder / kind).mkdir(parents=True)
    for number in range(12):
        grid = Affine(9e-5, 0, 88.0 + 0.02 * number, 0, -9e-5, 25.0)
        water = gaussian_filter(random.normal(size=(128, 128)), 16) > 0.01
        image = _noise(random, 2, 128, 128, mean=(-8, -14), spread=1.2)
        image[:, water] -= 9
        label = water.astype("int16")
        label[:, :9] = -1
        image[:, :, 116 + number % 8 :] = np.nan
        stem = f"Ghana_{103_272 + number}"
        _write(folder / "S1" / f"{stem}_S1Hand.tif", image.astype("float32"), grid, 4326, ["VV", "VH"])
        _write(folder / "LabelHand" / f"{stem}_LabelHand.tif", label[None], grid, 4326)


def _noise(
    random: np.random.Generator, bands: int, height: int, width: int, *, mean: tuple[float, ...], spread: float
) -> np.ndarray:
    """Return (band, row, col) values around a mean of each band."""
    return np.array(mean, float)[:, None, None] + spread * random.normal(size=(bands, height, width))


def _on_ground(grid: Affine, row: int, col: int, height: int, width: int) -> Polygon | MultiPolygon:
    (left, top), (right, bottom) = grid * (col, row), grid * (col + width, row + height)
    return box(left, bottom, right, top)


def _write(path: Path, image: np.ndarray, grid: Affine, epsg: int, names: list[str] | None = None) -> None:
    bands, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=image.dtype, crs=f"EPSG:{epsg}",
        transform=grid, compress="deflate",
    ) as out:  # fmt: skip
        out.write(image)
        if names:
            out.descriptions = tuple(names)
