"""Extra rasters, such as elevation, whose bands follow those of a scene: how they are named, and read on its grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from satseg.arguments import STEM
from satseg.errors import SceneError, printable
from satseg.files.causes import cause, remedy
from satseg.files.gdal import looking_beside
from satseg.files.names import is_local_file, is_remote, open_raster
from satseg.geo.grid import Grid, ground_sampling_distance
from satseg.raster.rasterfile import Band
from satseg.raster.regrid import on_grid_of
from satseg.records import SceneInfo

_SEPARATORS = " _.-"


@dataclass(frozen=True)
class ExtraFile:
    """An extra raster of one scene.

    Args:
        path: File, URL or GDAL name.
        name: What its band is called, if it has one; of several, those without a description are numbered.
    """

    path: str
    name: str

    @classmethod
    def of(cls, pattern: str, stem: str) -> ExtraFile:
        """Return the raster that a name stands for, of the scene with this stem.

        Its band has the same name for all scenes: ``ndsm`` of ``ndsm.tif``, of ``heights/{stem}_ndsm.tif``, and of
        ``ndsm/{stem}.tif``, whose file is named by the scene alone.
        """
        path = Path(pattern if is_local_file(pattern) else pattern.partition("?")[0])  # behind it may stand a signature
        rest = re.sub(rf"[{_SEPARATORS}]*{re.escape(STEM)}[{_SEPARATORS}]*", " ", path.stem).strip()
        name = rest or path.parent.name.replace(STEM, "").strip(_SEPARATORS) or "extra"
        return cls(pattern.replace(STEM, stem), printable(name.replace(" ", "_")))


class ExtraRaster:
    """An open extra raster, warped onto the grid of a scene as it is read. Not to be shared between threads.

    Rasters much finer than the scene are averaged, others interpolated between the centres of pixels.

    Args:
        file: The raster, in any grid and CRS.
        scene: The grid.

    Attributes:
        path: Its name.
        bands: Its image bands.
        remote: Whether it is read over the network.

    Raises:
        SceneError: It cannot be opened, warped onto the grid, or does not lie where the scene does.
    """

    def __init__(self, file: ExtraFile, scene: SceneInfo) -> None:
        self.path, self.remote = file.path, is_remote(file.path)
        with ExitStack() as stack:
            try:
                with looking_beside(remote=self.remote):
                    source = stack.enter_context(open_raster(file.path))
            except RasterioError as error:
                hint = remedy(error)
                raise SceneError(f"{file.path} cannot be opened as a raster: {cause(error)}.", hint=hint) from error
            self._view = on_grid_of(source, scene, resampling=_resampling(source, scene), error=SceneError)
            if self._view is not source:
                stack.enter_context(self._view)
                _refuse_apart(source, scene)
            images = [i for i in self._view.indexes if self._view.colorinterp[i - 1] != ColorInterp.alpha]
            self._alphas = [i for i in self._view.indexes if i not in images]
            self.bands = tuple(self._band(number, file.name, alone=len(images) == 1) for number in images)
            self._stack = stack.pop_all()

    def read(
        self, numbers: Sequence[int], window: Window, dtype: str, shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read bands in a window of the scene.

        Args:
            numbers: Bands, by number.
            window: What to read.
            dtype: Type to return, which must hold the values of all these bands.
            shape: Rows and columns to return, in fewer pixels; None for those of the window.

        Returns:
            Raw values (band, row, col), and valid (row, col) bool: true where every band has data.

        Raises:
            RasterioError: It is damaged there.
        """
        rows, columns = shape or (int(window.height), int(window.width))

        def sized(count: int) -> dict[str, Any]:
            return {"window": window, "out_shape": (count, rows, columns)}

        with looking_beside(remote=self.remote):
            bands = self._view.read(list(numbers), **sized(len(numbers))).astype(dtype, copy=False)
            if self._alphas:  # rasterio's masks ignore alpha bands that are not 8-bit
                known = self._view.read(self._alphas, **sized(len(self._alphas))) > 0
            else:
                known = self._view.read_masks(list(numbers), **sized(len(numbers))) > 0
        valid = known.all(axis=0)
        if bands.dtype.kind == "f":
            valid &= np.isfinite(bands).all(axis=0)
        return bands, valid

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _band(self, number: int, name: str, *, alone: bool) -> Band:
        view, place = self._view, number - 1
        return Band(
            number=number,
            name=name if alone else view.descriptions[place] or f"{name}_{number}",
            dtype=view.dtypes[place],
            scale=float(view.scales[place]),
            offset=float(view.offsets[place]),
        )


def _resampling(source: Any, scene: SceneInfo) -> Resampling:
    grid = Grid.of(source)
    theirs = grid.crs and ground_sampling_distance(grid.crs, grid.transform, grid.width, grid.height)
    finer = theirs and scene.gsd is not None and theirs[0] < 0.5 * scene.gsd[0]
    return Resampling.average if finer else Resampling.bilinear


def _refuse_apart(source: Any, scene: SceneInfo) -> None:
    """Refuse a raster whose bounding box does not meet that of the scene."""
    corners = [scene.transform * corner for corner in ((0, 0), (scene.width, 0), (0, scene.height))]
    corners.append(scene.transform * (scene.width, scene.height))
    x, y = zip(*corners, strict=True)
    try:
        left, bottom, right, top = transform_bounds(source.crs, scene.crs, *source.bounds)
    except RasterioError:  # it reaches beyond what the projection covers
        return
    if not np.isfinite((left, bottom, right, top)).all():
        return
    if right <= min(x) or left >= max(x) or top <= min(y) or bottom >= max(y):
        raise SceneError(
            f"{source.name} does not lie where {scene.path} does: no pixel of the scene has a value there.",
            hint="Check with `satseg.info` where each of them lies.",
        )
