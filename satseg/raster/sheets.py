"""Lay map sheets out to a mosaic: files in one CRS and on one grid, with the same bands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine

from satseg.arguments import list_few
from satseg.errors import SceneError, printable
from satseg.files.gdal import gdal_environment
from satseg.files.names import identity, is_remote
from satseg.geo.crs import same_crs, short_name
from satseg.geo.grid import TOLERANCE, Grid, corners_on
from satseg.raster.mosaic import Mosaic, Sheet
from satseg.raster.rasterfile import Band, RasterFile

_CONNECTIONS = 8
_LONGEST_SIDE = 2**31 - 1  # pixels: GDAL counts them in 32 bits


@dataclass(frozen=True)
class _Surveyed:
    """What a sheet says of itself, see :class:`RasterFile`."""

    path: str
    grid: Grid
    bands: tuple[Band, ...]
    count: int
    nodata: float | None
    block: tuple[int, int]
    remote: bool
    doubt: str | None

    @classmethod
    def of(cls, path: str) -> _Surveyed:
        with gdal_environment(), closing(RasterFile(path)) as file:
            block = file.block_shape(file.bands[0].number)
            return cls(path, file.grid, file.bands, file.count, file.nodata, block, file.remote, file.doubt)


def lay_out(paths: Sequence[str]) -> Mosaic:
    """Open each sheet once, and find its place.

    Args:
        paths: Files, URLs or GDAL names, at least one. Where they overlap, the last one that has data is on top.

    Raises:
        SceneError: A sheet cannot be opened, is named twice or has no place; or sheets differ in CRS, pixel size,
            bands or their types, names, scales and offsets, or are off the grid of the others by a part of a pixel.
    """
    _refuse_twice(paths)
    found = list(_survey(paths))
    _require_places(found)
    _require_alike(found)
    _require_one_grid(found)
    corners = [tuple(map(round, _corner(sheet, found[0]))) for sheet in found]
    left, top = (min(places) for places in zip(*corners, strict=True))
    sheets = tuple(
        Sheet(sheet.path, column - left, row - top, sheet.grid.width, sheet.grid.height)
        for sheet, (column, row) in zip(found, corners, strict=True)
    )
    return Mosaic(
        name=mosaic_name(paths),
        sheets=sheets,
        grid=_grid(found, sheets, Affine.translation(left, top)),
        bands=found[0].bands,
        count=found[0].count,
        nodata=found[0].nodata,
        block=(max(sheet.block[0] for sheet in found), max(sheet.block[1] for sheet in found)),
        remote=any(sheet.remote for sheet in found),
        doubt=next((sheet.doubt for sheet in found if sheet.doubt), None),
    )


def mosaic_name(paths: Sequence[str]) -> str:
    """Return the name of a mosaic of these sheets for messages."""
    others = len(paths) - 1
    return printable(paths[0]) + (f" (and {others:,} more sheet{'s' * (others > 1)})" if others else "")


def _refuse_twice(paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path, place in zip(paths, identity(paths), strict=True):
        if place in seen:
            alias = "" if seen[place] == path else f", also as {seen[place]}"
            raise SceneError(f"The sheet {path} is named twice{alias}.", hint="Name each sheet once.")
        seen[place] = path


def _survey(paths: Sequence[str]) -> Iterator[_Surveyed]:
    """Open sheets one after the other, those of a server several at once."""
    if not any(map(is_remote, paths)):
        yield from map(_Surveyed.of, paths)
        return
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        yield from pool.map(_Surveyed.of, paths)


def _require_places(sheets: Sequence[_Surveyed]) -> None:
    lost = [sheet.path for sheet in sheets if not sheet.grid.placed]
    if lost:
        raise SceneError(
            f"{list_few(lost)} {'is' if len(lost) == 1 else 'are'} not georeferenced, so that the place in the mosaic "
            "is unknown.",
            hint="Assign the corners: gdal_edit.py -a_srs EPSG:... -a_ullr LEFT TOP RIGHT BOTTOM FILE",
        )


def _require_alike(sheets: Sequence[_Surveyed]) -> None:
    """Refuse sheets that differ from most others in their CRS or bands."""
    crss = list(dict.fromkeys(sheet.grid.crs for sheet in sheets))

    def crs(sheet: _Surveyed) -> str | None:
        return next(one for one in crss if same_crs(one, sheet.grid.crs))

    _refuse_odd(
        sheets,
        crs,
        lambda sheet: f"in {short_name(sheet.grid.crs)}",
        "Warp them to one CRS and grid first: gdalwarp -t_srs EPSG:... -tr X Y -tap FILE NEW.tif",
        verbs=("is", "are"),
    )
    _refuse_odd(
        sheets,
        lambda sheet: len(sheet.bands),
        lambda sheet: f"{len(sheet.bands)} image band{'s' * (len(sheet.bands) > 1)}",
        "Keep those that all sheets have: gdal_translate -b 1 -b 2 -b 3 FILE NEW.tif",
    )
    _refuse_odd(
        sheets,
        lambda sheet: [band.dtype for band in sheet.bands],
        lambda sheet: f"values of type {', '.join(dict.fromkeys(band.dtype for band in sheet.bands))}",
        "Convert the values to one type first: gdal_translate -ot TYPE -scale FILE NEW.tif",
    )
    _refuse_odd(
        sheets,
        lambda sheet: [(band.number, band.name) for band in sheet.bands],
        lambda sheet: f"the bands {', '.join(f'{band.number} {band.name}' for band in sheet.bands)}",
        "Mark the colours, or name the bands, alike: rio edit-info --colorinterp red,green,blue FILE",
    )
    _refuse_odd(
        sheets,
        lambda sheet: [(band.scale, band.offset) for band in sheet.bands],
        lambda sheet: (
            f"the scale {_listed(band.scale for band in sheet.bands)} and offset "
            f"{_listed(band.offset for band in sheet.bands)}"
        ),
        "State it in all sheets: gdal_edit.py -scale SCALE -offset OFFSET FILE",
    )


def _refuse_odd(
    sheets: Sequence[_Surveyed],
    trait: Callable[[_Surveyed], Any],
    phrase: Callable[[_Surveyed], str],
    hint: str,
    *,
    verbs: tuple[str, str] = ("has", "have"),
) -> None:
    """Refuse sheets of which a trait is another one than that of most sheets.

    Args:
        sheets: All sheets.
        trait: What has to be the same.
        phrase: The trait in words, after one of the verbs.
        hint: What to do.
        verbs: Of one sheet and of several.
    """
    traits = [repr(trait(sheet)) for sheet in sheets]
    usual = Counter(traits).most_common(1)[0][0]
    odd = next((found for found in traits if found != usual), None)
    if odd is None:
        return
    named = [sheet.path for sheet, found in zip(sheets, traits, strict=True) if found == odd]
    model, other = sheets[traits.index(usual)], sheets[traits.index(odd)]
    raise SceneError(
        f"{list_few(named)} {verbs[len(named) > 1]} {phrase(other)}, but {model.path} {verbs[0]} {phrase(model)}; "
        "sheets of a mosaic need the same.",
        hint=hint,
    )


def _require_one_grid(sheets: Sequence[_Surveyed]) -> None:
    """Refuse sheets whose pixels are not those of the first one's grid, continued."""
    first = sheets[0]
    resized = [sheet for sheet in sheets if _stretch(sheet, first) > TOLERANCE]
    if resized:
        raise SceneError(
            f"{list_few([sheet.path for sheet in resized])} {'has' if len(resized) == 1 else 'have'} pixels of "
            f"{_pixel(resized[0])}, but {first.path} of {_pixel(first)}; sheets of a mosaic need the same.",
            hint="Resample them to one grid first: gdalwarp -tr X Y -tap FILE NEW.tif",
        )
    shifted = [sheet for sheet in sheets if max(map(abs, _offset(sheet, first))) > TOLERANCE]
    if shifted:
        columns, rows = _offset(shifted[0], first)
        raise SceneError(
            f"{list_few([sheet.path for sheet in shifted])} {'lies' if len(shifted) == 1 else 'lie'} off the grid of "
            f"{first.path}, by {abs(columns):.2g} px along rows and {abs(rows):.2g} px along columns; sheets of a "
            "mosaic share one.",
            hint=_remedy(shifted[0], first),
        )


