"""What class maps and labels do not know of each other: values that are not named, and names that no value has."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from satseg.classes import BACKGROUND
from satseg.raster.class_found import LISTED, as_class_map, listed
from satseg.raster.class_map import IGNORE, OTHERS, ClassMap

_ALIKE = 0.75  # of 0 to 1, as difflib measures it: one letter of four


def say_unnamed(path: str, counts: Counter[str], class_map: ClassMap, unit: str) -> tuple[str, str]:
    """Return a sentence on the values that a class map does not name, and what to do about it.

    Args:
        path: Where they were found.
        counts: How often each was.
        class_map: The class map.
        unit: What was counted, one of them.
    """
    plural = "s" if len(counts) > 1 else ""
    values = [value for value, _ in counts.most_common()]
    meant = [f"{key!r} by {value!r}" for value in values[:LISTED] if (key := _alike(value, class_map.names))]
    line = f"--class-map {shlex.quote(as_class_map(values, IGNORE))}"
    hint = f"Did you mean {', '.join(meant)}? " if meant else ""
    more = " satseg info writes all of them as a table to edit: --class-map - > classes.csv."
    return (
        f"{path} holds the value{plural} {listed(counts, unit)}, which --class-map does not name.",
        f"{hint}Add {line}, with {BACKGROUND} or another class instead of {IGNORE} where that is meant, or "
        f"--class-map '{OTHERS}={IGNORE}' for all that is not named.{more if len(values) > LISTED else ''}",
    )


def say_unmet(
    path: str, class_map: ClassMap, values: Mapping[str, Iterable[str]], *, only_alike: bool = False
) -> str | None:
    """Return a sentence on the names of a class map that no value has, None where there are none.

    That ``ignore`` and ``background`` are named to be sure is no reason to speak, unless another value was meant.

    Args:
        path: Where the values were found.
        class_map: The class map.
        values: Values as users write them, and all that a class map may call each.
        only_alike: Whether names are told only where another value seems to be meant.
    """
    spellings = {spelling for keys in values.values() for spelling in keys}
    unnamed = [value for value, keys in values.items() if not any(map(class_map.find, keys))]
    told: list[str] = []
    for key, name in class_map.names.items():
        if key == OTHERS or class_map.meets(key, spellings):
            continue
        meant = _alike(key, unnamed)
        if meant is not None:
            told.insert(0, f"{key!r} (did you mean {meant!r}?)")
        elif not only_alike and name not in (IGNORE, BACKGROUND):
            told.append(f"{key!r}")
    if not told:
        return None
    more = f" and {len(told) - LISTED:,} more" if len(told) > LISTED else ""
    return f"No such value in {path} as --class-map names: {', '.join(told[:LISTED])}{more}."


def _alike(text: str, others: Collection[str]) -> str | None:
    """Return what is nearly the same, if anything; numbers are never meant by each other."""
    if _is_number(text):
        return None
    folded = {other.casefold(): other for other in others if other != OTHERS and not _is_number(other)}
    found = difflib.get_close_matches(text.casefold(), folded, 1, _ALIKE)
    return folded[found[0]] if found else None


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit() or text.startswith("#")
