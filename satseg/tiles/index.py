"""The index of a tile set: read it as edited by the user, check it row by row, and locate its tiles."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import shapely
from rasterio.errors import RasterioError

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import SatsegError, TileError, one_line
from satseg.files import parquet
from satseg.files.names import open_raster
from satseg.geo.crs import is_geographic, same_crs
from satseg.raster.scene import Scene
from satseg.records import BandSpec
from satseg.tiles.extents import Extents
from satseg.tiles.globe import GLOBE, in_degrees
from satseg.tiles.splits import SPLITS

log = logging.getLogger("satseg")

_TEXTS = ("tile", "image", "labels")
_WINDOW = ["row", "col", "height", "width"]
_COLUMNS = (*_TEXTS, "scene", *_WINDOW, "split", "valid_share", "weight")


def pixels_column(name: str) -> str:
    """Return the index column that counts the pixels of a class."""
    return f"pixels_{name}"


def read_table(path: Path) -> geopandas.GeoDataFrame:
    """Read an index as it is. A plain Parquet table without geometries is accepted with a warning.

    Raises:
        ValueError: It is no Parquet file.
        OSError: It cannot be read.
    """
    stored, plain = parquet.read_table(path), {"use_threads": False}
    try:
        return geopandas.GeoDataFrame.from_arrow(stored, to_pandas_kwargs=plain).reset_index(drop=True)
    except ValueError:
        table = stored.to_pandas(**plain).reset_index(drop=True)
    log.warning("%s has no geometries, so overlaps between tiles of different scenes cannot be detected.", path)
    return geopandas.GeoDataFrame(table.drop(columns="geometry", errors="ignore"), geometry=[None] * len(table))


@dataclass(frozen=True)
class IndexReader:
    """Read the index of a tile set that its user may have edited with QGIS or any other program.

    Columns may be in any order and have any type that holds their values. Empty cells in rows that the user added are
    filled: weight with 1, size and pixel counts from the files of the tile, and scene and block with unique ones.

    Args:
        path: The index.
        classes: Classes that are counted.
        bands: What images must hold.
        tile_size: Rows and columns of a tile at most.
    """

    path: Path
    classes: ClassTable
    bands: BandSpec
    tile_size: int

    def read(self, known: Sequence[str]) -> geopandas.GeoDataFrame:
        """Read and check it.

        Args:
            known: Names of the tiles that satseg cut; only the files of other tiles are checked.

        Raises:
            TileError: A column is missing, or an entry is not valid.
            ValueError: It is no Parquet file.
        """
        index = read_table(self.path)
        self._check_columns(index)
        self._check_names(index)
        self._warn_of_others(index)
        used = index["split"].isin(SPLITS).to_numpy()
        for column in (*_WINDOW, *self._pixels):
            index[column] = self._numbers(index, column, whole=True)
        index["weight"] = self._numbers(index, "weight").fillna(1.0)
        self._place(index)
        self._complete(index, used)
        self._look_at(index[used & ~index["tile"].isin(known).to_numpy()])
        return index.astype(dict.fromkeys((*_WINDOW, *self._pixels), np.int64))

    @property
    def _pixels(self) -> list[str]:
        return [pixels_column(name) for name in self.classes.names]

    def _check_columns(self, index: geopandas.GeoDataFrame) -> None:
        missing = [column for column in (*_COLUMNS, *self._pixels) if column not in index]
        if missing:
            raise TileError(f"The index {self.path} lacks the column {missing[0]!r}.")

    def _check_names(self, index: geopandas.GeoDataFrame) -> None:
        for column in _TEXTS:
            for number, value in enumerate(index[column], start=1):
                if not isinstance(value, str) or not value:
                    raise TileError(f"Row {number} of the index {self.path} has no {column}, but {value!r}.")
        twice = index["tile"][index["tile"].duplicated()]
        if len(twice):
            raise TileError(f"The tile {twice.iloc[0]} is listed twice in the index {self.path}.")

    def _warn_of_others(self, index: geopandas.GeoDataFrame) -> None:
        others = index["split"][~index["split"].isin(SPLITS)]
        if len(others):
            log.warning(
                "%s: ignoring %d tiles whose split is not one of %s, but %s.",
                self.path,
                len(others),
                ", ".join(SPLITS),
                ", ".join(sorted(map(repr, others.unique()))[:5]),
            )

    def _numbers(self, index: geopandas.GeoDataFrame, column: str, *, whole: bool = False) -> pandas.Series:
        """Return a column as float64, NaN where it was left empty."""
        entries = index[column]
        numbers = pandas.to_numeric(entries, errors="coerce").astype(float)
        wrong = (entries.notna() & (entries != "") & numbers.isna()) | (numbers < 0) | np.isinf(numbers)
        if whole:
            wrong |= numbers.notna() & (numbers % 1 != 0)
        if wrong.any():
            kind = "a whole number" if whole else "a number"
            raise TileError(
                f"The {column} of the tile {index['tile'][wrong].iloc[0]} in {self.path} is not {kind} of 0 or more, "
                f"but {entries[wrong].tolist()[0]!r}."
            )
        return numbers

    def _place(self, index: geopandas.GeoDataFrame) -> None:
        """Give tiles without a scene, row or column a scene and a block of their own."""
        alone = index[["scene", "row", "col"]].isna().any(axis=1)
        index["scene"] = index["scene"].astype(object).where(~alone, index["image"])
        index.loc[alone, ["row", "col"]] = 0
        if "block" in index:
            blocks = pandas.to_numeric(index["block"], errors="coerce")
            own = pandas.Series(-1 - np.arange(len(index)), index=index.index)
            index["block"] = blocks.fillna(own).astype(np.int64)

    def _complete(self, index: geopandas.GeoDataFrame, used: np.ndarray) -> None:
        """Fill empty sizes and pixel counts from the files."""
        columns = ["height", "width", *self._pixels]
        empty = index[columns].isna().any(axis=1).to_numpy()
        for number in np.flatnonzero(empty & used):
            found = self._count(index.iloc[number])
            index.loc[number, columns] = index.loc[number, columns].fillna(pandas.Series(found, index=columns))
        index[columns] = index[columns].fillna(0)

    def _count(self, row: pandas.Series) -> list[int]:
        """Return rows, columns, and pixels of each class of the labels of a tile."""
        try:
            with open_raster(self.path.parent / row["labels"]) as dataset:
                labels = dataset.read(1)
        except RasterioError as error:
            raise TileError(f"Tile {row['tile']} cannot be read: {one_line(error)}.") from error
        ids, counts = np.unique(labels, return_counts=True)
        strange = [value for value in ids.tolist() if not 0 <= value < len(self.classes) and value != IGNORE_INDEX]
        if strange:
            raise TileError(
                f"The labels of the tile {row['tile']} in {self.path} hold {strange[0]}; class ids end at "
                f"{len(self.classes) - 1}."
            )
        by_id = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        return [*labels.shape, *(by_id.get(entry.id, 0) for entry in self.classes)]

    def _look_at(self, added: geopandas.GeoDataFrame) -> None:
        """Refuse tiles added by the user whose bands or size do not match the tile set."""
        for row in added.to_dict("records"):
            try:
                with Scene.open(self.path.parent / row["image"], expand_palette=False) as scene:
                    info = scene.info
            except SatsegError:
                continue  # reported when the tile is read, with all others that cannot be
            self._check_fits(row, info.bands, (info.height, info.width))

    def _check_fits(self, row: dict[str, Any], bands: BandSpec, shape: tuple[int, int]) -> None:
        where = f"The image of the tile {row['tile']} in {self.path}"
        if (len(bands), bands.dtype) != (len(self.bands), self.bands.dtype):
            raise TileError(
                f"{where} holds {len(bands)} bands of {bands.dtype}, not {len(self.bands)} of {self.bands.dtype}.",
                hint="Cut it with satseg tile, adding to the tile set by `append=True`, or delete its row.",
            )
        if max(shape) > self.tile_size:
            raise TileError(
                f"{where} is {shape[1]} x {shape[0]} px; tiles of this set have {self.tile_size} px a side at most."
            )


def extents_of(index: geopandas.GeoDataFrame) -> Extents:
    """Return the windows and footprints of the tiles of an index."""
    windows = index[_WINDOW].to_numpy(dtype=np.int64)
    scenes = index["scene"].to_numpy(dtype=object)
    if index.crs is None:
        return Extents(scenes, windows, np.full(len(index), None, dtype=object), geographic=False)
    crs = index.crs.to_wkt()
    geometry = index.geometry.to_crs(GLOBE) if is_geographic(crs) and not in_degrees(crs) else index.geometry
    return Extents(scenes, windows, shapely.force_2d(geometry.to_numpy()), is_geographic(crs))


def brought_to(index: geopandas.GeoDataFrame, crs: str | None) -> geopandas.GeoDataFrame:
    """Return an index with its footprints in another CRS; footprints without a CRS become None."""
    if crs is None or (index.crs is not None and same_crs(index.crs.to_wkt(), crs)):
        return index
    if index.crs is not None:
        return index.to_crs(crs)
    nowhere: geopandas.GeoDataFrame = index.set_geometry(geopandas.GeoSeries([None] * len(index), index.index, crs=crs))
    return nowhere
