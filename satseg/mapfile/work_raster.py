"""The work raster: an uncompressed file to which cells are written in any order."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from threading import Lock
from types import TracebackType

import numpy as np
from numpy.typing import DTypeLike

from satseg.errors import OutputError


class WorkRaster:
    """A raster without compression or header, its bands interleaved by row.

    It can be resumed after an interruption: rows are complete if that was recorded after :meth:`sync`. Reading and
    writing may happen in different threads.

    Args:
        path: File, created if missing, else continued.
        height: Rows.
        width: Columns.
        bands: Bands.
        dtype: Type of its values.
    """

    def __init__(self, path: Path, *, height: int, width: int, bands: int = 1, dtype: DTypeLike = np.uint8) -> None:
        self.path = path
        self.height, self.width, self.bands = height, width, bands
        self.dtype = np.dtype(dtype)
        self._position = Lock()  # threads share the position of the file
        try:
            path.touch()
            self._file = FileIO(path, "r+")
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error

    def write(self, top: int, left: int, cell: np.ndarray) -> None:
        """Write a cell.

        Args:
            top: First row.
            left: First column.
            cell: (band, row, col) of its dtype.

        Raises:
            OutputError: The disk is full or has failed.
        """
        assert cell.dtype == self.dtype, "what is written has the dtype of the raster"
        lines = np.ascontiguousarray(cell.transpose(1, 0, 2))  # (row, band, col), as in the file
        if cell.shape[2] == self.width:
            self._write(top * self.bands * self.width, lines)
            return
        for row, bands in enumerate(lines, start=top):
            for band, line in enumerate(bands):
                self._write((row * self.bands + band) * self.width + left, line)

    def read(self, top: int, bottom: int, left: int = 0, right: int | None = None) -> np.ndarray:
        """Return rows ``top`` to ``bottom``, columns ``left`` to ``right``, as (band, row, col) of its dtype.

        Pixels that were never written are 0.
        """
        right = self.width if right is None else right
        lines = np.zeros((bottom - top, self.bands, right - left), dtype=self.dtype)
        if right - left == self.width:
            self._read(top * self.bands * self.width, lines)
        else:
            for number, line in enumerate(lines.reshape(-1, right - left), start=top * self.bands):
                self._read(number * self.width + left, line)
        return lines.transpose(1, 0, 2)

    def sync(self) -> None:
        """Flush written data to the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}: {error.strerror}.") from error

    def close(self) -> None:
        """Close the file and keep it."""
        self._file.close()

    def _read(self, offset: int, values: np.ndarray) -> None:
        """Read contiguous values, whose offset is counted in values, too."""
        data, done = values.reshape(-1).view(np.uint8).data, 0
        with self._position:
            self._file.seek(offset * self.dtype.itemsize)
            while done < len(data) and (got := self._file.readinto(data[done:])):
                done += got

    def _write(self, offset: int, values: np.ndarray) -> None:
        """Write contiguous values, whose offset is counted in values, too."""
        data, done = values.reshape(-1).view(np.uint8).data, 0
        try:
            with self._position:
                self._file.seek(offset * self.dtype.itemsize)
                while done < len(data):
                    done += self._file.write(data[done:])
        except OSError as error:
            raise OutputError(
                f"Cannot write {self.path}: {error.strerror}.", hint="Free disk space and continue with `resume=True`."
            ) from error

    def __enter__(self) -> WorkRaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
