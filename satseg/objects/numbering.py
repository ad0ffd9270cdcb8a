"""Numbers of objects in the order of their first pixels, given rows from the top."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from satseg.objects.watershed import NO_MARKER


class Numbering:
    """Numbers the objects of a scene as its rows arrive. Only objects that may go on are remembered.

    Args:
        width: Columns of the scene.
        reach: How many rows above a pixel the marker of its object lies at most.
    """

    def __init__(self, width: int, reach: int) -> None:
        self.count = 0
        """Objects so far."""
        self._width, self._reach, self._row = width, reach, 0
        self._known: dict[int, int] = {}

    def __call__(self, markers: np.ndarray) -> np.ndarray:
        """Number the next rows.

        Args:
            markers: (rows, W) int64 position of the marker of each pixel's object in the scene, or ``NO_MARKER``.

        Returns:
            (rows, W) int32 numbers of objects, from 1 in the order of their first pixels in reading order; 0 for none.
        """
        flat = markers.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
        values, first, at = np.unique(flat[starts], return_index=True, return_inverse=True)
        for marker in values[np.argsort(first)].tolist():
            if marker != NO_MARKER and marker not in self._known:
                self.count += 1
                self._known[marker] = self.count
        numbers = np.array([self._known.get(marker, 0) for marker in values.tolist()], dtype=np.int32)
        self._row += len(markers)
        self._forget((self._row - self._reach) * self._width)
        lengths = np.diff(starts, append=flat.size)
        return np.repeat(numbers[at], lengths).reshape(markers.shape)

    def join(self, marker: int, others: Iterable[int], numbers: Iterable[int] = ()) -> None:
        """Let an object have the least number that is known of it.

        Args:
            marker: Position of its marker, by which it is called from now on.
            others: Further markers of the same object.
            numbers: Numbers of pixels that belong to it.
        """
        known = [self._known[one] for one in (marker, *others) if one in self._known]
        if least := min((*known, *numbers), default=0):
            self._known[marker] = least

    @property
    def remembered(self) -> int:
        """Number of objects that may go on."""
        return len(self._known)

    def _forget(self, before: int) -> None:
        """Forget objects whose marker lies before a position of the scene."""
        self._known = {marker: number for marker, number in self._known.items() if marker >= before}
