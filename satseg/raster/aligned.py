"""Scenes resampled to another ground resolution."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.geo.grid import ground_sampling_distance
from satseg.raster.scene import Scene
from satseg.raster.values import OutOfRange, ValueRange

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
