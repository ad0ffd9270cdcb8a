"""Scenes resampled to another ground resolution, or extended by bands of other rasters."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import SceneError, printable
from satseg.files.causes import cause, remedy
from satseg.files.names import open_raster
from satseg.geo.grid import Grid, ground_sampling_distance
from satseg.raster.regrid import on_grid_of
from satseg.raster.scene import Scene, common_dtype
from satseg.raster.values import OutOfRange, ValueRange
from satseg.records import BandSpec, SceneInfo

_SAME = 0.01  # relative difference of ground resolutions below which a scene is not resampled


class ResampledScene:
    """A scene resampled to another ground resolution. Use it as a context manager; not to be shared between threads.

    Coarser pixels are means over the area they cover, finer ones are interpolated linearly between pixel centres. The
    value of a pixel does not depend on the window in which it is read.

    Args:
        scene: The scene, which is closed with this one.
        gsd: Metres per pixel, along both x and y.

    Attributes:
        out_of_range: Values out of range that were found, in pixels of the original scene; they are treated as invalid.

    Raises:
        SceneError: The ground resolution of the scene is unknown.
    """

    def __init__(self, scene: Scene, gsd: float) -> None:
        info = scene.info
        if info.gsd is None:
            raise SceneError(f"{info.path} has no known ground resolution to be resampled to {gsd:g} m per pixel.")

        self._scene = scene
        self.out_of_range: set[OutOfRange] = set()
        width = max(1, round(info.width * info.gsd[0] / gsd))
        height = max(1, round(info.height * info.gsd[1] / gsd))
        self._scale = (info.height / height, info.width / width)
        transform = info.transform * info.transform.scale(info.width / width, info.height / height)
        found = ground_sampling_distance(str(info.crs), transform, width, height)
        self.info = replace(info, width=width, height=height, transform=transform, gsd=found)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window that lies inside the scene, as :meth:`Scene.read` does.

        A pixel is valid if at least half of its source area is.
        """
        old = self._scene.info
        top, rows = _weights(int(window.row_off), int(window.height), self._scale[0], old.height)
        left, columns = _weights(int(window.col_off), int(window.width), self._scale[1], old.width)
        bands, valid = self._scene.read(Window(left, top, columns.shape[1], rows.shape[1]))
        valid, out_of_range = ValueRange().check(bands, valid, top, left)
        if out_of_range is not None:
            self.out_of_range.add(out_of_range)
        share = rows @ valid.astype(np.float64) @ columns.T
        known = share >= 0.5
        made = np.zeros((len(bands), *share.shape), dtype=bands.dtype)
        for band, out in zip(bands, made, strict=True):
            sums = rows @ np.where(valid, band, 0).astype(np.float64) @ columns.T
            values = np.divide(sums, share, out=np.zeros_like(sums), where=known)
            out[...] = np.rint(values) if bands.dtype.kind in "ui" else values
        return made, known

    def close(self) -> None:
        """Close the scene."""
        self._scene.close()

    def __enter__(self) -> ResampledScene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ExtendedScene:
    """A scene with bands of other rasters, warped onto its grid. Use it as a context manager, in one thread.

    Rasters much finer than the scene are averaged, others interpolated. Pixels are valid where all rasters are.

    Args:
        scene: The scene, which is closed with this one.
        extra: Rasters in any grid and CRS.

    Raises:
        SceneError: A raster cannot be opened or warped onto the grid.
    """

    def __init__(self, scene: Scene | ResampledScene, extra: Sequence[str]) -> None:
        self._scene = scene
        with ExitStack() as stack:
            self._grids = [_onto_grid(stack, path, scene.info) for path in extra]
            self._stack = stack.pop_all()
        self.info = replace(scene.info, bands=self._all_bands(extra), has_mask=True)

    @property
    def out_of_range(self) -> set[OutOfRange]:
        """Values out of range found in resampling the scene, see :class:`ResampledScene`."""
        return self._scene.out_of_range if isinstance(self._scene, ResampledScene) else set()

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window that lies inside the scene, as :meth:`Scene.read` does."""
        bands, valid = self._scene.read(window)
        parts, valid = [bands], valid.copy()
        for grid in self._grids:
            numbers = _images(grid)
            try:
                parts.append(grid.read(numbers, window=window))
                valid &= _known(grid, numbers, window)
            except RasterioError as error:
                raise SceneError(f"{grid.name} cannot be read: {cause(error)}.", hint=remedy(error)) from error
        made = np.concatenate(parts).astype(self.info.bands.dtype, copy=False)
        if made.dtype.kind == "f":
            valid &= np.isfinite(made).all(axis=0)
        return made, valid

    def close(self) -> None:
        """Close all files."""
        self._stack.close()
        self._scene.close()

    def __enter__(self) -> ExtendedScene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _all_bands(self, extra: Sequence[str]) -> BandSpec:
        own = self._scene.info.bands
        names, dtypes, scales, offsets = list(own.names), [own.dtype], list(own.scales), list(own.offsets)
        for path, grid in zip(extra, self._grids, strict=True):
            numbers = _images(grid)
            stem = printable(Path(path).stem)
            names += [stem] if len(numbers) == 1 else [grid.descriptions[i - 1] or f"{stem}_{i}" for i in numbers]
            dtypes.append(common_dtype([grid.dtypes[i - 1] for i in numbers], path).name)
            scales += [float(grid.scales[i - 1]) for i in numbers]
            offsets += [float(grid.offsets[i - 1]) for i in numbers]
        return BandSpec(tuple(names), np.result_type(*dtypes).name, tuple(scales), tuple(offsets))


def resampled(scene: Scene, gsd: float | None) -> Scene | ResampledScene:
    """Resample a scene to a ground resolution in metres per pixel, unless it has that already."""
    have = scene.info.gsd
    if gsd is None or (have is not None and all(abs(metres / gsd - 1) < _SAME for metres in have)):
        return scene
    return ResampledScene(scene, gsd)


def _weights(start: int, count: int, scale: float, length: int) -> tuple[int, Any]:
    """Return the first source pixel of a range of target pixels, and the weight of each source pixel in each target.

    Args:
        start: First target pixel.
        count: Target pixels.
        scale: Source pixels per target pixel.
        length: Source pixels in all.
    """
    from scipy import sparse  # takes what scenes that are not resampled are spared

    new = np.arange(start, start + count)
    if scale > 1:
        edges = new[:, None] * scale + np.array([0.0, scale])
        reach = np.arange(int(np.ceil(scale)) + 1)
        old = np.floor(edges[:, :1]).astype(int) + reach
        shares = np.clip(np.minimum(edges[:, 1:], old + 1) - np.maximum(edges[:, :1], old), 0, None) / scale
    else:
        centres = (new + 0.5) * scale - 0.5
        old = np.floor(centres).astype(int)[:, None] + np.array([0, 1])
        shares = 1 - np.abs(centres[:, None] - old)
    old = old.clip(0, length - 1)
    first, last = int(old.min()), int(old.max())
    rows = np.repeat(np.arange(count), old.shape[1])
    matrix = sparse.csr_array(
        sparse.coo_array((shares.ravel(), (rows, old.ravel() - first)), shape=(count, last - first + 1))
    )
    return first, matrix


def _onto_grid(stack: ExitStack, path: str, info: SceneInfo) -> Any:
    try:
        dataset = stack.enter_context(open_raster(path))
    except RasterioError as error:
        raise SceneError(f"{path} cannot be opened as a raster: {cause(error)}.", hint=remedy(error)) from error
    grid = Grid.of(dataset)
    theirs = grid.crs and ground_sampling_distance(grid.crs, grid.transform, grid.width, grid.height)
    finer = theirs and info.gsd is not None and theirs[0] < 0.5 * info.gsd[0]
    view = on_grid_of(dataset, info, resampling=Resampling.average if finer else Resampling.bilinear, error=SceneError)
    return view if view is dataset else stack.enter_context(view)


def _known(grid: Any, numbers: Sequence[int], window: Window) -> np.ndarray:
    """Return where a raster has data in all of the given bands, (row, col) bool."""
    alphas = [i for i in grid.indexes if i not in _images(grid)]
    if alphas:  # rasterio's masks ignore alpha bands that are not 8-bit
        return np.asarray((grid.read(alphas, window=window) > 0).all(axis=0))
    return np.asarray((grid.read_masks(numbers, window=window) > 0).all(axis=0))


def _images(grid: Any) -> list[int]:
    return [i for i in grid.indexes if grid.colorinterp[i - 1] != ColorInterp.alpha]
