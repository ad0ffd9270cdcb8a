"""What class maps and labels do not know of each other: values that are not named, and names that no value has."""

from __future__ import annotations

import difflib
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from satseg.classes import BACKGROUND
from satseg.errors import ClassRasterError
from satseg.labels.class_found import LISTED, listed
from satseg.labels.class_map import IGNORE, OTHERS, ClassMap, spell_pair

_FEW = 3  # files that a message names one by one
_ALIKE = 0.75  # of 0 to 1, as difflib measures it: one letter of four
_TELLING = 3  # characters of a pattern; by fewer, nothing is meant rather than another
_NO_DATA = frozenset(
    [
        "255",
        "ignore",
        "n/a",
        "na",
        "nan",
        "no data",
        "nodata",
        "none",
        "null",
        "unclassified",
        "undefined",
        "unknown",
        "unlabeled",
        "unlabelled",
        "void",
        "",
    ]
)


class UnnamedValuesError(ClassRasterError):
    """Labels or maps hold values that a class map does not name.

    Args:
        found: Where they were found, how often each was, and what was counted, one of it: ``feature`` or ``px``.
        class_map: The class map.
        remark: A sentence that comes before the hint.
    """

    def __init__(self, found: Sequence[tuple[str, Counter[str], str]], class_map: ClassMap, remark: str = "") -> None:
        message, hint = say_unnamed(found, class_map)
        super().__init__(message, hint=f"{remark} {hint}".lstrip())
        self.found = tuple(found)
        self.class_map = class_map
        self.remark = remark

    @classmethod
    def joined(cls, errors: Sequence[UnnamedValuesError]) -> UnnamedValuesError:
        """Return one error that tells what several, of one class map, do."""
        remark = next((error.remark for error in errors if error.remark), "")
        found = [part for error in errors for part in error.found]
        return cls(found if len(found) <= _FEW else _summed(found), errors[0].class_map, remark)


def _summed(found: Sequence[tuple[str, Counter[str], str]]) -> list[tuple[str, Counter[str], str]]:
    """Return the values of all files together, those that are counted alike."""
    made = []
    for unit in dict.fromkeys(unit for _, _, unit in found):
        parts = [(path, counts) for path, counts, other in found if other == unit]
        where = f"{parts[0][0]}, with {len(parts) - 1:,} more," if len(parts) > 1 else parts[0][0]
        made.append((where, sum((counts for _, counts in parts), Counter[str]()), unit))
    return made


def say_unnamed(found: Sequence[tuple[str, Counter[str], str]], class_map: ClassMap) -> tuple[str, str]:
    """Return a sentence on the values that a class map does not name, and what to do about it.

    Args:
        found: Where they were found, how often each was, and what was counted, one of it.
        class_map: The class map.
    """
    counts: Counter[str] = sum((part for _, part, _ in found), Counter())
    values = [value for value, _ in counts.most_common()]
    told = "; ".join(
        f"{path} holds the value{'s' if len(part) > 1 else ''} {listed(part, unit)}" for path, part, unit in found
    )
    meant = [f"{key!r} by {value!r}" for value in values[:LISTED] if (key := _alike(value, class_map.names))]
    hint = f"Did you mean {', '.join(meant)}? " if meant else ""
    ignored = f"--class-map '{OTHERS}={IGNORE}' for all that is not named."
    message = f"{told}, which --class-map does not name."
    if len(values) > LISTED:
        return message, f"{hint}Write all of them as a table, {_table_line(found)}, edit it, and add --class-map " + (
            f"classes.csv; or {ignored}"
        )
    line = shlex.quote(",".join(spell_pair(value, likely_class(value)) for value in values))
    return (
        message,
        f"{hint}Add --class-map {line}, with other names where another class, {BACKGROUND} or {IGNORE} is meant, or "
        f"{ignored}",
    )


def _table_line(found: Sequence[tuple[str, Counter[str], str]]) -> str:
    """Return the command that writes the values of labels as a table."""
    path, _, unit = found[0]
    file = shlex.quote(path) if len(found) == 1 and not path.endswith(" more,") else "FILE"
    return f"satseg info {file}{' --class-field FIELD' if unit == 'feature' else ''} --class-map - > classes.csv"


def likely_class(value: str) -> str:
    """Return the class that a value of labels seems to be: its own text, ``ignore`` where that says that nobody knows.

    Numbers and colours are spelt as classes are that nobody named.
    """
    if value.strip().casefold() in _NO_DATA or re.fullmatch(r"-\d+(\.\d+)?", value):
        return IGNORE
    text = value.strip()
    return f"class {text}" if _is_number(text) else text


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
    lost: list[str] = []
    met = {IGNORE, BACKGROUND, *values}
    for key, name in class_map.names.items():
        if class_map.meets(key, spellings):
            met.add(name)
            continue
        meant = _alike(key, unnamed)
        if meant is not None:
            lost.append(name)
            told.insert(0, f"{key!r} (did you mean {meant!r}?)")
        elif not only_alike and name not in (IGNORE, BACKGROUND):
            told.append(f"{key!r}")
            lost.append(name)
    if not told:
        return None
    message = f"No such value in {path} as --class-map names: {_few(told)}."
    empty = [name for name in dict.fromkeys(lost) if name not in met]
    return f"{message} So nothing is of the class{'es' if len(empty) > 1 else ''} {_few(empty)}." if empty else message


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _alike(text: str, others: Collection[str]) -> str | None:
    """Return what is nearly the same, if anything; numbers are never meant by each other.

    Of a pattern, its longest piece without ``*`` is compared with as much of the others: their beginning, or their end
    where a ``*`` stands before it.
    """
    if _is_number(text):
        return None
    piece = max(text.casefold().split(OTHERS), key=len)
    if OTHERS in text and len(piece) < _TELLING:
        return None
    part = slice(None)
    if OTHERS in text:
        part = slice(len(piece)) if text.casefold().startswith(piece) else slice(-len(piece), None)
    folded = {other.casefold()[part]: other for other in others if other != OTHERS and not _is_number(other)}
    found = difflib.get_close_matches(piece, folded, 1, _ALIKE)
    return folded[found[0]] if found else None


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit() or text.startswith("#")
