"""Arrays by key: in memory up to a budget, beyond it in an unnamed scratch file."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from satseg.errors import OutputError
from satseg.files.mmap_arrays import mmap_array


@dataclass(frozen=True)
class _Slot:
    """The location of an array in the scratch file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


class SpillStore:
    """Stores arrays by key; the least recently used ones are written to disk when the memory budget is exceeded.

    The scratch file has no name, so nothing is left of it however the process ends. Not to be shared between threads.

    Args:
        budget: Bytes to keep in memory; a single array may exceed it.
        folder: Folder of the scratch file, which is created when it is needed.
    """

    def __init__(self, budget: int, folder: Path) -> None:
        self._budget = budget
        self._folder = folder
        self._held: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._spilled: dict[Hashable, _Slot] = {}
        self._free: dict[int, list[int]] = {}
        self._end = 0
        self._file: IO[bytes] | None = None

    def put(self, key: Hashable, array: np.ndarray) -> None:
        """Store a copy of an array, replacing any previous one of the key."""
        self.drop(key)
        held = mmap_array(array.shape, array.dtype)
        held[...] = array
        self._hold(key, held)

    def get(self, key: Hashable) -> np.ndarray:
        """Return an array, which must not be modified.

        Raises:
            KeyError: There is no array with this key.
        """
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        array = self._load(self._spilled[key])
        self._hold(key, array)
        return array

    def take(self, key: Hashable) -> np.ndarray:
        """Return an array and remove it."""
        array = self._held[key] if key in self._held else self._load(self._spilled[key])
        self.drop(key)
        return array

    def drop(self, key: Hashable) -> None:
        """Remove an array, if there is one."""
        if key in self._held:
            self._bytes -= self._held.pop(key).nbytes
        if key in self._spilled:
            slot = self._spilled.pop(key)
            self._free.setdefault(slot.nbytes, []).append(slot.offset)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held or key in self._spilled

    def close(self) -> None:
        """Remove all arrays and the scratch file."""
        self._held.clear()
        self._spilled.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _hold(self, key: Hashable, array: np.ndarray) -> None:
        self._held[key] = array
        self._bytes += array.nbytes
        while self._bytes > self._budget and len(self._held) > 1:
            oldest, spilled = self._held.popitem(last=False)
            self._bytes -= spilled.nbytes
            if oldest not in self._spilled:
                self._spilled[oldest] = self._save(spilled)

    def _save(self, array: np.ndarray) -> _Slot:
        free = self._free.get(array.nbytes)
        offset = free.pop() if free else self._end
        self._end = max(self._end, offset + array.nbytes)
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - close() closes it
            self._file.seek(offset)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"Cannot write scratch data to {self._folder}: {error.strerror}.",
                hint="Free disk space there, or raise `memory` so that less is written.",
            ) from error
        return _Slot(offset, array.shape, array.dtype)

    def _load(self, slot: _Slot) -> np.ndarray:
        assert self._file is not None, "what is spilled has a file"
        array = mmap_array(slot.shape, slot.dtype)
        self._file.seek(slot.offset)
        read = self._file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        assert read == slot.nbytes, "the scratch file is as long as what was written to it"
        return array

    def __enter__(self) -> SpillStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
