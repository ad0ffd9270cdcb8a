"""Read map sheets on one grid as the mosaic they are, without a file of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.files.causes import cause
from satseg.geo.grid import Grid
from satseg.raster.rasterfile import Band, RasterFile

MOST_OPEN = 24
"""Sheets that a thread keeps open: with mask files, those of four threads stay below 256, the least a system allows."""

_CACHED_BLOCKS = 3  # rows of blocks: the blocks of sheets do not align with reads, so those on a border are kept


@dataclass(frozen=True)
class Sheet:
    """A file and its place in a mosaic.

    Args:
        path: File, URL or GDAL name.
        left: Column of the mosaic at which it begins.
        top: Row of the mosaic at which it begins.
        width: Columns.
        height: Rows.
    """

    path: str
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Mosaic:
    """The layout of a mosaic, from which threads, processes and other machines read it; nothing is open.

    Args:
        name: Name for messages.
        sheets: Its sheets. Where they overlap, the last one that has data is on top.
        grid: The smallest grid that holds all of them.
        bands: Image bands, the same in all sheets.
        count: Number of bands of a sheet, alpha bands included.
        nodata: Nodata value of the first sheet, or None; each sheet is read with its own.
        block: Rows and columns of the largest blocks.
        remote: Whether a sheet is read over the network.
        doubt: What seems wrong with the georeferencing or an alpha band of a sheet, or None.
    """

    name: str
    sheets: tuple[Sheet, ...]
    grid: Grid
    bands: tuple[Band, ...]
    count: int
    nodata: float | None
    block: tuple[int, int]
    remote: bool
    doubt: str | None


class MosaicFile:
    """A mosaic opened for reading, in the place of a :class:`~satseg.raster.rasterfile.RasterFile`.

    Sheets are opened when a window first touches them, and the least recently read ones are closed again, so that
    thousands do not take thousands of file handles. Each is read by its own nodata value, alpha band, mask and palette.
    A VRT could not do that: its bands have one nodata value, and one mask, for all sheets.

    Args:
        mosaic: Its layout.
    """

    remark = None

    def __init__(self, mosaic: Mosaic) -> None:
        self._mosaic = mosaic
        places = [(sheet.left, sheet.top, sheet.width, sheet.height) for sheet in mosaic.sheets]
        self._places = np.array(places, dtype=np.int64).T  # left, top, width and height of each sheet
        self._open: OrderedDict[int, RasterFile] = OrderedDict()  # by number, the least recently read first

    @property
    def path(self) -> str:
        """Name for messages."""
        return self._mosaic.name

    @property
    def grid(self) -> Grid:
        """Its pixel grid."""
        return self._mosaic.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        """Image bands."""
        return self._mosaic.bands

    @property
    def count(self) -> int:
        """Number of bands of a sheet, alpha bands included."""
        return self._mosaic.count

    @property
    def nodata(self) -> float | None:
        """Nodata value of the first sheet, or None."""
        return self._mosaic.nodata

    @property
    def remote(self) -> bool:
        """Whether a sheet is read over the network."""
        return self._mosaic.remote

    @property
    def doubt(self) -> str | None:
        """What seems wrong with a sheet, or None."""
        return self._mosaic.doubt

    def may_lack_data(self, numbers: Sequence[int]) -> bool:
        """Tell whether pixels may be invalid: there may always be gaps between sheets."""
        return True

    def block_shape(self, number: int) -> tuple[int, int]:
        """Return rows and columns of the largest blocks of its sheets."""
        return self._mosaic.block

    @property
    def cache_bytes(self) -> int:
        """Cache size in bytes with which reading from the top decodes hardly any block twice."""
        pixel = self.count * max(np.dtype(band.dtype).itemsize for band in self.bands)
        return _CACHED_BLOCKS * self._mosaic.block[0] * self.grid.width * pixel

    def overview_shape(self, max_side: int) -> tuple[int, int] | None:
        """Return None: overviews of sheets do not align."""
        return None

    def read(
        self, numbers: Sequence[int], window: Window, dtype: str, shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read bands in a window that lies inside the mosaic.

        Args:
            numbers: Bands, by number.
            window: What to read.
            dtype: Type to return.
            shape: None; there are no overviews.

        Returns:
            Raw values (band, row, col), 0 where no sheet has data, and valid (row, col) bool: true where a sheet has
            data in every band.

        Raises:
            RasterioError: A sheet cannot be opened any more, or is damaged there.
        """
        top, left, height, width = map(int, (window.row_off, window.col_off, window.height, window.width))
        bands = np.zeros((len(numbers), height, width), dtype=dtype)
        valid = np.zeros((height, width), dtype=bool)
        for number in self._touched(top, left, height, width):
            sheet = self._mosaic.sheets[number]
            rows = slice(max(top, sheet.top), min(top + height, sheet.top + sheet.height))
            columns = slice(max(left, sheet.left), min(left + width, sheet.left + sheet.width))
            part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            if valid[part].all():  # all of it lies below sheets that have been read
                continue
            inside = Window(
                columns.start - sheet.left,
                rows.start - sheet.top,
                columns.stop - columns.start,
                rows.stop - rows.start,
            )
            values, there = self._read_sheet(number, numbers, inside, dtype)
            there &= ~valid[part]
            np.copyto(bands[:, *part], values, where=there)
            valid[part] |= there
        return bands, valid

    def close(self) -> None:
        """Close its sheets."""
        while self._open:
            self._open.popitem()[1].close()

    def _touched(self, top: int, left: int, height: int, width: int) -> list[int]:
        """Return the numbers of the sheets that a window touches, the uppermost first."""
        lefts, tops, widths, heights = self._places
        across = (lefts < left + width) & (lefts + widths > left)
        down = (tops < top + height) & (tops + heights > top)
        return [int(number) for number in np.flatnonzero(across & down)[::-1]]

    def _read_sheet(
        self, number: int, bands: Sequence[int], window: Window, dtype: str
    ) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self._opened(number).read(bands, window, dtype)
        except SceneError as error:
            raise RasterioIOError(error.message) from error  # names the sheet
        except RasterioError as error:
            raise RasterioIOError(f"{self._mosaic.sheets[number].path}: {cause(error)}") from None

    def _opened(self, number: int) -> RasterFile:
        if number not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[number] = RasterFile(self._mosaic.sheets[number].path)
        self._open.move_to_end(number)
        return self._open[number]
