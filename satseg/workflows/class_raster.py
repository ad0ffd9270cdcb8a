"""Rasters of classes, of ids or of probabilities, read strip by strip as a polygon sink takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

import numpy as np
from rasterio.windows import Window

from satseg.classes import BACKGROUND, IGNORE_INDEX, ClassTable
from satseg.errors import SceneError
from satseg.geo.crs import short_name
from satseg.geo.grid import Grid, same_grid
from satseg.labels.class_bands import ClassBands, require_band, strips_of
from satseg.labels.class_values import Translation
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.records import CERTAIN, Rows, SceneInfo
from satseg.workflows.map_classes import MapClasses

_LARGEST_ID = 2**31 - 1


class ClassRaster:
    """A raster to make polygons of. Use it as a context manager.

    Args:
        path: One of the rasters of ``classes``.
        classes: What its values mean; None where there is a threshold.
        band: Band of a raster with several, from 1.
        threshold: Makes two classes of any real values: one where they are at least that, named like the band, and
            background. Where the band has a scale or an offset, as satseg's shares of 8 bits have, values are those
            after them.
        confidence: Raster of the same size: probabilities in 0..1, or uint8 shares of 254 as satseg writes them.

    Attributes:
        info: Its grid.
        classes: Classes; None where values are ids of their own.
        confidence: Confidence of the pixels, or None.

    Raises:
        SceneError: A raster cannot be opened, holds no classes or confidence, or both do not fit.
        UsageError: It has no such band.
    """

    def __init__(
        self,
        path: str | Path,
        classes: MapClasses | None,
        *,
        band: int | None = None,
        threshold: float | None = None,
        confidence: str | Path | None = None,
    ) -> None:
        self._files = ExitStack()
        try:
            self._source: _Bands | _Threshold
            if threshold is not None:
                self._source = _Threshold(self._files, str(path), band, threshold)
                self.classes: ClassTable | None = self._source.classes
            else:
                assert classes is not None
                bands = self._files.enter_context(classes.open(str(path)))
                self._source = _Bands(bands, classes.translation(str(path)))
                self.classes = classes.table
            self.info: SceneInfo = self._source.info
            self.confidence = None if confidence is None else self._files.enter_context(Scene.open(confidence))
            if self.confidence is not None:
                _check_confidence(self.confidence.info, self.info)
        except BaseException:
            self._files.close()
            raise

    def rows(self) -> Iterator[Rows]:
        """Yield the rows from the top, each strip read while the one before is used: uint8 classes, or int32 ids.

        Raises:
            SceneError: The file is damaged, or holds a value that is no class.
        """
        yield from in_strips(self._read, self._source.strips())

    def _read(self, window: Window) -> Rows:
        confidence = None if self.confidence is None else _read_confidence(self.confidence, window)
        return Rows(int(window.row_off), self._source.read(window), confidence)

    def __enter__(self) -> ClassRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


def class_rows(bands: ClassBands, translation: Translation) -> Iterator[Rows]:
    """Yield the rows of a class raster from the top as class ids, each strip read while the one before is used.

    Raises:
        SceneError: The file is damaged, or holds a value that is no class.
    """
    source = _Bands(bands, translation)
    yield from in_strips(lambda window: Rows(int(window.row_off), source.read(window)), source.strips())


def in_strips(read: Callable[[Window], Rows], windows: Sequence[Window]) -> Iterator[Rows]:
    """Read windows in their order, each while the one before is used."""
    with closing(read_ahead(read, windows, workers=1, ahead=1)) as found:
        yield from found


class _Bands:
    """Values of a class raster as ids.

    Args:
        bands: The raster.
        translation: Makes class ids of its values; None takes them for ids.
    """

    def __init__(self, bands: ClassBands, translation: Translation | None) -> None:
        self.info = bands.info
        self._bands = bands
        self._translation = translation

    def strips(self) -> list[Window]:
        """Return the windows to read."""
        return self._bands.strips()

    def read(self, window: Window) -> np.ndarray:
        """Return (H, W) uint8 class ids, 255 where there is none; or int32 ids, -1 where there is none."""
        codes, valid = self._bands.read(window)
        if self._translation is not None:
            ids, wrong = self._translation(codes, valid)
            self._refuse(window, codes, wrong, f"its classes are {self._translation.known}")
            return ids
        self._refuse(window, codes, valid & ((codes < 0) | (codes > _LARGEST_ID)), f"ids are 0..{_LARGEST_ID}")
        ids = codes.astype(np.int32)
        ids[~valid] = -1
        return ids

    def _refuse(self, window: Window, codes: np.ndarray, wrong: np.ndarray, known: str) -> None:
        if not wrong.any():
            return
        row, column = np.argwhere(wrong)[0]
        raise SceneError(
            f"{self.info.path} holds the value {codes[row, column]} at row {int(window.row_off) + row}, column "
            f"{column}; {known}.",
            hint="If that is nodata, say so in the file: gdal_edit -a_nodata ...",
        )


class _Threshold:
    """Real values, of which two classes are made.

    Args:
        files: Closes the raster.
        path: The raster.
        band: Band of a raster with several, from 1.
        threshold: Least value of the class.
    """

    def __init__(self, files: ExitStack, path: str, band: int | None, threshold: float) -> None:
        if band is not None:
            require_band(path, band)
        wanted = None if band is None else [str(band)]
        self._scene = files.enter_context(Scene.open(path, bands=wanted, expand_palette=False))
        self._threshold = threshold
        self.info = self._scene.info
        if len(self.info.bands) != 1:
            raise SceneError(
                f"{path} has {len(self.info.bands)} bands, but one is thresholded.", hint="Choose it with `band`."
            )
        self.classes = ClassTable.from_names([BACKGROUND, _class_name(self.info.bands.names[0])])

    def strips(self) -> list[Window]:
        """Return the windows to read."""
        return strips_of(self._scene)

    def read(self, window: Window) -> np.ndarray:
        """Return (H, W) uint8: 1 where the threshold is reached, else 0; 255 where there is no value."""
        bands, valid = self._scene.read(window)
        (scale,), (offset,) = self.info.bands.scales, self.info.bands.offsets
        return np.where(valid, bands[0] * scale + offset >= self._threshold, IGNORE_INDEX).astype(np.uint8)


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
            f"({short_name(confidence.crs)} and {short_name(classes.crs)}).",
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


def _class_name(band: str) -> str:
    """Return what the pixels are that reach a threshold."""
    return "class 1" if band == BACKGROUND or re.fullmatch(r"band_\d+", band) else band