def _stretch(sheet: _Surveyed, first: _Surveyed) -> float:
    """Return by how many pixels of the first sheet a sheet of as many pixels is larger, smaller or turned."""
    columns, rows = corners_on(sheet.grid, first.grid)
    own_columns, own_rows = replace(sheet.grid, transform=Affine.identity()).corners()
    return float(max(np.abs(columns - columns[0] - own_columns).max(), np.abs(rows - rows[0] - own_rows).max()))


def _corner(sheet: _Surveyed, first: _Surveyed) -> tuple[float, float]:
    """Return column and row of the upper left corner of a sheet on the grid of the first one."""
    columns, rows = corners_on(sheet.grid, first.grid)
    return float(columns[0]), float(rows[0])


def _offset(sheet: _Surveyed, first: _Surveyed) -> tuple[float, float]:
    """Return how far the upper left corner of a sheet is from the next corner of a pixel, in columns and rows."""
    column, row = _corner(sheet, first)
    return column - round(column), row - round(row)


def _remedy(sheet: _Surveyed, first: _Surveyed) -> str:
    """Return the command that moves a sheet onto the grid of the first one."""
    column, row = map(round, _corner(sheet, first))
    left, top = first.grid.transform * (column, row)
    right, bottom = first.grid.transform * (column + sheet.grid.width, row + sheet.grid.height)
    bounds = " ".join(f"{value:.12g}" for value in (left, min(bottom, top), right, max(bottom, top)))
    return f"Move it onto that grid: gdalwarp -te {bounds} -ts {sheet.grid.width} {sheet.grid.height} FILE NEW.tif"


