"""Scenes: rasters opened through GDAL, read window by window with their valid pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import numpy as np
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import ReadError, SceneError, printable
from satseg.files.causes import cause, remedy
from satseg.files.gdal import CACHE_BYTES
from satseg.geo.crs import same_crs, short_name
from satseg.geo.grid import Grid, ground_sampling_distance, same_grid
from satseg.raster.extra import ExtraFile, ExtraRaster
from satseg.raster.mosaic import Mosaic, MosaicFile
from satseg.raster.rasterfile import Band, RasterFile
from satseg.raster.selection import distinct_names, find_bands, is_generic
from satseg.records import BandSpec, SceneInfo

_LARGEST_CACHE = 512 * 2**20

AnyFile = RasterFile | MosaicFile
"""What holds bands of a scene: one file, or many side by side."""


class Scene:
    """A raster opened for reading. Use it as a context manager; not to be shared between threads.

    It may consist of several files on one grid, whose bands are stacked in the order of the files. Alpha bands are not
    among its bands: they only determine which pixels are valid.

    Args:
        files: Open files, at least one, which are closed with the scene.
        bands: Bands to read, by number from 1 (counted through all files) or by name; None for all.
        extra: Open rasters on its grid, whose bands follow, and which are closed with it.

    Attributes:
        info: Its metadata.
        remarks: Phrases for the user about how files were rectified.

    Raises:
        SceneError: A band does not exist, values are complex, or the files do not share a grid.
    """

    def __init__(
        self, files: Sequence[AnyFile], *, bands: Sequence[str] | None = None, extra: Sequence[ExtraRaster] = ()
    ) -> None:
        for other in files[1:]:
            _check_same_grid(files[0], other)
        name = scene_name([file.path for file in files])
        chosen = _choose(files, bands, name)
        self._runs = [
            (file, [band.number for _, band in run]) for file, run in groupby(chosen, key=lambda entry: entry[0])
        ]
        self._files, self._extra = files, extra
        self.remarks = tuple(f"{file.path} is {file.remark}" for file in files if file.remark)
        self.info = _describe(name, self._runs, [band for _, band in chosen], extra)

    @classmethod
    def open(
        cls,
        *paths: str | Path,
        bands: Sequence[str] | None = None,
        expand_palette: bool = True,
        heed_nodata: bool = True,
        extra: Sequence[ExtraFile] = (),
    ) -> Scene:
        """Open any raster that GDAL reads, with at least one image band.

        A file that is georeferenced by ground control points is rectified as it is read.

        Args:
            paths: File, URL or GDAL name (``/vsicurl/...``, ``s3://...``); several are stacked.
            bands: Bands to read, by number from 1 or by name; None for all.
            expand_palette: Whether a single band with a colour table is read as its colours (red, green, blue).
            heed_nodata: Whether pixels of the nodata value are invalid.
            extra: Rasters that are warped onto its grid; their bands follow, also those of a selection.

        Raises:
            SceneError: A file does not exist, is not a raster, has no image band, or is georeferenced by RPCs only; the
                files do not share a grid; a band does not exist; an extra raster cannot be warped onto the grid.
        """
        with ExitStack() as stack:
            files = [
                stack.enter_context(closing(RasterFile(path, expand_palette=expand_palette, heed_nodata=heed_nodata)))
                for path in paths
            ]
            scene = cls._of(files, bands, extra, stack)
            stack.pop_all()
        return scene

    @classmethod
    def of_mosaic(cls, mosaic: Mosaic, *, bands: Sequence[str] | None = None, extra: Sequence[ExtraFile] = ()) -> Scene:
        """Open map sheets as one scene; each is opened when it is read.

        Args:
            mosaic: Their layout.
            bands: Bands to read, by number from 1 or by name; None for all.
            extra: As for :meth:`open`.

        Raises:
            SceneError: There is no such band; an extra raster cannot be warped onto the grid.
        """
        with ExitStack() as stack:
            scene = cls._of([stack.enter_context(closing(MosaicFile(mosaic)))], bands, extra, stack)
            stack.pop_all()
        return scene

    @classmethod
    def _of(
        cls, files: Sequence[AnyFile], bands: Sequence[str] | None, extra: Sequence[ExtraFile], stack: ExitStack
    ) -> Scene:
        """Return the scene of open files, with extra rasters on their grid."""
        scene = cls(files, bands=bands)
        if not extra:
            return scene
        rasters = [stack.enter_context(closing(ExtraRaster(file, scene.info))) for file in extra]
        return cls(files, bands=bands, extra=rasters)

    def select(self, bands: Sequence[str]) -> Scene:
        """Return a scene of the same open files with other bands; closing either closes the files of both.

        Bands of extra rasters stay behind them.

        Args:
            bands: Bands to read, by number from 1 (counted through all files) or by name.

        Raises:
            SceneError: There is no such band.
        """
        return Scene(self._files, bands=bands, extra=self._extra)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window that lies inside the scene.

        Returns:
            Raw values (band, row, col) in the scene's dtype, and valid (row, col) bool: true where every band has data
            (by nodata value, alpha and mask bands; NaN and infinity are invalid).

        Raises:
            ReadError: A file is damaged there, or the network failed.
        """
        return self._read(window, None)

    def read_overview(self, max_side: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Read the whole scene from its finest overview of at most ``max_side`` px per side.

        Returns:
            As :meth:`read`, in fewer pixels; None if there is no such overview, or an extra raster has to be warped.

        Raises:
            ReadError: As :meth:`read`.
        """
        shapes = {file.overview_shape(max_side) for file, _ in self._runs}
        shape = shapes.pop()
        if shape is None or shapes or self._extra:
            return None
        return self._read(Window(0, 0, self.info.width, self.info.height), shape)

    def _read(self, window: Window, shape: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
        runs = [*self._runs, *((raster, [band.number for band in raster.bands]) for raster in self._extra)]
        parts = [self._read_run(file, numbers, window, shape) for file, numbers in runs]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([bands for bands, _ in parts]), np.logical_and.reduce([valid for _, valid in parts])

    def _read_run(
        self, file: AnyFile | ExtraRaster, numbers: list[int], window: Window, shape: tuple[int, int] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        try:
            return file.read(numbers, window, self.info.bands.dtype, shape)
        except RasterioError as error:
            top, left = int(window.row_off), int(window.col_off)
            rows, columns = (top, top + int(window.height)), (left, left + int(window.width))
            remote = "The server or the network failed; try again."
            local = remedy(error) or "The file seems to be damaged or incomplete; copy or download it again."
            raise ReadError(
                f"{file.path} cannot be read at rows {rows[0]} to {rows[1]}: {cause(error)}.",
                rows=rows,
                columns=columns,
                hint=remote if file.remote else local,
            ) from error

    @property
    def datasets(self) -> tuple[Any, ...]:
        """The open rasterio datasets of its own files, rectified if need be; none of a mosaic."""
        return tuple(file.dataset for file in self._files if isinstance(file, RasterFile))

    @property
    def remote(self) -> bool:
        """Whether any of its files is read over the network."""
        return any(file.remote for file in self._files) or any(raster.remote for raster in self._extra)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the largest blocks in which its bands are stored."""
        shapes = [file.block_shape(numbers[0]) for file, numbers in self._runs]
        return max(height for height, _ in shapes), max(width for _, width in shapes)

    @property
    def cache_bytes(self) -> int:
        """Size in bytes of GDAL's block cache with which reading from the top decodes no block twice."""
        return min(max(CACHE_BYTES, sum(file.cache_bytes for file, _ in self._runs)), _LARGEST_CACHE)

    def close(self) -> None:
        """Close its files."""
        for opened in (self._files, self._extra):
            for file in opened:
                file.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def scene_name(paths: Sequence[str]) -> str:
    """Return the name of a scene of these files for messages."""
    if len(paths) <= 1:
        return printable("".join(paths))
    return f"{printable(paths[0])} (and {len(paths) - 1} stacked on it)"  # also the key of the scene in tile sets


def window_transform(transform: Affine, column: float, row: float) -> Affine:
    """Return the transform of a window that begins at (column, row)."""
    return transform * Affine.translation(column, row)


def _choose(files: Sequence[AnyFile], wanted: Sequence[str] | None, name: str) -> list[tuple[AnyFile, Band]]:
    """Return the bands to read, each with its file."""
    offered = [(file, band) for file in files for band in file.bands]
    names = _band_names(files)
    everything = list(range(len(offered)))
    chosen = everything if wanted is None else find_bands(names, _band_numbers(files), wanted, name)
    return [(offered[i][0], replace(offered[i][1], name=names[i])) for i in chosen]


def _band_names(files: Sequence[AnyFile]) -> list[str]:
    """Return a name per band; bands of stacked files that have no name of their own are named after their file."""
    if len(files) == 1:
        return [band.name for band in files[0].bands]
    names = []
    for file, label in zip(files, distinct_names([file.path for file in files]), strict=True):
        labels = [label] if len(file.bands) == 1 else [f"{label}_{band.number}" for band in file.bands]
        own = (PurePath(file.path).stem.casefold(), PurePath(file.path).name.casefold())
        unnamed = [is_generic(band.name) or band.name.casefold() in own for band in file.bands]
        lent = zip(file.bands, labels, unnamed, strict=True)
        names += [label if lends else band.name for band, label, lends in lent]
    return names


def _band_numbers(files: Sequence[AnyFile]) -> list[int]:
    """Return a number per band: GDAL's number in a single file, counted through stacked files."""
    numbers, before = [], 0
    for file in files:
        numbers += [before + band.number for band in file.bands]
        before += file.count
    return numbers


def _check_same_grid(first: AnyFile, other: AnyFile) -> None:
    a, b = first.grid, other.grid
    if same_grid(a, b) and (a.crs is None) == (b.crs is None):
        return
    if (a.width, a.height) != (b.width, b.height):
        how = f"{a.width} x {a.height} px and {b.width} x {b.height} px"
    elif not same_crs(a.crs, b.crs):
        how = f"{short_name(a.crs)} and {short_name(b.crs)}"
    else:
        how = f"upper left pixels of {_placement(a)} and {_placement(b)}"
    raise SceneError(
        f"{first.path} and {other.path} are not on the same grid: {how}.",
        hint="Resample them to one grid first: gdalbuildvrt -separate -resolution highest stack.vrt FILE FILE",
    )


def _placement(grid: Grid) -> str:
    transform = grid.transform
    return f"{transform.a:.10g} x {transform.e:.10g} at ({transform.c:.10g}, {transform.f:.10g})"


def _describe(
    name: str,
    runs: Sequence[tuple[AnyFile, Sequence[int]]],
    own: Sequence[Band],
    extra: Sequence[ExtraRaster],
) -> SceneInfo:
    file = runs[0][0]
    grid = file.grid
    bands = [*own, *(band for raster in extra for band in raster.bands)]
    dtype = common_dtype([band.dtype for band in bands], name)
    spec = BandSpec(
        names=tuple(band.name for band in bands),
        dtype=dtype.name,
        scales=tuple(band.scale for band in bands),
        offsets=tuple(band.offset for band in bands),
        extra=len(bands) - len(own),
    )
    return SceneInfo(
        path=name,
        width=grid.width,
        height=grid.height,
        bands=spec,
        nodata=file.nodata,
        has_mask=any(file.may_lack_data(numbers) for file, numbers in runs) or dtype.kind == "f" or bool(extra),
        crs=grid.crs,
        transform=grid.transform,
        gsd=ground_sampling_distance(grid.crs, grid.transform, grid.width, grid.height) if grid.crs else None,
        doubt=file.doubt,
    )


def common_dtype(dtypes: Sequence[str], name: str) -> np.dtype[Any]:
    """Return the type that holds the values of all bands of a raster, given the types as rasterio names them.

    Raises:
        SceneError: One of them is complex.
    """
    for dtype in dtypes:
        if dtype.startswith("complex"):  # rasterio has complex types that numpy lacks
            raise SceneError(
                f"{name} holds complex values ({dtype}).",
                hint="Convert them to real numbers first (amplitude or intensity).",
            )
    return np.result_type(*dtypes)
