"""Read rasters of classes, ids or probabilities strip by strip, as rows of a map."""

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
from satseg.labels.class_bands import ClassBands, require_band
from satseg.labels.class_values import Translation
from satseg.labels.map_classes import MapClasses
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.raster.windows import block_strips
from satseg.records import CERTAIN, Rows, SceneInfo

_SHARES = ("confidence", "boundary", "distance")  # names of bands that satseg writes
_LARGEST_ID = 2**31 - 1


class ClassRaster:
    """A raster from which polygons are made. Use it as a context manager.

    Args:
        path: One of the rasters of ``classes``.
        classes: The classes of its values; None with a threshold.
        band: Band of a raster with several, from 1.
        threshold: Makes two classes of real values: one from this value on, named after the band, and background. The
            scale and offset of the band are applied first, such as those of satseg's 8-bit probabilities.
        confidence: Raster of the same size: probabilities in 0..1, or uint8 with 254 for certain, as satseg writes.
        boundary: The same with the probability of the inner boundary of objects.
        distance: The same with the distance to the edge of the own object.

    Attributes:
        info: Its grid.
        classes: Classes; None if values are ids.
        confidence: Confidence of the pixels, or None.

    Raises:
        SceneError: A raster cannot be opened, does not hold classes or confidence, or the two do not match.
        UsageError: The band does not exist.
    """

    def __init__(
        self,
        path: str | Path,
        classes: MapClasses | None,
        *,
        band: int | None = None,
        threshold: float | None = None,
        confidence: str | Path | None = None,
        boundary: str | Path | None = None,
        distance: str | Path | None = None,
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
            self.confidence = self._open_shares(confidence, "confidence")
            self._boundary = self._open_shares(boundary, "boundary")
            self._distance = self._open_shares(distance, "distance")
        except BaseException:
            self._files.close()
            raise

    def rows(self) -> Iterator[Rows]:
        """Yield the rows from the top, uint8 classes or int32 ids; each strip is read while the previous one is used.

        Raises:
            SceneError: The file is damaged, or holds a value without a class.
        """
        yield from read_strips(self.read, self._source.strips())

    def read(self, window: Window) -> Rows:
        """Return a part of the raster as rows.

        Raises:
            SceneError: As :meth:`rows`.
        """
        confidence, boundary = (
            None if scene is None else _read_shares(scene, window) for scene in (self.confidence, self._boundary)
        )
        return Rows(int(window.row_off), self._source.read(window), confidence, None, boundary)

    def read_distance(self, window: Window) -> np.ndarray:
        """Return (H, W) uint8 distances to the edge of the own object, 254 for 1, 255 for none; they must be known."""
        assert self._distance is not None
        return _read_shares(self._distance, window)

    def _open_shares(self, path: str | Path | None, what: str) -> Scene | None:
        if path is None:
            return None
        scene = self._files.enter_context(Scene.open(path))
        _check_shares(scene.info, self.info, what)
        return scene

    def __enter__(self) -> ClassRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


def class_rows(bands: ClassBands, translation: Translation) -> Iterator[Rows]:
    """Yield the rows of a class raster from the top, as class ids; each strip is read while the previous one is used.

    Raises:
        SceneError: The file is damaged, or holds a value without a class.
    """
    source = _Bands(bands, translation)
    yield from read_strips(lambda window: Rows(int(window.row_off), source.read(window)), source.strips())


def read_strips(read: Callable[[Window], Rows], windows: Sequence[Window]) -> Iterator[Rows]:
    """Read windows in order, each in a thread while the previous one is used."""
    with closing(read_ahead(read, windows, workers=1, ahead=1)) as found:
        yield from found


class _Bands:
    """Values of a class raster as ids.

    Args:
        bands: The raster.
        translation: Translates its values into class ids; None if they are ids.
    """

    def __init__(self, bands: ClassBands, translation: Translation | None) -> None:
        self.info = bands.info
        self._bands = bands
        self._translation = translation

    def strips(self) -> list[Window]:
        """Return the windows to read."""
        return self._bands.strips()

    def read(self, window: Window) -> np.ndarray:
        """Return (H, W) uint8 class ids, 255 for none; or int32 ids, -1 for none."""
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
            hint="If that is nodata, declare it in the file: gdal_edit.py -a_nodata VALUE FILE",
        )


class _Threshold:
    """Two classes made from real values by a threshold.

    Args:
        files: Closes the raster.
        path: The raster.
        band: Band of a raster with several, from 1.
        threshold: Smallest value of the class.
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
                f"{path} has {len(self.info.bands)} bands; a threshold needs one.", hint="Choose it with `band`."
            )
        self.classes = ClassTable.from_names([BACKGROUND, _class_name(self.info.bands.names[0])])

    def strips(self) -> list[Window]:
        """Return the windows to read."""
        return block_strips(self.info, self._scene.block_shape[0])

    def read(self, window: Window) -> np.ndarray:
        """Return (H, W) uint8: 1 where the threshold is reached, else 0; 255 for nodata."""
        bands, valid = self._scene.read(window)
        (scale,), (offset,) = self.info.bands.scales, self.info.bands.offsets
        return np.where(valid, bands[0] * scale + offset >= self._threshold, IGNORE_INDEX).astype(np.uint8)


def _check_shares(shares: SceneInfo, classes: SceneInfo, what: str) -> None:
    named = shares.bands.names[0]
    if named in _SHARES and named != what:
        raise SceneError(f"{shares.path} is given as {what}, but its band is named {named}.", hint="Are they swapped?")
    if (shares.width, shares.height) != (classes.width, classes.height):
        raise SceneError(
            f"{shares.path} has {shares.width} x {shares.height} pixels, but {classes.path} has "
            f"{classes.width} x {classes.height}."
        )
    grids = Grid.of_scene(shares), Grid.of_scene(classes)
    if all(grid.placed for grid in grids) and not same_grid(*grids):
        raise SceneError(
            f"{shares.path} and {classes.path} have the same size, but different positions "
            f"({short_name(shares.crs)} and {short_name(classes.crs)}).",
            hint=f"Use the {what} that was written with these classes.",
        )
    if len(shares.bands) != 1 or (shares.bands.dtype != "uint8" and "float" not in shares.bands.dtype):
        raise SceneError(
            f"{shares.path} cannot be used as {what}: it has {len(shares.bands)} bands of {shares.bands.dtype}.",
            hint="Use a single band of values in 0..1, or of uint8 with 254 for 1.",
        )


def _read_shares(scene: Scene, window: Window) -> np.ndarray:
    """Return (H, W) uint8 shares times 254, 255 for none."""
    bands, valid = scene.read(window)
    shares = bands[0] if bands.dtype == np.uint8 else np.rint(np.where(valid, bands[0], 0).clip(0, 1) * CERTAIN)
    return np.where(valid, shares, IGNORE_INDEX).astype(np.uint8)


def _class_name(band: str) -> str:
    """Return the class name of pixels that reach a threshold."""
    return "class 1" if band == BACKGROUND or re.fullmatch(r"band_\d+", band) else band
