"""Two scenes of the same ground, compared window by window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.errors import SceneError
from satseg.labels.labels import Labels
from satseg.propagation.change import CELL, MARGIN, Scaling, changed, moved
from satseg.propagation.registration import PART, Displacements, Shift, measure_shift
from satseg.raster.extra import ExtraFile
from satseg.raster.scene import Scene
from satseg.records import Progress, ProgressEvent, no_progress

BLOCK = 512
"""Pixels along each side of the blocks in which scenes are compared."""


class ScenePair:
    """A scene and an earlier one, warped onto its grid. Use it as a context manager, in one thread.

    All of both scenes is read once when it is opened, to measure displacements and the spread of values.

    Args:
        earlier: The earlier scene, in any grid and CRS.
        later: The later scene.
        limit: Largest displacement in pixels along each axis.
        progress: Called as pixels are read.

    Attributes:
        info: Metadata of the later scene and the bands of both.
        displacements: How far the ground has moved.

    Raises:
        SceneError: A scene cannot be read, or the two have no ground in common, or nothing on it looks the same.
    """

    def __init__(self, earlier: str, later: str, *, limit: float, progress: Progress = no_progress) -> None:
        self._scene = Scene.open(later, extra=(ExtraFile(earlier, "earlier"),))
        self.info = self._scene.info
        self._bands = len(self.info.bands) - self.info.bands.extra
        try:
            self.displacements = self._survey(earlier, limit, progress)
        except BaseException:
            self.close()
            raise

    def carry(self, labels: Labels, window: Window, *, deviation: float) -> tuple[np.ndarray, np.ndarray]:
        """Carry labels of the earlier scene to the later one.

        Args:
            labels: On the grid of the later scene, where they lie in the earlier one.
            window: Window inside the scene, whose first row and column are multiples of 16.
            deviation: As in :func:`~satseg.propagation.change.changed`.

        Returns:
            Class ids (row, col) uint8 of pixels that show the same ground, 255 elsewhere; and (row, col) bool, where
            labelled ground has changed.
        """
        wide, inner = self._around(window)
        bands, valid = self._scene.read(wide)
        displacements = self.displacements.of_window(*_corner(wide), *valid.shape)
        valid &= moved(valid.astype(np.uint8), displacements, order=0) > 0
        before = np.stack([moved(band, displacements, order=1) for band in self._before.apply(bands[self._bands :])])
        other = changed(before, self._after.apply(bands[: self._bands]), valid, deviation=deviation)
        classes = moved(labels.read(wide), displacements, order=0, beyond=IGNORE_INDEX)
        classes[~valid] = IGNORE_INDEX
        lost = other & (classes != IGNORE_INDEX)
        classes[lost] = IGNORE_INDEX
        return np.ascontiguousarray(classes[inner]), lost[inner]

    def blocks(self) -> Iterator[Window]:
        """Yield windows that cover the scene, from the top."""
        return _blocks(self.info.height, self.info.width, BLOCK)

    def close(self) -> None:
        """Close both scenes."""
        self._scene.close()

    def __enter__(self) -> ScenePair:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _survey(self, earlier: str, limit: float, progress: Progress) -> Displacements:
        """Measure the displacements of all parts, and mean and standard deviation of all bands."""
        height, width = self.info.height, self.info.width
        sums = np.zeros((3, len(self.info.bands)))
        found: list[tuple[int, int, Shift]] = []
        done = 0
        for part in _blocks(height, width, PART):
            bands, valid = self._scene.read(part)
            values = bands[:, valid].astype(np.float64)
            sums += [np.full(len(values), values.shape[1]), values.sum(axis=1), np.square(values).sum(axis=1)]
            top, left = _corner(part)
            shift = measure_shift(bands[self._bands :], bands[: self._bands], valid, limit=limit)
            if shift is not None:
                found.append((top // PART, left // PART, shift))
            done += valid.size
            progress(ProgressEvent("Comparing", done, self.info.pixels, "px"))
        if not sums[0].any():
            raise SceneError(
                f"{earlier} and {self.info.path} have no ground in common.",
                hint="Check with `satseg.info` where each of them lies.",
            )
        displacements = Displacements.of(found, (-(-height // PART), -(-width // PART)))
        if displacements is None:
            raise SceneError(
                f"Nothing in {self.info.path} looks like {earlier}, even if moved by {limit:.3g} px.",
                hint="Check that both show the same ground at a similar resolution, and raise `max_shift` if they are "
                "further apart.",
            )
        mean = sums[1] / sums[0]
        std = np.sqrt(np.maximum(sums[2] / sums[0] - np.square(mean), 0))
        self._after = Scaling(mean[: self._bands], std[: self._bands])
        self._before = Scaling(mean[self._bands :], std[self._bands :])
        return displacements

    def _around(self, window: Window) -> tuple[Window, tuple[slice, slice]]:
        """Return a window with all that its result depends on, as far as the scene reaches, and its own place there."""
        margin = -(-(MARGIN + self.displacements.reach) // CELL) * CELL
        top, left = _corner(window)
        up, west = min(margin, top), min(margin, left)
        height = min(top + int(window.height) + margin, self.info.height) - top + up
        width = min(left + int(window.width) + margin, self.info.width) - left + west
        inner = slice(up, up + int(window.height)), slice(west, west + int(window.width))
        return Window(left - west, top - up, width, height), inner


def _blocks(height: int, width: int, side: int) -> Iterator[Window]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Window(left, top, min(side, width - left), min(side, height - top))


def _corner(window: Window) -> tuple[int, int]:
    return int(window.row_off), int(window.col_off)
