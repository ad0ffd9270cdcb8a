"""Refuse class rasters whose values are ambiguous, with a hint that resolves each ambiguity."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from satseg.classes import BACKGROUND, IGNORE_INDEX
from satseg.errors import ClassRasterError
from satseg.labels.class_bands import LOSSY_HINT
from satseg.labels.class_found import FoundValues, Reading, Use, as_class_map, listed
from satseg.labels.class_map import IGNORE, OTHERS, ClassMap
from satseg.labels.class_map_check import UnnamedValuesError
from satseg.raster.values import WRITTEN_OUT

log = logging.getLogger("satseg")

_FEW, _MOSTLY = 2, 0.5  # blurred masks of 0 and 255: least other values on each side, least share of 0 and 255
_MANY = 128  # values without names from which a raster is taken for an image
_BY_THRESHOLD = "gdal_calc.py -A IN --calc 'A>127' --outfile OUT"


def refuse_ambiguous(files: Sequence[FoundValues], reading: Reading) -> None:
    """Refuse rasters whose values could have two meanings.

    Args:
        files: Rasters that belong together.
        reading: How they are interpreted.

    Raises:
        ClassRasterError: They hold colours without names, values altered by compression, 255 that may be a class, or
            nodata that may be background.
    """
    for file in files:
        if not file.has_names and len(file.counts) > 2 and not _all_named(file, reading):
            _refuse_losses(file)
    _check_colours(files, reading)
    if reading.class_map is None and reading.use is not Use.POLYGONS:  # there, values may be ids of instances
        _refuse_images(files)
    if reading.use is not Use.POLYGONS:  # neither background nor nodata becomes polygons
        _check_named_nodata(files, reading)
    plain = [file for file in files if not file.coloured and not file.has_names]
    if plain:
        _check_255(plain, reading)
        _check_negative(plain, reading)
        _check_nodata(plain, reading, alone=reading.alone and len(plain) == len(files))


def refuse_unnamed(found: Mapping[str, Counter[str]], class_map: ClassMap) -> None:
    """Refuse values that the class map does not map, those of all rasters at once.

    Args:
        found: Pixels by value as users write it, by raster; rasters without such values are left out.
        class_map: The class map.

    Raises:
        UnnamedValuesError: There are some.
    """
    if found:
        first, others = next(iter(found)), len(found) - 1
        where = f"{first}, with {others:,} more," if others else first
        raise UnnamedValuesError([(where, sum(found.values(), Counter()), "px")], class_map)


def _refuse_losses(file: FoundValues) -> None:
    if file.lossy:
        what = "colours" if file.coloured else "values"
        raise ClassRasterError(
            f"{file.path} has lossy compression (JPEG), which altered its {what}: it has {len(file.counts)} of them.",
            hint=LOSSY_HINT if file.coloured else f"{LOSSY_HINT} Or make two classes by a threshold: {_BY_THRESHOLD}",
        )
    counts = file.counts
    low, high = (sum(first < code < last for code in counts) for first, last in ((0, 128), (127, 255)))
    both, is_mask = counts[0] + counts[255], max(counts) <= 255 and counts[0] > 0 and counts[255] > 0
    if is_mask and min(low, high) >= _FEW and both >= _MOSTLY * sum(counts.values()):
        raise ClassRasterError(
            f"{file.path} seems to be a mask of 0 and 255 that was resampled or has lossy compression: it also has "
            f"{len(counts) - 2} values between them.",
            hint="Use the original mask, make two classes by a threshold (" + _BY_THRESHOLD + "), or map all of its "
            "values with `class_map`.",
        )


def _refuse_images(files: Sequence[FoundValues]) -> None:
    for file in files:
        if len(file.counts) > _MANY and not file.has_names and not file.metadata.palette:
            raise ClassRasterError(
                f"{file.path} has {len(file.counts)} different values without names; it seems to be an image.",
                hint="If they are ids of objects, set `objects`; if they are classes, map them with `class_map`.",
            )


def _check_colours(files: Sequence[FoundValues], reading: Reading) -> None:
    by_colour = [file for file in files if file.coloured] or _differing_palettes(files)
    if not by_colour or (reading.class_map is not None and reading.class_map.of_colours):
        return
    counts = Counter[str]()
    for file in by_colour:
        for code, count in file.counts.items():
            counts[file.spell(code) if file.coloured else file.metadata.colours.get(code, str(code))] += count
    values = listed(counts)
    raise ClassRasterError(
        f"{by_colour[0].path} holds colours without class names: {values}."
        if by_colour[0].coloured
        else f"A value has different colours in {by_colour[0].path} and {by_colour[1].path}: {values}.",
        hint=f"Name them: `class_map={as_class_map(counts, 'NAME')!r}`",
    )


def _differing_palettes(files: Sequence[FoundValues]) -> list[FoundValues]:
    """Return rasters without names whose palettes disagree about the colour of a value; empty if all agree."""
    first: dict[int, tuple[str, FoundValues]] = {}
    for file in files:
        for code in file.counts if file.metadata.palette and not file.has_names else ():
            colour = file.metadata.colours.get(code, "")
            seen, other = first.setdefault(code, (colour, file))
            if seen != colour:
                return [other, file, *(f for f in files if f.metadata.palette and f is not other and f is not file)]
    return []


def _check_255(files: Sequence[FoundValues], reading: Reading) -> None:
    counts: Counter[int] = sum((file.counts for file in files), Counter())
    named = reading.class_map is not None and reading.class_map.names_number(IGNORE_INDEX)
    if IGNORE_INDEX not in counts or IGNORE_INDEX in reading.unlabelled or named or _names_shade(reading, IGNORE_INDEX):
        return
    if set(counts) - reading.unlabelled <= {0, IGNORE_INDEX}:
        zero = f"0={BACKGROUND}," if counts[0] else ""
        only = f"0 and {IGNORE_INDEX}" if counts[0] else f"{IGNORE_INDEX}"
        unlabelled = f", or `unlabelled={IGNORE_INDEX}`" if reading.use is Use.LABELS else ""
        where = _where([file.path for file in files if file.counts[IGNORE_INDEX]])
        raise ClassRasterError(
            f"{where} only {only}; {IGNORE_INDEX} may be a class, or mean unlabelled.",
            hint=f"Use `class_map='{zero}{IGNORE_INDEX}=NAME'`, or `class_map='{zero}{IGNORE_INDEX}={IGNORE}'`"
            f"{unlabelled}.",
        )


def _check_negative(files: Sequence[FoundValues], reading: Reading) -> None:
    """Refuse negative values without names, which mostly mean unlabelled."""
    if reading.class_map is not None:
        return
    counts: Counter[int] = sum((file.counts for file in files), Counter())
    negative = Counter({str(n): counts[n] for n in sorted(counts) if n < 0 and n not in reading.unlabelled})
    if negative:
        holding = [file.path for file in files if any(str(code) in negative for code in file.counts)]
        unlabelled = " ".join(f"`unlabelled={value}`" for value in negative)
        others = as_class_map([str(code) for code in sorted(counts) if code >= 0], "NAME")
        line = ",".join(part for part in (as_class_map(negative, IGNORE), others) if part)
        either = f"{unlabelled}, or " if reading.use is Use.LABELS else ""
        raise ClassRasterError(
            f"{_where(holding)} negative values, which may be classes, or mean unlabelled: {listed(negative)}.",
            hint=f"Use {either}`class_map={line!r}`",
        )


def _where(paths: Sequence[str]) -> str:
    """Return the beginning of a sentence about what rasters hold: the first one, and the number of others."""
    return f"{paths[0]}, with {len(paths) - 1:,} more, holds" if len(paths) > 1 else f"{paths[0]} holds"


def _check_nodata(files: Sequence[FoundValues], reading: Reading, *, alone: bool) -> None:
    """Refuse nodata beside a single class, as QGIS's Rasterize writes masks; warn about nodata 0 beside several."""
    if reading.use is Use.POLYGONS:
        return
    empty = [file for file in files if file.unknown and _can_be_named(file.nodata, reading)]
    known = set().union(*(file.counts for file in files)) - {IGNORE_INDEX} - reading.unlabelled
    if len(known) == 1 and known != {0} and alone and empty:  # 0 alone is background already
        (one,), value = known, int(empty[0].nodata or 0)
        unknown = sum(file.unknown for file in empty)
        raise ClassRasterError(
            f"{empty[0].path} holds only {one}, and {value} as nodata ({unknown:,} px): {value} may be background, or "
            "mean unlabelled.",
            hint=f"Use `class_map='{value}={BACKGROUND},{one}=NAME'`, or `class_map='{value}={IGNORE},{one}=NAME'`.",
        )
    zero = [file for file in empty if file.nodata == 0]
    if zero and reading.use is not Use.MAP:  # nodata of maps is counted
        log.warning(
            "%s: %s px of nodata (0) are treated as unlabelled; if 0 is a class, name it: `class_map='0=NAME,...'`.",
            zero[0].path,
            f"{sum(file.unknown for file in zero):,}",
        )


