"""Read the windows of a scene so that each block of its files is fetched and decoded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.files.gdal import gdal_environment
from satseg.files.spill import SpillStore
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.raster.values import OutOfRange, ValueRange
from satseg.records import SceneInfo

_ROWS = 256  # rows of a chunk, at least, so that many one-row strips are read at once
_LEAST_COLUMNS = 2048  # columns of a chunk
_LEAST_ROWS = 4
_BYTES = 2**17  # approximate minimum size of a chunk, which limits their number
_READ_BYTES = 2**20  # size of a read, as far as blocks allow


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of a window of a scene.

    Args:
        bands: (band, row, col) raw values in the scene's dtype.
        valid: (row, col) bool, or None if every pixel is valid.
    """

    bands: np.ndarray
    valid: np.ndarray | None


ReadFailure = Callable[[Window, SceneError], None]
"""Called with each part of a scene that cannot be read and becomes nodata."""

OutOfRangeCallback = Callable[[OutOfRange], None]
"""Called with values out of range, once for each part of the scene that is read."""


@dataclass(frozen=True)
class BlockGrid:
    """The division of a scene into chunks, in which it is read and cached.

    Chunks consist of whole blocks of the file. A file in strips is read in full width and split in memory.

    Args:
        rows: Rows of a chunk.
        columns: Columns of a chunk.
        together: Adjacent chunks that are read at once.
    """

    rows: int
    columns: int
    together: int

    @classmethod
    def for_scene(cls, info: SceneInfo, block: tuple[int, int]) -> BlockGrid:
        """Choose chunks for a scene whose file has blocks of ``block`` rows and columns."""
        pixel = len(info.bands) * np.dtype(info.bands.dtype).itemsize
        block_rows, block_columns = min(block[0], info.height), min(block[1], info.width)
        if block_columns < info.width:
            rows = block_rows * max(_ROWS // block_rows, 1)
            return cls(rows, block_columns * -(-_LEAST_COLUMNS // block_columns), 1)
        # At least a few rows: else a window consists of more chunks than memory holds at once.
        fitting = max(_READ_BYTES // (pixel * info.width), _LEAST_ROWS)
        rows = block_rows * max(min(fitting, _ROWS) // block_rows, 1)
        columns = max(_LEAST_COLUMNS, _BYTES // (rows * pixel))
        return cls(rows, columns, -(-info.width // columns))

    def covering(self, window: Window) -> list[tuple[int, int]]:
        """Return (row, column) of the chunks that a window touches, in reading order."""
        top, left = int(window.row_off), int(window.col_off)
        down = range(top // self.rows, -(-(top + int(window.height)) // self.rows))
        right = range(left // self.columns, -(-(left + int(window.width)) // self.columns))
        return [(row, column) for row in down for column in right]


def read_windows(
    open_scene: Callable[[], Scene],
    windows: Callable[[], Iterable[Window]],
    *,
    store: SpillStore,
    readers: int = 1,
    on_failure: ReadFailure | None = None,
    values: ValueRange | None = None,
    on_out_of_range: OutOfRangeCallback | None = None,
) -> Generator[Pixels, None, None]:
    """Yield the pixels of windows, reading each block of the files at most once, ahead and in threads.

    Args:
        open_scene: Opens the scene; called once in every thread, since datasets cannot be shared.
        windows: Returns windows inside the scene, sorted by their first row; called twice, since chunks are requested
            ahead of the windows that need them.
        store: Caches chunks until the last window that needs them.
        readers: Threads that read and decode.
        on_failure: Called in a reading thread for each part that cannot be read, which becomes invalid; None raises.
        values: Range of measured values; pixels out of range are invalid. None for the default range.
        on_out_of_range: Called in a reading thread if pixels are out of range.

    Yields:
        Pixels of each window, in the given order. Close the generator to end the threads.

    Raises:
        SceneError: The scene cannot be read.
    """
    with ExitStack() as stack:
        handles = _Handles(open_scene)
        stack.callback(handles.close)
        scene = handles.get()
        grid = BlockGrid.for_scene(scene.info, scene.block_shape)
        read = _Reader(handles, grid, on_failure, values or ValueRange(), on_out_of_range)
        chunks = stack.enter_context(
            closing(read_ahead(read, _needed(grid, windows()), workers=readers, ahead=readers))
        )
        held: dict[int, set[int]] = {}
        for window in windows():
            _drop_above(store, held, int(window.row_off) // grid.rows)
            for key in grid.covering(window):
                while key[1] not in held.get(key[0], ()):
                    for (row, column), pixels in next(chunks):
                        held.setdefault(row, set()).add(column)
                        _put(store, (row, column), pixels)
            yield _cut(store, grid, window, scene.info)


def read_tolerantly(scene: Scene, window: Window, on_failure: ReadFailure) -> tuple[np.ndarray, np.ndarray]:
    """Read a window as far as possible: damaged blocks become invalid and are reported to ``on_failure``."""
    try:
        return scene.read(window)
    except SceneError as error:
        blocks = list(_by_blocks(window, scene.block_shape))
        bands = np.zeros((len(scene.info.bands), int(window.height), int(window.width)), scene.info.bands.dtype)
        valid = np.zeros(bands.shape[1:], dtype=bool)
        if len(blocks) == 1:
            on_failure(window, error)
            return bands, valid
        for block in blocks:
            y, x = int(block.row_off - window.row_off), int(block.col_off - window.col_off)
            part = np.s_[..., y : y + int(block.height), x : x + int(block.width)]
            bands[part], valid[part] = read_tolerantly(scene, block, on_failure)
        return bands, valid


def _by_blocks(window: Window, shape: tuple[int, int]) -> Iterator[Window]:
    """Split a window along the blocks of the file."""
    top, left = int(window.row_off), int(window.col_off)
    bottom, right = top + int(window.height), left + int(window.width)
    rows = [top, *range((top // shape[0] + 1) * shape[0], bottom, shape[0]), bottom]
    columns = [left, *range((left // shape[1] + 1) * shape[1], right, shape[1]), right]
    for (y, end), (x, edge) in product(pairwise(rows), pairwise(columns)):
        yield Window(x, y, edge - x, end - y)


def _needed(grid: BlockGrid, windows: Iterable[Window]) -> Iterator[tuple[int, int]]:
    """Yield the reads that windows need, in order of first use, as (row of chunks, first chunk of the read)."""
    requested: dict[int, set[int]] = {}
    for window in windows:
        first = int(window.row_off) // grid.rows
        for row in [row for row in requested if row < first]:
            del requested[row]
        for row, column in grid.covering(window):
            read = column // grid.together * grid.together
            if read not in requested.setdefault(row, set()):
                requested[row].add(read)
                yield row, read


class _Handles:
    """A scene, opened once per thread."""

    def __init__(self, open_scene: Callable[[], Scene]) -> None:
        self._open_scene = open_scene
        self._here = threading.local()
        self._all: list[Scene] = []

    def get(self) -> Scene:
        if not hasattr(self._here, "scene"):
            with gdal_environment():
                self._here.scene = self._open_scene()
            self._all.append(self._here.scene)
        scene: Scene = self._here.scene
        return scene

    def close(self) -> None:
        for scene in self._all:
            scene.close()


@dataclass(frozen=True)
class _Reader:
    """Reads a range of blocks and splits it into chunks."""

    handles: _Handles
    grid: BlockGrid
    on_failure: ReadFailure | None
    values: ValueRange
    on_out_of_range: OutOfRangeCallback | None

    def __call__(self, place: tuple[int, int]) -> list[tuple[tuple[int, int], Pixels]]:
        scene, grid = self.handles.get(), self.grid
        top, left = place[0] * grid.rows, place[1] * grid.columns
        height = min(grid.rows, scene.info.height - top)
        width = min(grid.columns * grid.together, scene.info.width - left)
        bands, valid = self._read(scene, Window(left, top, width, height))
        valid, out_of_range = self.values.check(bands, valid, top, left)
        if out_of_range is not None and self.on_out_of_range is not None:
            self.on_out_of_range(out_of_range)
        chunks = []
        for offset in range(0, width, grid.columns):
            part = np.s_[..., offset : offset + grid.columns]
            mask = valid[part]
            pixels = Pixels(np.ascontiguousarray(bands[part]), None if mask.all() else mask.copy())
            chunks.append(((place[0], place[1] + offset // grid.columns), pixels))
        return chunks

    def _read(self, scene: Scene, window: Window) -> tuple[np.ndarray, np.ndarray]:
        with gdal_environment(cache_bytes=scene.cache_bytes):
            return scene.read(window) if self.on_failure is None else read_tolerantly(scene, window, self.on_failure)


def _put(store: SpillStore, key: tuple[int, int], pixels: Pixels) -> None:
    store.put((*key, "bands"), pixels.bands)
    if pixels.valid is not None:
        store.put((*key, "valid"), pixels.valid)


def _drop_above(store: SpillStore, held: dict[int, set[int]], first: int) -> None:
    for row in [row for row in held if row < first]:
        for column in held.pop(row):
            store.drop((row, column, "bands"))
            store.drop((row, column, "valid"))


def _cut(store: SpillStore, grid: BlockGrid, window: Window, info: SceneInfo) -> Pixels:
    """Assemble a window from its chunks."""
    top, left, height, width = (int(v) for v in (window.row_off, window.col_off, window.height, window.width))
    bands = np.empty((len(info.bands), height, width), info.bands.dtype)
    valid: np.ndarray | None = None
    for row, column in grid.covering(window):
        down, right = row * grid.rows, column * grid.columns
        chunk = store.get((row, column, "bands"))
        rows = slice(max(top, down) - down, min(top + height, down + grid.rows) - down)
        columns = slice(max(left, right) - right, min(left + width, right + grid.columns) - right)
        inside = np.s_[rows.start + down - top : rows.stop + down - top]
        across = np.s_[columns.start + right - left : columns.stop + right - left]
        bands[:, inside, across] = chunk[:, rows, columns]
        if (row, column, "valid") in store:
            valid = np.ones((height, width), dtype=bool) if valid is None else valid
            valid[inside, across] = store.get((row, column, "valid"))[rows, columns]
    return Pixels(bands, valid)
