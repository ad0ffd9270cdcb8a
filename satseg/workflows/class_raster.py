"""Rasters of classes, of ids or of probabilities, read strip by strip as a polygon sink takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import rasterio
from rasterio.windows import Window

from satseg.classes import BACKGROUND, IGNORE_INDEX, MAX_CLASSES, ClassTable, MapClass
from satseg.errors import SceneError, UsageError
from satseg.geo.grid import Grid, same_grid
from satseg.prefetch import read_ahead
from satseg.raster.names import open_raster
from satseg.raster.scene import Scene
from satseg.raster.windows import strips
from satseg.raster.writer import read_class_table
from satseg.records import CERTAIN, Rows, SceneInfo

_STRIP_PIXELS = 2**22
_LARGEST_ID = 2**31 - 1


class ClassRaster:
    """A raster to make polygons of. Use it as a context manager.

    Args:
        path: One band of integers from 0 on. Nodata, and 255 in a raster of 8 bits, become nothing.
        band: Band of a raster with several, from 1.
        threshold: Makes two classes of any real values: one where they are at least that, named like the band, and
            background. Where the band has a scale or an offset, as satseg's shares of 8 bits have, values are those
            after them.
        confidence: Raster of the same size: probabilities in 0..1, or uint8 shares of 254 as satseg writes them.

    Raises:
        SceneError: A raster cannot be opened, holds no classes or confidence, or both do not fit.
        UsageError: It has no such band.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        band: int | None = None,
        threshold: float | None = None,
        confidence: str | Path | None = None,
    ) -> None:
        self._files = ExitStack()
        self._threshold = threshold
        self._scene = self._files.enter_context(Scene.open(path, bands=_one_band(path, band), expand_palette=False))
        try:
            self.info: SceneInfo = replace(self._scene.info, path=str(path))
            _check(self.info, threshold)
            self.classes, self.told = _class_table(self._scene, band or 1, threshold)
            """Classes, None where values are ids of their own, and whether the raster told their names."""
            self.confidence = None if confidence is None else self._files.enter_context(Scene.open(confidence))
            """Confidence of the pixels, or None."""
            if self.confidence is not None:
                _check_confidence(self.confidence.info, self.info)
        except BaseException:
            self._files.close()
            raise

    def rows(self) -> Iterator[Rows]:
        """Yield the rows from the top, each strip read while the one before is used.

        Raises:
            SceneError: The file is damaged, or holds a value that is no class.
        """
        with closing(read_ahead(self._read, _strips(self._scene), workers=1, ahead=1)) as found:
            yield from found

    def _read(self, window: Window) -> Rows:
        """Return the rows of a window: uint8 classes, or int32 ids without a class table."""
        bands, valid = self._scene.read(window)
        values, top = bands[0], int(window.row_off)
        confidence = None if self.confidence is None else _read_confidence(self.confidence, window)
        if self._threshold is not None:
            (scale,), (offset,) = self.info.bands.scales, self.info.bands.offsets
            reached = values * scale + offset >= self._threshold
            classes = np.where(valid, reached, IGNORE_INDEX).astype(np.uint8)
            return Rows(top, classes, confidence)
        if self.classes is None:
            wrong, limit, void = valid & ((values < 0) | (values > _LARGEST_ID)), _LARGEST_ID, -1
        else:
            limit, void = len(self.classes) - 1, IGNORE_INDEX
            wrong = valid & ((values < 0) | (values > limit)) & (values != IGNORE_INDEX)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise SceneError(
                f"{self.info.path} holds the value {values[row, column]} at row {top + row}, column {column}; "
                f"its classes are 0..{limit}.",
                hint="If that is nodata, say so in the file: gdal_edit -a_nodata ...",
            )
        rows = values.astype(np.int32 if self.classes is None else np.uint8)
        rows[~valid] = void
        return Rows(top, rows, confidence)

    def __enter__(self) -> ClassRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


def _one_band(raster: str | Path, band: int | None) -> list[str] | None:
    """Return the choice of one band of a raster; None is no choice.

    Raises:
        UsageError: It has no such band.
    """
    if band is None:
        return None
    with Scene.open(raster, expand_palette=False) as scene:
        count = len(scene.info.bands)
    if not 1 <= band <= count:
        raise UsageError(f"{raster} has no band {band}; its bands are 1 to {count}.")
    return [str(band)]


