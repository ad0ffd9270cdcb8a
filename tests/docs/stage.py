"""The files that the commands of the documentation name: small crops of the sample, and what is drawn on them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from pages import ROOT
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter
from shapely.geometry import box

from satseg.sample import sample

CROP = 512
SMALL = 160


def town(folder: Path) -> None:
    """A labelled scene, others without labels, and labels of every kind that the pages use."""
    bounds = _crop(folder / "scene.tif", 0, 0, CROP)
    for number, name in enumerate(("other", "scenes/east", "scenes/west", "scenes/north")):
        _crop(folder / f"{name}.tif", CROP, SMALL * number, SMALL)
    shutil.copy(folder / "scene.tif", folder / "2023.tif")
    with rasterio.open(folder / "scene.tif") as scene:  # on a darker day
        _write(folder / "2024.tif", scene.read() // 4 * 3, scene.transform, scene.crs)
    shutil.copy(sample().labels, folder / "buildings.gpkg")
    shutil.copytree(ROOT / "examples", folder / "examples")
    _layers(folder, bounds)
    _pairs(folder)
    _rasters(folder, bounds)


def sentinel(folder: Path) -> None:
    """The 10 m bands of a Sentinel-2 scene as single files, and land cover in degrees with the values of WorldCover."""
    random = np.random.default_rng(5)
    values = np.array([10, 30, 40, 50, 80, 60])
    grid = Affine(10, 0, 600_000, 0, -10, 5_300_000)
    cover = np.argmax([gaussian_filter(random.normal(size=(448, 448)), 12) for _ in values], 0)
    light = random.uniform(300, 3500, (len(values), 4))
    for band, name in enumerate(("B02", "B03", "B04", "B08")):
        image = light[cover, band] + random.normal(0, 100, cover.shape)
        _write(folder / f"{name}.tif", image.clip(1, 10_000).astype("uint16")[None], grid, 32633)
    west, south, east, north = transform_bounds(32633, 4326, 600_000, 5_295_520, 604_480, 5_300_000)
    rows, cols = 460, 520
    degrees = Affine((east - west) / cols, 0, west, 0, (south - north) / rows, north)
    warped = np.zeros((rows, cols), "uint8")
    rasterio.warp.reproject(
        values[cover].astype("uint8"), warped, src_transform=grid, src_crs=32633, dst_transform=degrees, dst_crs=4326
    )
    warped[warped == 0] = 60
    _write(folder / "worldcover.tif", warped[None], degrees, 4326)


def _crop(path: Path, row: int, col: int, size: int) -> rasterio.coords.BoundingBox:
    window = Window(col, row, size, size)
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(sample().labelled) as scene:
        grid = scene.window_transform(window)
        _write(path, scene.read(window=window), grid, scene.crs)
    with rasterio.open(path) as written:
        return written.bounds


def _layers(folder: Path, bounds: rasterio.coords.BoundingBox) -> None:
    left, bottom, right, top = bounds
    step = (right - left) / 6
    strips = [box(left + step * number, bottom, left + step * (number + 1), top) for number in range(6)]

    def write(name: str, geometry: list[object], **columns: list[object]) -> None:
        gpd.GeoDataFrame(columns, geometry=geometry, crs=3857).to_file(folder / name)

    uses = ["residential", "water", "forest", "residential", "water", "forest"]
    write("landuse.gpkg", strips[:5], use=uses[:5], year=[2019, 2020, 2021, 2022, 2023])
    write("roads.gpkg", [box(left, (bottom + top) / 2, right, (bottom + top) / 2 + 8)], use=["road"])
    write("surveyed.gpkg", [box(left, bottom + 10, right - 10, top)])
    edges = [left + share * (right - left) for share in (0, 0.6, 0.8, 1)]
    regions = [box(west, bottom, east, top) for west, east in pairwise(edges)]
    write("regions.gpkg", regions, split=["train", "val", "test"])
    south = box(left + 5, bottom - 15, right, bottom)
    gpd.GeoDataFrame(geometry=[south], crs=3857).to_crs(4326).to_file(folder / "district.geojson")


def _pairs(folder: Path) -> None:
    """Folders of images and masks: with values 0 and 255, with splits, and under other suffixes with -1 for unknown."""
    random = np.random.default_rng(6)
    rows = ["scene,labels,split,weight"]
    places = {"images": "masks", "train/images": "train/masks", "val/images": "val/masks", "S1": "labels"}
    (folder / "maps").mkdir()
    for images, masks in places.items():
        for name in (images, masks):
            (folder / name).mkdir(parents=True)
        for number in range(6):
            grid = Affine(0.13, 0, 700_000 + 200.0 * number, 0, -0.13, 3_000_000 - 1000.0 * len(images))
            covered = gaussian_filter(random.normal(size=(128, 128)), 9) > 0
            image = (random.normal(90, 20, (3, 128, 128)) + 90 * covered).clip(1, 255).astype("uint8")
            if images == "S1":
                mask, ends = covered.astype("int16"), ("_S1.tif", "_mask.tif")
                mask[:9] = -1
                _write(folder / "maps" / f"plot{number}.tif", covered.astype("uint8")[None], grid, 32645)
            else:
                mask, ends = covered.astype("uint8") * (255 if images == "images" else 1), (".tif", ".tif")
            _write(folder / images / f"plot{number}{ends[0]}", image, grid, 32645)
            _write(folder / masks / f"plot{number}{ends[1]}", mask[None], grid, 32645)
            if images == "train/images":
                split = ("train", "train", "train", "train", "val", "test")[number]
                rows.append(f"{images}/plot{number}.tif,{masks}/plot{number}.tif,{split},1")
    (folder / "scenes.csv").write_text("\n".join(rows) + "\n")


def _rasters(folder: Path, bounds: rasterio.coords.BoundingBox) -> None:
    """Rasters on the ground of the scene, and a mask without any."""
    random = np.random.default_rng(7)
    side = 200
    left, bottom, right, top = bounds
    grid = Affine((right - left) / side, 0, left, 0, (bottom - top) / side, top)
    hills = gaussian_filter(random.normal(size=(side, side)), 12)
    ids = np.arange(25, dtype="int32").reshape(5, 5).repeat(side // 5, 0).repeat(side // 5, 1)
    _write(folder / "ids.tif", ids[None], grid, 3857)
    _write(folder / "height.tif", (1500 + 100 * hills).astype("float32")[None], grid, 3857)
    _write(folder / "probability.tif", ((hills - hills.min()) / np.ptp(hills)).astype("float32")[None], grid, 3857)
    with rasterio.open(folder / "mask.png", "w", driver="PNG", width=side, height=side, count=1, dtype="uint8") as out:
        out.write((hills > 0).astype("uint8") * 255, 1)


def _write(path: Path, image: np.ndarray, grid: Affine, crs: object) -> None:
    bands, height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=image.dtype, crs=crs, transform=grid,
        compress="deflate",
    ) as out:  # fmt: skip
        out.write(image)
