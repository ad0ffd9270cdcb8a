"""What a class raster does not tell by itself: each question is one sentence, and comes with the line to type."""

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

log = logging.getLogger("satseg")

_FEW, _MOSTLY = 2, 0.5  # of masks of 0 and 255 that were blurred: other values on each side, share of 0 and 255
_WHOLE = 1e15  # whole numbers up to here can be typed
_MANY = 128  # classes of land cover without any name are fewer
_BY_THRESHOLD = "gdal_calc.py -A IN --calc 'A>127' --outfile OUT"


def ask(files: Sequence[FoundValues], reading: Reading) -> None:
    """Refuse what could mean two things.

    Args:
        files: Rasters that belong together.
        reading: How they are understood.

    Raises:
        ClassRasterError: They hold colours that nobody named, values that were changed by compression, 255 that may be
            a class, or nodata that may be background.
    """
    for file in files:
        if not file.named and len(file.counts) > 2 and not _all_named(file, reading):
            _refuse_losses(file)
    _ask_about_colours(files, reading)
    if reading.class_map is None and reading.use is not Use.POLYGONS:  # there, values may be ids of instances
        _refuse_pictures(files)
    if reading.use is not Use.POLYGONS:  # neither background nor nodata becomes any
        _ask_about_named_nodata(files, reading)
    plain = [file for file in files if not file.coloured and not file.named]
    if plain:
        _ask_about_255(plain, reading)
        _ask_about_negative(plain, reading)
        _ask_about_nodata(plain, reading, alone=reading.alone and len(plain) == len(files))


