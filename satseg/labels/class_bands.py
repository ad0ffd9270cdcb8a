"""Class rasters as stored: one whole number per pixel, a value or a colour, and where it is known."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import MAX_CLASSES
from satseg.errors import ClassRasterError, SceneError, UsageError
from satseg.files.causes import cause, remedy
from satseg.labels.class_names import ValueNames, read_value_names
from satseg.raster.regrid import on_grid_of
from satseg.raster.scene import Scene
from satseg.raster.values import LARGEST_EXACT
from satseg.raster.windows import block_cells, block_strips
from satseg.records import SceneInfo

LOSSY_HINT = "Lossy compression (JPEG) alters values. Use the original raster, as PNG or GeoTIFF."
_TOO_MANY = 4 * MAX_CLASSES

Codes = tuple[np.ndarray, np.ndarray]
"""Whole numbers (H, W), in the type of the file if that is an integer type; and known (H, W) bool."""


class ClassBands:
    """A class raster opened for reading. Use it as a context manager; not to be shared between threads.

    One band holds values; three 8-bit bands are colours, whose codes are ``0xrrggbb``. Pixels are unknown by alpha
    bands, masks, nodata and NaN.

    Args:
        path: File, URL or GDAL name.
        band: Band to read from a raster with several, from 1.
        nodata_is_value: Read the nodata value like any other.

    Attributes:
        info: Its grid.
        metadata: Names and colours of its values.
        coloured: Whether codes are colours.
        nodata: Its nodata value, unless that is read like any other.

    Raises:
        ClassRasterError: It cannot be opened, or does not hold classes.
        UsageError: The band does not exist.
    """

    def __init__(self, path: str | Path, *, band: int | None = None, nodata_is_value: bool = False) -> None:
        self.path = str(path)
        self._files = ExitStack()
        try:
            self._scene = self._files.enter_context(_open(self.path, band))
            self.info: SceneInfo = self._scene.info
            self._dataset = self._scene.datasets[0]
            self._numbers = _image_bands(self._dataset) if band is None else [band]
            self.coloured = len(self._numbers) == 3 and self.info.bands.dtype == "uint8"
            self._check()
            self.metadata = ValueNames() if self.coloured else read_value_names(self._dataset, self._numbers[0])
        except BaseException:
            self._files.close()
            raise
        self.nodata = None if nodata_is_value else _typed(self.info.nodata, self.info.bands.dtype)
        self._grid: Any = None

    @property
    def lossy(self) -> bool:
        """Whether it has lossy compression."""
        structure = self._dataset.tags(ns="IMAGE_STRUCTURE")
        reversible = structure.get("COMPRESSION_REVERSIBILITY", "").upper()
        return (
            self._dataset.driver == "JPEG"
            or "JPEG" in structure.get("COMPRESSION", "").upper().replace("JPEG2000", "")
            or reversible.startswith("LOSSY")
        )

    def read(self, window: Window) -> Codes:
        """Read a window inside the raster, or inside the scene onto which it was warped.

        Raises:
            ClassRasterError: It is damaged there, or holds a value that is not a whole number.
        """
        if self._grid is not None:
            return self._read_warped(window)
        try:
            bands, valid = self._scene.read(window)
        except SceneError as error:
            raise ClassRasterError(error.message, hint=error.hint) from error
        return self._encode(bands, valid & self._is_no_nodata(bands))

    def read_beyond(self, window: Window) -> Codes:
        """Read a window that may extend beyond the raster, or beyond the scene, where the edge is repeated.

        Raises:
            ClassRasterError: The raster is damaged there, or holds a value that is not a whole number.
        """
        grid = self.info if self._grid is None else self._grid
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        up, down = max(0, -top), max(0, bottom - grid.height)
        west, east = max(0, -left), max(0, right - grid.width)
        codes, known = self.read(Window(left + west, top + up, right - left - west - east, bottom - top - up - down))
        if not (up or down or west or east):
            return codes, known
        margins = ((up, down), (west, east))
        return np.pad(codes, margins, mode="edge"), np.pad(known, margins, mode="edge")

    def count(self) -> tuple[Counter[int], int]:
        """Read all of it; return the number of pixels of each code, and the number of unknown pixels.

        Raises:
            ClassRasterError: It is damaged, or holds hundreds of different values.
        """
        found: Counter[int] = Counter()
        unknown = 0
        for window in block_cells(self.info, self._scene.block_shape):
            codes, valid = self.read(window)
            known = codes.ravel() if valid.all() else codes[valid]
            unknown += codes.size - known.size
            found.update(_count(known))
            if len(found) > _TOO_MANY:
                what = "colours" if self.coloured else "values"
                raise ClassRasterError(
                    f"{self.path} has hundreds of different {what}; it does not seem to be a class raster.",
                    hint=LOSSY_HINT if self.lossy else None,
                )
        return found, unknown

    def strips(self) -> list[Window]:
        """Split the raster along its blocks into strips of some million pixels."""
        return block_strips(self.info, self._scene.block_shape[0])

    def bring_onto(self, scene: SceneInfo, *, paired: bool = False) -> None:
        """Warp the raster onto the grid of a scene by nearest neighbour: windows are those of the scene from now on.

        Args:
            scene: The grid.
            paired: Whether the raster was named together with this scene: a raster of equal size then needs no
                georeference.

        Raises:
            ClassRasterError: Only one of the two has a CRS and their grids differ.
        """
        # Nodata is detected in the values, where it may be one of them; alpha marks the outside of the raster.
        grid = on_grid_of(
            self._dataset,
            scene,
            resampling=Resampling.nearest,
            error=ClassRasterError,
            heed_nodata=False,
            paired=paired,
        )
        if grid is not self._dataset:
            self._grid = self._files.enter_context(grid)

    def close(self) -> None:
        """Close its file."""
        self._files.close()

    def __enter__(self) -> ClassBands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        bands = self.info.bands
        if len(self._numbers) != 1 and not self.coloured:
            raise ClassRasterError(
                f"{self.path} is not a class raster: it has {len(bands)} bands of {bands.dtype}, neither one band of "
                "values nor three 8-bit bands of colours.",
                hint="Select a band with `band` of `satseg.vectorize`, or extract it: gdal_translate -b 1 IN OUT",
            )
        if (set(bands.scales), set(bands.offsets)) != ({1.0}, {0.0}):
            raise ClassRasterError(
                f"{self.path} has a scale or an offset; a class raster holds plain integers.",
                hint="If it holds probabilities, pass it to `satseg.vectorize` with `threshold`, or as `confidence` of "
                "another raster.",
            )

    def _is_no_nodata(self, bands: np.ndarray) -> np.ndarray | bool:
        """Return where values differ from the nodata value, (row, col) bool; a colour is nodata if all bands are."""
        return True if self.nodata is None else (bands != self.nodata).any(axis=0)

    def _encode(self, bands: np.ndarray, valid: np.ndarray) -> Codes:
        if self.coloured:
            codes = bands[0].astype(np.uint32)
            for band in bands[1:]:
                codes <<= 8
                codes |= band
            return codes, valid
        values = bands[0]
        if values.dtype.kind == "f" or values.dtype == np.uint64:
            return self._whole(values, valid), valid
        return values, valid

    def _whole(self, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return real or 64-bit values as int64, 0 where unknown."""
        values = np.where(valid, values, 0)
        wrong = (np.rint(values) != values) | (np.abs(values) > LARGEST_EXACT)
        if wrong.any():
            raise ClassRasterError(
                f"{self.path} holds {self.info.bands.dtype} values such as {values[wrong][0]:.6g}; a class raster "
                "holds whole numbers.",
                hint="If they are probabilities, use `satseg.vectorize` with `threshold`.",
            )
        return values.astype(np.int64)

    def _read_warped(self, window: Window) -> Codes:
        alphas = [i for i, use in enumerate(self._grid.colorinterp, start=1) if use == ColorInterp.alpha]
        try:
            values = self._grid.read([*self._numbers, *alphas], window=window)
        except RasterioError as error:
            raise ClassRasterError(f"{self.path} cannot be read: {cause(error)}.", hint=remedy(error)) from error
        bands, valid = values[: len(self._numbers)], (values[len(self._numbers) :] > 0).all(axis=0)
        valid &= self._is_no_nodata(bands)
        if bands.dtype.kind == "f":
            valid &= np.isfinite(bands).all(axis=0)
        return self._encode(bands, valid)