def _grid(found: Sequence[_Surveyed], sheets: Sequence[Sheet], to_corner: Affine) -> Grid:
    """Return the grid of a mosaic; its corner has the coordinates that sheets there state, not ones rounded anew."""
    first = found[0].grid
    transform = first.transform * to_corner
    if transform.b == transform.d == 0:
        leftmost = next(sheet.grid for sheet, place in zip(found, sheets, strict=True) if place.left == 0)
        topmost = next(sheet.grid for sheet, place in zip(found, sheets, strict=True) if place.top == 0)
        if abs(leftmost.transform.c - transform.c) < abs(transform.a):  # else it counts longitudes from elsewhere
            transform = Affine(transform.a, 0, leftmost.transform.c, 0, transform.e, topmost.transform.f)
    width = max(sheet.left + sheet.width for sheet in sheets)
    height = max(sheet.top + sheet.height for sheet in sheets)
    if max(width, height) > _LONGEST_SIDE:
        farthest = max(sheets, key=lambda sheet: max(abs(sheet.left - sheets[0].left), abs(sheet.top - sheets[0].top)))
        raise SceneError(
            f"{farthest.path} lies so far from {sheets[0].path} that the mosaic would have {width:,} x {height:,} px.",
            hint="Check its georeferencing, or leave it out.",
        )
    return Grid(width, height, transform, first.crs)


def _pixel(sheet: _Surveyed) -> str:
    a, b, _, d, e, _ = sheet.grid.transform[:6]
    turned = f", turned by {np.degrees(np.arctan2(d, a)):.3g} degrees" if b or d else ""
    return f"{np.hypot(a, d):.10g} x {np.hypot(b, e):.10g}{' (from the bottom up)' * (e > 0)}{turned}"


def _listed(values: Any) -> str:
    return ", ".join(dict.fromkeys(f"{value:g}" for value in values))