def _check(info: SceneInfo, threshold: float | None) -> None:
    if len(info.bands) != 1:
        raise SceneError(
            f"{info.path} has {len(info.bands)} bands; a class raster has one.", hint="Choose one with --band."
        )
    if threshold is None and np.dtype(info.bands.dtype).kind not in "iu":
        raise SceneError(
            f"{info.path} holds {info.bands.dtype} values; a class raster holds integers.",
            hint="If they are probabilities, give --threshold.",
        )
    if threshold is None and (info.bands.scales, info.bands.offsets) != ((1.0,), (0.0,)):
        raise SceneError(
            f"{info.path} holds values with a scale or an offset; a class raster holds plain integers.",
            hint="If they are probabilities, give --threshold; as confidence of another raster, --confidence.",
        )


def _check_confidence(confidence: SceneInfo, classes: SceneInfo) -> None:
    if (confidence.width, confidence.height) != (classes.width, classes.height):
        raise SceneError(
            f"{confidence.path} has {confidence.width} x {confidence.height} pixels, but {classes.path} has "
            f"{classes.width} x {classes.height}."
        )
    grids = Grid.of_scene(confidence), Grid.of_scene(classes)
    if all(grid.placed for grid in grids) and not same_grid(*grids):
        raise SceneError(
            f"{confidence.path} and {classes.path} have as many pixels, but do not lie in one place "
            f"({confidence.crs or 'no CRS'} and {classes.crs or 'no CRS'}).",
            hint="Give the confidence that was made with these classes.",
        )
    if len(confidence.bands) != 1 or (confidence.bands.dtype != "uint8" and "float" not in confidence.bands.dtype):
        raise SceneError(
            f"{confidence.path} is no confidence: it has {len(confidence.bands)} bands of {confidence.bands.dtype}.",
            hint="Give one band of probabilities in 0..1, or of uint8 with 254 for certain.",
        )


def _read_confidence(scene: Scene, window: Window) -> np.ndarray:
    """Return (H, W) uint8 shares of 254, 255 where there is none."""
    bands, valid = scene.read(window)
    shares = bands[0] if bands.dtype == np.uint8 else np.rint(np.where(valid, bands[0], 0).clip(0, 1) * CERTAIN)
    return np.where(valid, shares, IGNORE_INDEX).astype(np.uint8)


def _class_table(scene: Scene, band: int, threshold: float | None) -> tuple[ClassTable | None, bool]:
    """Return the classes of a raster, None where values are ids of their own, and whether the raster told them."""
    if threshold is not None:
        (name,) = scene.info.bands.names
        return ClassTable.from_names([BACKGROUND, _class_name(name)]), True
    with open_raster(scene.info.path) as dataset:
        table = read_class_table(dataset)
        if table is not None:
            return table, True
        if np.dtype(scene.info.bands.dtype).itemsize > 1:
            return None, True
        table = ClassTable.from_names(f"class {i}" for i in range(MAX_CLASSES))
        if dataset.colorinterp[band - 1] != rasterio.enums.ColorInterp.palette:
            return table, False
        colours = dataset.colormap(band)
    entries = tuple(
        MapClass(entry.id, entry.name, "#{:02x}{:02x}{:02x}".format(*colours[entry.id][:3]))
        if entry.id in colours
        else entry
        for entry in table
    )
    return ClassTable(entries), False


def _class_name(band: str) -> str:
    """Return what the pixels are that reach a threshold."""
    return "class 1" if band == BACKGROUND or re.fullmatch(r"band_\d+", band) else band


def _strips(scene: Scene) -> list[Window]:
    """Cut the raster along its blocks into strips of some million pixels."""
    info = scene.info
    block = min(scene.block_shape[0], info.height)
    rows = max(1, _STRIP_PIXELS // (info.width * block)) * block
    if rows * info.width > 16 * _STRIP_PIXELS:  # blocks as high as the raster
        rows = max(1, _STRIP_PIXELS // info.width)
    return strips(info.height, info.width, rows)