def _can_be_named(nodata: float | None, reading: Reading) -> bool:
    """Tell whether a class map could map a nodata value, and it is not declared unlabelled."""
    named = nodata is not None and nodata == nodata // 1 and abs(nodata) < WRITTEN_OUT
    return named and nodata not in reading.unlabelled


def _check_named_nodata(files: Sequence[FoundValues], reading: Reading) -> None:
    """Refuse nodata that a raster itself names background."""
    for file in files:
        zero = next((code for code, name in file.metadata.names.items() if name == BACKGROUND), None)
        if zero is not None and zero == file.nodata and zero not in reading.unlabelled:
            others = "".join(f",{name}={name}" for name in file.metadata.names.values() if name != BACKGROUND)
            raise ClassRasterError(
                f"{file.path} names {zero} {BACKGROUND}, and declares it as nodata as well: it may be background, or "
                "mean unlabelled.",
                hint=f"Use `class_map={f'{BACKGROUND}={BACKGROUND}{others}'!r}`, or {BACKGROUND}={IGNORE} in it.",
            )


def _names_shade(reading: Reading, value: int) -> bool:
    return reading.class_map is not None and f"#{value:02x}{value:02x}{value:02x}" in reading.class_map.names


def _all_named(file: FoundValues, reading: Reading) -> bool:
    class_map = reading.class_map
    return class_map is not None and (
        OTHERS in class_map.names or all(any(map(class_map.find, file.keys(code))) for code in file.counts)
    )
