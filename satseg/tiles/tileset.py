"""The tile set on disk: ``images/``, ``labels/``, ``tileset.json``, the index and the moments of the tiles.

The index, a GeoParquet table with one row per tile, is the user's: rows may be deleted, moved to another split, or
given another weight, with QGIS or any other program. Everything downstream follows it, including the statistics of the
bands, which are merged from the moments of the tiles currently in train.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rasterio.windows import Window

from satseg.classes import ClassTable
from satseg.errors import SatsegError, TileError, one_line
from satseg.files import parquet
from satseg.presence import HEADER, INDEX, require_tiles
from satseg.raster.bands import Moments, merge_moments
from satseg.raster.scene import Scene
from satseg.records import BandSpec, BandStatistics, SceneInfo
from satseg.tiles.extents import footprints_of, lie_somewhere, overlapped
from satseg.tiles.index import IndexReader, extents_of, pixels_column
from satseg.tiles.splits import SPLITS
from satseg.tiles.tile import Tile

log = logging.getLogger("satseg")

MOMENTS = "moments.parquet"
FOLDERS = ("images", "labels", "objects")  # of tiles; the last one only where objects are kept
_FORMAT = 2
_BATCH = 4096
_MOMENTS = ("count", "mean", "squares", "minimum", "maximum")
_MOMENT_SCHEMA = pa.schema(
    [("tile", pa.string()), ("count", pa.int64()), *((name, pa.list_(pa.float64())) for name in _MOMENTS[1:])]
)


@dataclass(frozen=True)
class TileSet:
    """A tile set that has been opened.

    Args:
        path: Its folder.
        classes: Class table of the labels.
        bands: What the values of the images mean.
        gsd: Ground metres per pixel along x and y, or None without a CRS.
        tile_size: Side of a tile in pixels; a tile is smaller only where its block is.
        index: One row per tile, as the user may have edited it.
        objects: Instance ids that were taken each time that tiles were added; None if objects are not kept.
    """

    path: Path
    classes: ClassTable
    bands: BandSpec
    gsd: tuple[float, float] | None
    tile_size: int
    index: geopandas.GeoDataFrame
    objects: tuple[int, ...] | None = None

    @classmethod
    def open(cls, path: str | Path) -> TileSet:
        """Open the tile set in a folder.

        Raises:
            TileError: There is none, it is unfinished, or its index is not valid.
        """
        folder = Path(path)
        require_tiles(folder)
        try:
            tile_set = cls._read(folder)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise TileError(f"The tile set {folder} cannot be read: {one_line(error)}.") from error
        leaks = tile_set.leaks()
        if leaks:
            log.warning(
                "%s: %d tiles overlap tiles of another split, such as %s and %s, so scores will be too optimistic.",
                folder,
                len(leaks),
                *next(iter(leaks.items())),
            )
        return tile_set

    @classmethod
    def _read(cls, folder: Path) -> TileSet:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        classes, bands = ClassTable.from_dict(header["classes"]), BandSpec.from_dict(header["bands"])
        tile_size = int(header["tile_size"])
        return cls(
            path=folder,
            classes=classes,
            bands=bands,
            gsd=tuple(header["gsd"]) if header["gsd"] else None,
            tile_size=tile_size,
            index=IndexReader(folder / INDEX, classes, bands, tile_size).read(measured_tiles(folder)),
            objects=tuple(map(int, header["objects"])) if "objects" in header else None,
        )

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """Inputs and settings its tiles were made with, one entry for each time that tiles were added."""
        return list(json.loads((self.path / HEADER).read_text(encoding="utf-8")).get("provenance", []))

    @property
    def contents(self) -> dict[str, str]:
        """Path of each scene by the hash of its content."""
        return dict(json.loads((self.path / HEADER).read_text(encoding="utf-8")).get("contents", {}))

    @cached_property
    def statistics(self) -> BandStatistics:
        """Statistics of the raw values over the valid pixels of the tiles that are in train, with a weight above 0.

        Raises:
            TileError: There is no such tile.
        """
        return _statistics(self.path, self.index)

    def tiles(self, split: str) -> list[Tile]:
        """Return the tiles of a split, in the order of the index.

        Raises:
            TileError: No such split.
        """
        if split not in SPLITS:
            raise TileError(f"There is no split {split!r}; tile sets have {', '.join(SPLITS)}.")
        rows = self.index[self.index["split"] == split].to_dict("records")
        return [self.tile(row) for row in rows]

    def tile(self, row: Mapping[str, Any]) -> Tile:
        """Return the tile of a row of the index."""
        return Tile(
            name=row["tile"],
            image=self.path / row["image"],
            labels=self.path / row["labels"],
            split=row["split"],
            weight=float(row["weight"]),
            pixels=tuple(int(row[pixels_column(name)]) for name in self.classes.names),
            bands=self.bands,
            objects=self.path / row["objects"] if isinstance(row.get("objects"), str) else None,
        )

    def leaks(self) -> dict[str, str]:
        """Return the tiles that share pixels or ground with a tile of another split, and one such tile for each.

        Of two tiles, the key is the one in train, or else the one in val. Tiles without a CRS are compared by their
        pixels.
        """
        parts = [self.index[self.index["split"] == split] for split in SPLITS]
        found: dict[str, str] = {}
        for number, mine in enumerate(parts[:-1]):
            others = pandas.concat(parts[number + 1 :])
            partner = overlapped(extents_of(mine), extents_of(others))
            names = others["tile"].to_numpy()
            found |= {tile: names[at] for tile, at in zip(mine["tile"], partner.tolist(), strict=True) if at >= 0}
        return self._copies() | found

    def _copies(self) -> dict[str, str]:
        """Return the tiles without a CRS whose pixels equal those of a tile of another split, and that tile."""
        if not self.unplaced:
            return {}
        used = self.index[self.index["split"].isin(SPLITS)]
        moments = read_moments(self.path, used["tile"].tolist())
        alike: dict[bytes, list[Tile]] = {}
        for row in used.to_dict("records"):
            piece = moments.get(row["tile"]) or (_measured(self.path / row["image"]) if moments else None)
            if piece is not None and piece.squares.any():  # constant tiles are equal anywhere
                alike.setdefault(piece.key, []).append(self.tile(row))
        groups = [tiles for tiles in alike.values() if len({tile.split for tile in tiles}) > 1]
        return {one.name: other.name for tiles in groups for one, other in copies(tiles)}

    @property
    def unplaced(self) -> int:
        """Number of scenes without a CRS, which cannot be compared with others; 0 if there is only one scene."""
        scenes = self.index["scene"]
        return int(scenes[~lie_somewhere(extents_of(self.index).footprints)].nunique()) if scenes.nunique() > 1 else 0

    def pixels(self) -> dict[str, dict[str, int]]:
        """Count labelled pixels by split and class name."""
        return {
            split: {name: int(rows[pixels_column(name)].sum()) for name in self.classes.names}
            for split in SPLITS
            for rows in [self.index[self.index["split"] == split]]
        }


def write_header(
    folder: Path, tile_set: TileSet, provenance: Sequence[Mapping[str, Any]], contents: Mapping[str, str]
) -> None:
    """Write the header of a tile set.

    Args:
        folder: Folder of the tile set.
        tile_set: What is described.
        provenance: Inputs and settings, ready for JSON; one entry for each time that tiles were added.
        contents: Path of each scene by the hash of its content.
    """
    header = {
        "format": _FORMAT,
        "classes": tile_set.classes.to_dict(),
        "bands": tile_set.bands.to_dict(),
        "gsd": tile_set.gsd,
        "tile_size": tile_set.tile_size,
        **({} if tile_set.objects is None else {"objects": tile_set.objects}),
        "provenance": list(provenance),
        "contents": dict(contents),
    }
    text = json.dumps(header, indent=2, ensure_ascii=False) + "\n"
    (folder / HEADER).write_bytes(text.encode("utf-8", "backslashreplace"))  # names of files need not be UTF-8


def make_index(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    infos: Sequence[SceneInfo],
    *,
    crs: str | None,
    before: TileSet | None = None,
) -> geopandas.GeoDataFrame:
    """Write the moments of tiles, and make the index of their rows.

    Args:
        folder: Where to write the moments.
        rows: One per tile: the columns of the index, and ``moments``.
        infos: The scenes.
        crs: CRS of the footprints.
        before: Tile set that is added to, whose moments come first; those of tiles missing from its index are dropped,
            as an interrupted run may leave them.
    """
    parts = []
    with (folder / MOMENTS).open("wb") as file, pq.ParquetWriter(file, _MOMENT_SCHEMA) as writer:
        if before is not None and (before.path / MOMENTS).is_file():
            there = _read_moments(before.path)
            indexed = pc.is_in(there["tile"], pa.array(before.index["tile"].tolist(), pa.string()))
            writer.write_table(there.filter(indexed).combine_chunks())
        for part in batched(rows, _BATCH):
            moments = [row.pop("moments") for row in part]
            columns = [[row["tile"] for row in part], *(list(column) for column in zip(*moments, strict=True))]
            writer.write_table(pa.table(columns, schema=_MOMENT_SCHEMA))
            parts.append(pandas.DataFrame(part))
    table = pandas.concat(parts, ignore_index=True)
    windows = table[["row", "col", "height", "width"]].to_numpy(dtype=np.int64)
    footprints = footprints_of(infos, table["scene"].to_numpy(dtype=object), windows, crs)
    return geopandas.GeoDataFrame(table, geometry=footprints, crs=crs)


def measured_tiles(folder: Path) -> list[str]:
    """Return the names of the tiles that satseg cut, whose moments are on file."""
    if not (folder / MOMENTS).is_file():
        return []
    return list(_read_moments(folder, ["tile"])["tile"].to_pylist())


def _read_moments(folder: Path, columns: list[str] | None = None) -> pa.Table:
    return parquet.read_table(folder / MOMENTS, columns)


def read_moments(folder: Path, names: Sequence[str]) -> dict[str, Moments]:
    """Return the moments of the tiles of these names, as far as they are on file."""
    if not (folder / MOMENTS).is_file():
        return {}
    table = _read_moments(folder)
    table = table.filter(pc.is_in(table["tile"], pa.array(list(names), pa.string())))
    count, *parts = (table[name].to_pylist() for name in _MOMENTS)
    rows = zip(table["tile"].to_pylist(), count, *parts, strict=True)
    return {name: Moments(n, *map(np.array, values)) for name, n, *values in rows}


def copies(tiles: Sequence[Tile]) -> Iterator[tuple[Tile, Tile]]:
    """Yield the tiles whose pixels equal those of a tile of a later split, and that tile."""
    ranked = sorted(tiles, key=lambda tile: SPLITS.index(tile.split))
    for number, one in enumerate(ranked):
        for other in ranked[number + 1 :]:
            if other.split != one.split and one.shows(other):
                yield one, other
                break


def batched(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows in lists of ``size``, the last one shorter; Python 3.11 has no ``itertools.batched``."""
    waiting = iter(rows)
    while part := list(islice(waiting, size)):
        yield part


def _statistics(folder: Path, index: geopandas.GeoDataFrame) -> BandStatistics:
    """Merge the moments of the training tiles; those of tiles added by the user are computed from their images."""
    train = index[(index["split"] == "train") & (index["weight"] > 0)]
    known = read_moments(folder, train["tile"].tolist())
    pieces = []
    for name, image in zip(train["tile"], train["image"], strict=True):
        piece = known.get(name)
        if piece is None or not piece.measured:  # added by the user; or measured when odd values still counted
            piece = _measure(folder / image)
        pieces += [piece] if piece is not None else []
    if not pieces:
        raise TileError(
            f"The tile set {folder} has no tile to train on: its split train is empty.",
            hint="Check the columns split and weight of its index, or tile again.",
        )
    return merge_moments(pieces)


def _measured(image: Path) -> Moments | None:
    """Return the moments of an image, None where it cannot be read."""
    try:
        return _measure(image)
    except SatsegError:
        return None


def _measure(image: Path) -> Moments | None:
    with Scene.open(image, expand_palette=False) as scene:
        return Moments.of(*scene.read(Window(0, 0, scene.info.width, scene.info.height)))
