"""One raster file: its image bands and their valid pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.files.causes import cause, remedy
from satseg.files.gdal import looking_beside
from satseg.files.names import LAYER_SUFFIXES, is_local_file, is_remote, open_raster
from satseg.geo.crs import crs_of_raster
from satseg.geo.grid import Grid, doubt
from satseg.raster.orientation import refuse_turned
from satseg.raster.rectify import describe_rectification, rectified
from satseg.raster.selection import without_file_name

_COLOUR_NAMES = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_SAMPLE = 256  # pixels per side of the block of an alpha band that is examined
_BY_VALUE = [MaskFlags.nodata]


@dataclass(frozen=True)
class Band:
    """An image band.

    Args:
        number: Its number in the file, from 1; the number of the colour if a palette was expanded.
        name: Description, colour, or ``band_N``.
        dtype: Type of its raw values, as rasterio names it.
        scale: Physical value per raw value.
        offset: Physical value at 0.
    """

    number: int
    name: str
    dtype: str
    scale: float
    offset: float


class RasterFile:
    """A raster file opened through GDAL, on a regular grid. Not to be shared between threads.

    Alpha bands are not among its bands: they only determine which pixels are valid.

    Args:
        path: File, URL or GDAL name.
        expand_palette: Whether a single band with a colour table is read as its colours (red, green, blue).
        heed_nodata: Whether pixels of the nodata value are invalid.

    Attributes:
        bands: Image bands in file order.
        grid: Its pixel grid.
        remark: How the file was rectified, or None.
        doubt: What seems wrong with its georeferencing or its alpha band, or None.
        remote: Whether it, or a source of a VRT, is read over the network.

    Raises:
        SceneError: It does not exist, is not a raster, has no image band, is stored rotated, or cannot be rectified.
    """

    def __init__(self, path: str | Path, *, expand_palette: bool = True, heed_nodata: bool = True) -> None:
        self.path = str(path)
        with ExitStack() as stack:
            source = stack.enter_context(_open(self.path))
            self.remote = is_remote(self.path) or (source.driver == "VRT" and any(map(is_remote, source.files)))
            if source.driver == "VRT":
                _refuse_circular(self.path, source.files)
            refuse_turned(source, SceneError)
            view = rectified(source)
            self.remark = None if view is None else describe_rectification(source)
            self.dataset = source if view is None else stack.enter_context(view)
            self.grid = Grid.of(self.dataset)
            colours = self.dataset.colorinterp
            self._alphas = [i for i in self.dataset.indexes if colours[i - 1] == ColorInterp.alpha]
            images = [i for i in self.dataset.indexes if i not in self._alphas]
            if not images:
                raise SceneError(f"{self.path} has no image band, only an alpha band.")
            self.doubt = doubt(self.grid, crs_of_raster(self.dataset)) or self._doubt_of_alpha()
            self._palette = _read_palette(self.dataset) if expand_palette and len(images) == 1 else None
            self.bands = _colours() if self._palette is not None else self._describe(images)
            self._flags: list[list[MaskFlags]] = self.dataset.mask_flag_enums
            self._nodata = [self._nodata_value(i) if heed_nodata else None for i in self.dataset.indexes]
            self._stack = stack.pop_all()

    @property
    def count(self) -> int:
        """Number of bands, alpha bands included."""
        return len(self.bands) if self._palette is not None else int(self.dataset.count)

    @property
    def nodata(self) -> float | None:
        """Nodata value of the first band, or None."""
        return None if self.dataset.nodata is None else float(self.dataset.nodata)

    def may_lack_data(self, numbers: Sequence[int]) -> bool:
        """Tell whether pixels of the given bands may be invalid for a reason other than NaN."""
        return bool(self._alphas) or any(MaskFlags.all_valid not in self._flags[i - 1] for i in self._stored(numbers))

    def block_shape(self, number: int) -> tuple[int, int]:
        """Return rows and columns of the blocks of a band; for a VRT at least those of its sources."""
        rows, columns = self.dataset.block_shapes[self._stored([number])[0] - 1]
        beneath = self._blocks_beneath or (0, 0)
        return max(int(rows), beneath[0]), max(int(columns), beneath[1])

    @property
    def cache_bytes(self) -> int:
        """Cache size in bytes with which reading from the top decodes no block twice.

        It is 0 if whole blocks are read. The blocks of a VRT's sources do not align with its grid, so those on the
        border of two reads are kept for the second one: two rows of blocks, and one for the offset.
        """
        if self._blocks_beneath is None:
            return 0
        pixel = sum(np.dtype(dtype).itemsize for dtype in self.dataset.dtypes)
        return 3 * self._blocks_beneath[0] * int(self.dataset.width) * pixel

    @cached_property
    def _blocks_beneath(self) -> tuple[int, int] | None:
        """Rows and columns of the blocks in the first source of a VRT; None for other files."""
        if self.dataset.driver != "VRT":
            return None
        for name in self.dataset.files[1:]:
            with suppress(SceneError), closing(RasterFile(name, expand_palette=False)) as first:
                return first.block_shape(1)
        return None

    def overview_shape(self, max_side: int) -> tuple[int, int] | None:
        """Return rows and columns of the finest overview of at most ``max_side`` px per side, or None."""
        height, width = self.dataset.shape
        shapes = [(-(-height // factor), -(-width // factor)) for factor in self.dataset.overviews(1)]
        return max((shape for shape in shapes if max(shape) <= max_side), default=None)

    def read(
        self, numbers: Sequence[int], window: Window, dtype: str, shape: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read bands in a window that lies inside the file.

        Args:
            numbers: Bands, by number.
            window: What to read.
            dtype: Type to return, which must hold the values of all these bands.
            shape: Rows and columns to return, from an overview of that size; None for the pixels of the window.

        Returns:
            Raw values (band, row, col), and valid (row, col) bool: true where every band has data.

        Raises:
            RasterioError: The file is damaged there.
        """
        with looking_beside(remote=True) if self.remote else nullcontext():  # a VRT opens its files when they are read
            return self._read(numbers, window, dtype, shape or (int(window.height), int(window.width)))

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _read(
        self, numbers: Sequence[int], window: Window, dtype: str, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        stored = self._stored(numbers)
        # Read alpha together with the bands: a second read would decode pixel-interleaved files twice.
        indexes = [*stored, *self._alphas]
        stored_as = dtype if self._palette is None else "uint8"
        values = self.dataset.read(indexes, window=window, out_dtype=stored_as, out_shape=(len(indexes), *shape))
        bands, alphas = values[: len(stored)], values[len(stored) :]
        valid = (alphas > 0).all(axis=0)
        for band, number in zip(bands, stored, strict=True):
            if self._nodata[number - 1] is not None:
                valid &= band != self._nodata[number - 1]
        masked = self._masked(stored)
        if masked:
            masks = self.dataset.read_masks(masked, window=window, out_shape=(len(masked), *shape))
            valid &= (masks > 0).all(axis=0)
        if self._palette is not None:
            colours = self._palette[bands[0]]  # (row, col, rgba)
            bands = np.ascontiguousarray(colours[..., [i - 1 for i in numbers]].transpose(2, 0, 1), dtype=dtype)
            valid &= colours[..., 3] > 0
        if bands.dtype.kind == "f":
            valid &= np.isfinite(bands).all(axis=0)
        return bands, valid

    def _stored(self, numbers: Sequence[int]) -> list[int]:
        return [1] if self._palette is not None else list(numbers)

    def _masked(self, stored: Sequence[int]) -> list[int]:
        """Return the bands whose masks must be read through GDAL; one for all that share a mask."""
        known = (MaskFlags.all_valid, MaskFlags.alpha)
        masked = [i for i in stored if self._flags[i - 1] != _BY_VALUE and not set(known) & set(self._flags[i - 1])]
        shared = [i for i in masked if MaskFlags.per_dataset in self._flags[i - 1]]
        return [i for i in dict.fromkeys(masked) if i not in shared[1:]]

    def _nodata_value(self, number: int) -> Any:
        """Return the nodata value of a band in its own type, or None if it has none or its type cannot hold it.

        Values are compared here because reading GDAL's mask of a nodata value would read the band a second time.
        """
        nodata = self.dataset.nodatavals[number - 1]
        if nodata is None or self._flags[number - 1] != _BY_VALUE:
            return None
        dtype = np.dtype(self.dataset.dtypes[number - 1])
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return dtype.type(nodata)
        fits = nodata == nodata // 1 and np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max
        return int(nodata) if fits else None

    def _doubt_of_alpha(self) -> str | None:
        """Describe an image band that is marked as alpha, as GDAL marks near infrared after red, green and blue.

        In a mask, most pixels of a block in the middle are fully transparent or fully opaque. Remote files are not
        checked, to save the request.
        """
        if self.remote or not self._alphas:
            return None
        number = self._alphas[-1]
        rows, cols = (min(side, _SAMPLE) for side in self.dataset.shape)
        middle = Window((self.dataset.width - cols) // 2, (self.dataset.height - rows) // 2, cols, rows)
        with suppress(RasterioError):  # damage is reported when the pixels are read
            values = self.dataset.read(number, window=middle)
            if np.mean((values > 0) & (values < values.max())) > 0.5 and len(np.unique(values)) > 2:
                marks = ["undefined" if use == ColorInterp.alpha else use.name for use in self.dataset.colorinterp]
                return (
                    f"has a band {number} that is marked as alpha but looks like an image band: it is used as a mask "
                    "and not as input. If it is an image band (near infrared?), correct its colour interpretation: "
                    f"rio edit-info --colorinterp {','.join(marks)} FILE"
                )
        return None

    def _describe(self, numbers: Sequence[int]) -> tuple[Band, ...]:
        descriptions = without_file_name([self.dataset.descriptions[number - 1] or "" for number in numbers], self.path)
        return tuple(
            Band(
                number=number,
                name=description or _COLOUR_NAMES.get(self.dataset.colorinterp[number - 1]) or f"band_{number}",
                dtype=self.dataset.dtypes[number - 1],
                scale=float(self.dataset.scales[number - 1]),
                offset=float(self.dataset.offsets[number - 1]),
            )
            for number, description in zip(numbers, descriptions, strict=True)
        )


def _open(path: str) -> Any:
    if is_local_file(path) and not os.path.exists(path):
        raise SceneError(f"{path} does not exist.")
    if is_local_file(path) and Path(path).is_fifo():  # GDAL would wait for a writer
        raise SceneError(f"{path} is a pipe, not a file.", hint="Write its contents to a file first.")
    try:
        with looking_beside(remote=is_remote(path)):
            return open_raster(path)
    except RasterioError as error:
        detail = cause(error)
        if "response code: 404" in detail:
            raise SceneError(f"{path} does not exist: the server answered 404 (not found).") from error
        _refuse_empty(path)
        hint = remedy(error) or _hint(path, detail)
        raise SceneError(f"{path} cannot be opened as a raster: {detail}.", hint=hint) from error


def _refuse_empty(path: str) -> None:
    """Refuse folders and empty files, for which GDAL has no clear message."""
    if os.path.isdir(path):
        raise SceneError(f"{path} is a folder, not a raster.", hint="Name the files in it, such as *.tif.")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise SceneError(f"{path} is empty: it has 0 bytes.", hint="Copy or download it again.")


def _refuse_circular(path: str, files: Sequence[str], above: tuple[str, ...] = ()) -> None:
    """Refuse a VRT that refers to itself, directly or through others."""
    chain = (*above, os.path.realpath(path))
    for name in files[1:]:
        if not name.lower().endswith(".vrt") or not is_local_file(name):
            continue
        if os.path.realpath(name) in chain:
            raise SceneError(f"{chain[0]} refers to itself: {path} has {name} as a source.")
        with suppress(RasterioError), open_raster(name) as member:
            _refuse_circular(name, member.files, chain)


def _hint(path: str, detail: str) -> str | None:
    if "AWS_NO_SIGN_REQUEST" in detail:
        return "Set AWS_NO_SIGN_REQUEST=YES for a public bucket, or AWS credentials for a private one."
    if is_remote(path):
        return "Check the address, and that the server is reachable."
    if Path(path).suffix.lower() in LAYER_SUFFIXES:
        return "Its suffix is that of polygons; a scene is a raster, such as a GeoTIFF."
    return None


def _colours() -> tuple[Band, ...]:
    return tuple(Band(i, name, "uint8", 1.0, 0.0) for i, name in enumerate(_COLOUR_NAMES.values(), start=1))


def _read_palette(dataset: Any) -> np.ndarray | None:
    """Return the colour table as (256, 4) uint8 RGBA, or None if the band has none."""
    if dataset.colorinterp[0] != ColorInterp.palette or dataset.dtypes[0] != "uint8":
        return None
    palette = np.zeros((256, 4), dtype=np.uint8)
    for value, colour in dataset.colormap(1).items():
        palette[value] = colour
    return palette