def _open(path: str, band: int | None) -> Scene:
    try:
        if band is not None:
            require_band(path, band)
        wanted = None if band is None else [str(band)]
        return Scene.open(path, bands=wanted, expand_palette=False, heed_nodata=False)
    except SceneError as error:
        raise ClassRasterError(error.message, hint=error.hint) from error


def _typed(nodata: float | None, dtype: str) -> float | None:
    """Return a nodata value rounded to the type of the file: -3.4e38 in float32 differs from float64."""
    if nodata is None or np.dtype(dtype).kind != "f":
        return nodata
    with np.errstate(over="ignore"):
        return float(np.dtype(dtype).type(nodata))


def require_band(path: str, band: int) -> None:
    """Refuse a band that a raster does not have.

    Raises:
        SceneError: The raster cannot be opened.
        UsageError: The band does not exist.
    """
    with Scene.open(path, expand_palette=False) as scene:
        numbers = _image_bands(scene.datasets[0])
    if band not in numbers:
        raise UsageError(f"{path} has no band {band}; its bands are {numbers[0]} to {numbers[-1]}.")


def _image_bands(dataset: Any) -> list[int]:
    return [i for i, use in enumerate(dataset.colorinterp, start=1) if use != ColorInterp.alpha]


def _count(codes: np.ndarray) -> dict[int, int]:
    """Return the number of pixels of each code, counted by runs where these are long."""
    changes = codes[1:] != codes[:-1]
    if codes.dtype == np.uint8 and 8 * np.count_nonzero(changes) > codes.size:
        counts = np.bincount(codes, minlength=256)
        return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    ends = np.append(np.flatnonzero(changes), codes.size - 1)[: codes.size]
    found, where = np.unique(codes[ends], return_inverse=True)
    lengths = np.bincount(where, weights=np.diff(ends, prepend=-1), minlength=len(found))
    return dict(zip(found.tolist(), lengths.astype(np.int64).tolist(), strict=True))
