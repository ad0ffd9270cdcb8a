"""The class raster: rows come in from the top, a cloud-optimised GeoTIFF with colours and names comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import OutputError, UsageError, one_line
from satseg.records import Rows, SceneInfo

CLASSES_TAG = "SATSEG_CLASSES"
_STRIP_ROWS = 64  # small, since a strip is buffered until it is full
_COG_BLOCK = 512


class ClassRasterWriter:
    """Write a class map strip by strip.

    Rows go to a plain GeoTIFF first; :meth:`finish` copies it into a cloud-optimised one (blocks of 512, overviews by
    mode, colour table, class names), since that layout needs all rows before its first byte.

    Args:
        path: GeoTIFF to write rows to; replaced if it exists.
        scene: Grid of the map.
        classes: Names and colours; they are stored as tags and as the colour table.
        tags: Where the map comes from, by tag name.
    """

    def __init__(self, path: Path, scene: SceneInfo, classes: ClassTable, tags: Mapping[str, str]) -> None:
        self.path = path
        self._width = scene.width
        self._pending = np.empty((0, scene.width), dtype=np.uint8)
        self._row = 0
        try:
            self._dataset = rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=scene.width,
                height=scene.height,
                count=1,
                dtype="uint8",
                nodata=IGNORE_INDEX,
                crs=scene.crs,
                transform=scene.transform,
                tiled=True,
                blockxsize=_COG_BLOCK,
                blockysize=_STRIP_ROWS,
                compress="deflate",
                zlevel=1,
                bigtiff="if_safer",
            )
        except RasterioError as error:
            raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error
        self._dataset.write_colormap(1, _colour_map(classes))
        self._dataset.update_tags(**tags, **{CLASSES_TAG: json.dumps(classes.to_dict(), ensure_ascii=False)})
        self._dataset.update_tags(1, **{f"CLASS_{entry.id}": entry.name for entry in classes})
        self._dataset.set_band_description(1, "class")

    def write(self, rows: Rows) -> None:
        """Take the next rows; they must follow on those written before."""
        assert rows.offset == self._row + len(self._pending), "rows must come in order"
        classes = rows.classes
        # Whole blocks only: a block written twice would leave its first version in the file.
        missing = _STRIP_ROWS - len(self._pending) if len(self._pending) else 0
        self._pending = np.concatenate([self._pending, classes[:missing]])
        if len(self._pending) == _STRIP_ROWS:
            self._flush(self._pending)
            self._pending = self._pending[:0]
        classes = classes[missing:]
        whole = len(classes) // _STRIP_ROWS * _STRIP_ROWS
        self._flush(classes[:whole])
        if len(classes) > whole:
            self._pending = classes[whole:].copy()

    def finish(self, cog: Path) -> None:
        """Write what is pending and copy the map to a cloud-optimised GeoTIFF.

        Raises:
            OutputError: The file cannot be written (disk full, no permission).
        """
        self._flush(self._pending)
        self.close()
        try:
            rasterio.shutil.copy(
                str(self.path),
                str(cog),
                driver="COG",
                compress="deflate",
                blocksize=_COG_BLOCK,
                overview_resampling="mode",
                bigtiff="if_safer",
            )
        except RasterioError as error:
            raise OutputError(f"Cannot write {cog}: {one_line(error)}.") from error

    def close(self) -> None:
        """Close the work file as it is."""
        try:
            self._dataset.close()
        except RasterioError as error:
            raise OutputError(f"Cannot write {self.path}: {one_line(error)}.") from error

    def _flush(self, classes: np.ndarray) -> None:
        if not len(classes):
            return
        window = Window(0, self._row, self._width, len(classes))
        try:
            self._dataset.write(classes, 1, window=window)
        except RasterioError as error:
            raise OutputError(f"Cannot write {self.path}: {one_line(error)}.") from error
        self._row += len(classes)

    def __enter__(self) -> ClassRasterWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_class_table(dataset: Any) -> ClassTable | None:
    """Return the class table that satseg stored in a raster, or None where there is none.

    Args:
        dataset: An open rasterio dataset.
    """
    stored = dataset.tags().get(CLASSES_TAG)
    if stored is None:
        return None
    try:
        return ClassTable.from_dict(json.loads(stored))
    except (UsageError, ValueError):
        return None


def _colour_map(classes: ClassTable) -> dict[int, tuple[int, int, int, int]]:
    return {entry.id: (*entry.rgb, 255) for entry in classes} | {IGNORE_INDEX: (0, 0, 0, 0)}
