"""The tile set on disk: ``images/``, ``labels/``, ``tileset.json`` and the index, a GeoParquet table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import SatsegError, TileError, one_line
from satseg.raster.scene import Scene
from satseg.records import BandSpec, BandStatistics
from satseg.tiles.layout import SPLITS

INDEX = "index.parquet"
HEADER = "tileset.json"
_FORMAT = 1
_COLUMNS = ("tile", "image", "labels", "scene", "row", "col", "height", "width", "split", "valid_share", "weight")


@dataclass(frozen=True)
class Tile:
    """One training sample.

    Args:
        name: Unique in its tile set.
        image: GeoTIFF with the scene's bands and dtype.
        labels: GeoTIFF with class ids, 255 = ignore.
        split: ``train``, ``val`` or ``test``.
        weight: How often it is drawn in training, relative to the others.
        pixels: Labelled pixels of each class.
    """

    name: str
    image: Path
    labels: Path
    split: str
    weight: float
    pixels: tuple[int, ...]

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the sample.

        Returns:
            Raw values (band, row, col) in the scene's dtype with invalid pixels set to 0; labels (row, col) uint8,
            255 where unlabelled or invalid; valid (row, col) bool.

        Raises:
            TileError: A file is missing or damaged.
        """
        try:
            with Scene.open(self.image, expand_palette=False) as scene:
                window = Window(0, 0, scene.info.width, scene.info.height)
                bands, valid = scene.read(window)
            with rasterio.open(self.labels) as dataset:
                labels = dataset.read(1)
        except (SatsegError, RasterioError) as error:
            raise TileError(f"Tile {self.name} cannot be read: {one_line(error)}.") from error
        if labels.shape != valid.shape:
            raise TileError(f"Tile {self.name}: image {valid.shape} and labels {labels.shape} differ in size.")
        if not valid.all():
            bands = np.where(valid, bands, bands.dtype.type(0))
            labels = np.where(valid, labels, np.uint8(IGNORE_INDEX))
        return bands, labels, valid


@dataclass(frozen=True)
class TileSet:
    """A tile set that has been opened.

    Args:
        path: Its folder.
        classes: Class table of the labels.
        bands: What the values of the images mean.
        statistics: Of the training tiles, over valid pixels.
        gsd: Ground metres per pixel along x and y, or None without a CRS.
        tile_size: Side of a tile in pixels; a tile is smaller only where its block is.
        index: One row per tile, as the user may have edited it.
    """

    path: Path
    classes: ClassTable
    bands: BandSpec
    statistics: BandStatistics
    gsd: tuple[float, float] | None
    tile_size: int
    index: geopandas.GeoDataFrame

    @classmethod
    def open(cls, path: str | Path) -> TileSet:
        """Open the tile set in a folder.

        Raises:
            TileError: There is none, it is unfinished, or its index lacks columns.
        """
        folder = Path(path)
        if not (folder / INDEX).is_file():
            raise TileError(
                f"{folder} holds no tile set (there is no {INDEX} in it).",
                hint="Make one: satseg tile SCENE --labels LABELS -o TILES",
            )
        try:
            header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
            index = geopandas.read_parquet(folder / INDEX)
            tile_set = cls._from_parts(folder, header, index)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TileError(f"The tile set {folder} cannot be read: {one_line(error)}.") from error
        missing = [column for column in _COLUMNS if column not in index]
        if missing:
            raise TileError(f"The index {folder / INDEX} lacks the column {missing[0]!r}.")
        return tile_set

    @classmethod
    def _from_parts(cls, folder: Path, header: Mapping[str, Any], index: geopandas.GeoDataFrame) -> TileSet:
        return cls(
            path=folder,
            classes=ClassTable.from_dict(header["classes"]),
            bands=BandSpec.from_dict(header["bands"]),
            statistics=BandStatistics.from_dict(header["statistics"]),
            gsd=tuple(header["gsd"]) if header["gsd"] else None,
            tile_size=int(header["tile_size"]),
            index=index,
        )

    def tiles(self, split: str) -> list[Tile]:
        """Return the tiles of a split, in the order of the index.

        Raises:
            TileError: No such split.
        """
        if split not in SPLITS:
            raise TileError(f"There is no split {split!r}; tile sets have {', '.join(SPLITS)}.")
        rows = self.index[self.index["split"] == split].to_dict("records")
        return [self._tile(row) for row in rows]

    def _tile(self, row: Mapping[str, Any]) -> Tile:
        return Tile(
            name=row["tile"],
            image=self.path / row["image"],
            labels=self.path / row["labels"],
            split=row["split"],
            weight=float(row["weight"]),
            pixels=tuple(int(row[pixels_column(name)]) for name in self.classes.names),
        )

    def pixels(self) -> dict[str, dict[str, int]]:
        """Count labelled pixels by split and class name."""
        return {
            split: {name: int(rows[pixels_column(name)].sum()) for name in self.classes.names}
            for split in SPLITS
            for rows in [self.index[self.index["split"] == split]]
        }


def pixels_column(name: str) -> str:
    """Return the index column that counts the pixels of a class."""
    return f"pixels_{name}"


def write_header(folder: Path, tile_set: TileSet, provenance: Mapping[str, Any]) -> None:
    """Write all of a tile set's description but its index.

    Args:
        folder: Folder of the tile set.
        tile_set: What is described.
        provenance: Where it comes from, ready for JSON.
    """
    header = {
        "format": _FORMAT,
        "classes": tile_set.classes.to_dict(),
        "bands": asdict(tile_set.bands),
        "statistics": asdict(tile_set.statistics),
        "gsd": tile_set.gsd,
        "tile_size": tile_set.tile_size,
        **provenance,
    }
    (folder / HEADER).write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def make_index(rows: Sequence[Mapping[str, Any]], crs: str | None) -> geopandas.GeoDataFrame:
    """Make an index of rows that have the index columns, one ``pixels_*`` per class, and ``geometry``."""
    return geopandas.GeoDataFrame(list(rows), geometry="geometry", crs=crs)