def ask_about_missing(found: Mapping[str, Counter[str]], class_map: ClassMap) -> None:
    """Refuse values that the class map does not name, those of all rasters at once.

    Args:
        found: Pixels by value as users write it, of each raster that holds any.
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
            f"{file.path} was compressed with loss (JPEG): its {len(file.counts)} {what} are not those of its maker.",
            hint=LOSSY_HINT if file.coloured else f"{LOSSY_HINT} A threshold makes two classes of it: {_BY_THRESHOLD}.",
        )
    counts = file.counts
    low, high = (sum(first < code < last for code in counts) for first, last in ((0, 128), (127, 255)))
    both = counts[0] + counts[255]
    if min(low, high) >= _FEW and min(counts[0], counts[255]) and both >= _MOSTLY * sum(counts.values()):
        raise ClassRasterError(
            f"{file.path} seems to be a mask of 0 and 255 that was compressed with loss, or resampled: it also holds "
            f"{len(counts) - 2} values between them.",
            hint="Take the mask as it was before that; make two classes of it by a threshold: "
            f"{_BY_THRESHOLD}; or name all of its values with --class-map.",
        )


def _refuse_pictures(files: Sequence[FoundValues]) -> None:
    for file in files:
        if len(file.counts) > _MANY and not file.named and not file.told.palette:
            raise ClassRasterError(
                f"{file.path} holds {len(file.counts)} different values and names none of them; it seems to be a "
                "picture.",
                hint="If they are classes, say which is which with --class-map.",
            )


def _ask_about_colours(files: Sequence[FoundValues], reading: Reading) -> None:
    by_colour = [file for file in files if file.coloured] or _differing_palettes(files)
    if not by_colour or (reading.class_map is not None and reading.class_map.of_colours):
        return
    counts = Counter[str]()
    for file in by_colour:
        for code, count in file.counts.items():
            counts[file.spell(code) if file.coloured else file.told.colours.get(code, str(code))] += count
    told = listed(counts)
    raise ClassRasterError(
        f"{by_colour[0].path} holds colours, and nothing says which of them is which class: {told}."
        if by_colour[0].coloured
        else f"The same value stands for other colours in {by_colour[0].path} and in {by_colour[1].path}: {told}.",
        hint=f'Say which: --class-map "{as_class_map(counts, "NAME")}"',
    )


def _differing_palettes(files: Sequence[FoundValues]) -> list[FoundValues]:
    """Return rasters without names whose palettes give one value several colours; none where all agree."""
    first: dict[int, tuple[str, FoundValues]] = {}
    for file in files:
        for code in file.counts if file.told.palette and not file.named else ():
            colour = file.told.colours.get(code, "")
            seen, other = first.setdefault(code, (colour, file))
            if seen != colour:
                return [other, file, *(f for f in files if f.told.palette and f is not other and f is not file)]
    return []


def _ask_about_255(files: Sequence[FoundValues], reading: Reading) -> None:
    counts: Counter[int] = sum((file.counts for file in files), Counter())
    named = reading.class_map is not None and reading.class_map.names_number(IGNORE_INDEX)
    if IGNORE_INDEX not in counts or IGNORE_INDEX in reading.unlabelled or named or _names_shade(reading, IGNORE_INDEX):
        return
    if set(counts) - reading.unlabelled <= {0, IGNORE_INDEX}:
        zero = f"0={BACKGROUND}," if counts[0] else ""
        only = f"0 and {IGNORE_INDEX}" if counts[0] else f"{IGNORE_INDEX}"
        unlabelled = f", or --unlabelled {IGNORE_INDEX}" if reading.use is Use.LABELS else ""
        where = _where([file.path for file in files if file.counts[IGNORE_INDEX]])
        raise ClassRasterError(
            f"{where} only {only}; {IGNORE_INDEX} could be a class, or mean unlabelled.",
            hint=f"Say which: --class-map {zero}{IGNORE_INDEX}=NAME, or {zero}{IGNORE_INDEX}={IGNORE}{unlabelled}.",
        )


def _ask_about_negative(files: Sequence[FoundValues], reading: Reading) -> None:
    """Ask about values below 0 that nobody named: mostly they mean that nobody looked there."""
    if reading.class_map is not None:
        return
    counts: Counter[int] = sum((file.counts for file in files), Counter())
    negative = Counter({str(n): counts[n] for n in sorted(counts) if n < 0 and n not in reading.unlabelled})
    if negative:
        holding = [file.path for file in files if any(str(code) in negative for code in file.counts)]
        unlabelled = " ".join(f"--unlabelled {value}" for value in negative)
        others = as_class_map([str(code) for code in sorted(counts) if code >= 0], "NAME")
        line = ",".join(part for part in (as_class_map(negative, IGNORE), others) if part)
        either = f"{unlabelled}, or " if reading.use is Use.LABELS else ""
        raise ClassRasterError(
            f"{_where(holding)} values below 0, which could be classes, or mean unlabelled: {listed(negative)}.",
            hint=f"Say which: {either}--class-map {line}",
        )


def _where(paths: Sequence[str]) -> str:
    """Return the beginning of a sentence on what rasters hold: the first of them, and how many more there are."""
    return f"{paths[0]}, with {len(paths) - 1:,} more, holds" if len(paths) > 1 else f"{paths[0]} holds"


def _ask_about_nodata(files: Sequence[FoundValues], reading: Reading, *, alone: bool) -> None:
    """Ask about nodata where but one class is left, as QGIS's Rasterize writes masks; tell of 0 beside several."""
    if reading.use is Use.POLYGONS:
        return
    empty = [file for file in files if file.unknown and _can_be_named(file.nodata, reading)]
    known = set().union(*(file.counts for file in files)) - {IGNORE_INDEX} - reading.unlabelled
    if len(known) == 1 and known != {0} and alone and empty:  # 0 alone is background already
        (one,), value = known, int(empty[0].nodata or 0)
        unknown = sum(file.unknown for file in empty)
        raise ClassRasterError(
            f"{empty[0].path} holds nothing but {one}, and {value} as nodata ({unknown:,} px): {value} could be "
            "background, or mean unlabelled.",
            hint=f"Say which: --class-map {value}={BACKGROUND},{one}=NAME, or {value}={IGNORE},{one}=NAME.",
        )
    zero = [file for file in empty if file.nodata == 0]
    if zero and reading.use is not Use.MAP:  # what maps leave out is counted
        log.warning(
            "%s: %s px of nodata, 0, are taken for unlabelled; if 0 is a class, name it: --class-map 0=NAME,...",
            zero[0].path,
            f"{sum(file.unknown for file in zero):,}",
        )


def _can_be_named(nodata: float | None, reading: Reading) -> bool:
    """Tell whether a class map can name a nodata value, and nobody said that it means unlabelled."""
    named = nodata is not None and nodata == nodata // 1 and abs(nodata) < _WHOLE
    return named and nodata not in reading.unlabelled


def _ask_about_named_nodata(files: Sequence[FoundValues], reading: Reading) -> None:
    """Ask about nodata that a raster itself calls background: all of it would go unseen, or be missed."""
    for file in files:
        zero = next((code for code, name in file.told.names.items() if name == BACKGROUND), None)
        if zero is not None and zero == file.nodata and zero not in reading.unlabelled:
            others = "".join(f",{name}={name}" for name in file.told.names.values() if name != BACKGROUND)
            raise ClassRasterError(
                f"{file.path} names {zero} {BACKGROUND}, and states it as nodata too: it could be background, or mean "
                "unlabelled.",
                hint=f'Say which: --class-map "{BACKGROUND}={BACKGROUND}{others}", or {BACKGROUND}={IGNORE} instead.',
            )


def _names_shade(reading: Reading, value: int) -> bool:
    return reading.class_map is not None and f"#{value:02x}{value:02x}{value:02x}" in reading.class_map.names


def _all_named(file: FoundValues, reading: Reading) -> bool:
    class_map = reading.class_map
    return class_map is not None and (
        OTHERS in class_map.names or all(any(map(class_map.find, file.keys(code))) for code in file.counts)
    )
