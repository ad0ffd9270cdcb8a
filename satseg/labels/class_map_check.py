"""Compare class maps with labels: values that a class map lacks, and keys that no value matches."""

from __future__ import annotations

import difflib
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from satseg.arguments import list_few
from satseg.classes import BACKGROUND
from satseg.errors import ClassRasterError
from satseg.labels.class_found import LISTED, listed
from satseg.labels.class_map import IGNORE, OTHERS, ClassMap, spell_pair

_FEW = 3  # files that a message lists one by one
_ALIKE = 0.75  # similarity in 0..1, as difflib measures it, from which a value is suggested
_SIGNIFICANT = 3  # characters of a pattern from which a value is suggested
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
    """Labels or maps hold values that a class map does not map.

    Args:
        found: File, counts by value, and what was counted (``feature`` or ``px``).
        class_map: The class map.
        remark: A sentence before the hint.
    """

    def __init__(self, found: Sequence[tuple[str, Counter[str], str]], class_map: ClassMap, remark: str = "") -> None:
        message, hint = unnamed_message(found, class_map)
        super().__init__(message, hint=f"{remark} {hint}".lstrip())
        self.found = tuple(found)
        self.class_map = class_map
        self.remark = remark

    @classmethod
    def joined(cls, errors: Sequence[UnnamedValuesError]) -> UnnamedValuesError:
        """Merge errors of one class map."""
        remark = next((error.remark for error in errors if error.remark), "")
        found = [part for error in errors for part in error.found]
        return cls(found if len(found) <= _FEW else _summed(found), errors[0].class_map, remark)


def _summed(found: Sequence[tuple[str, Counter[str], str]]) -> list[tuple[str, Counter[str], str]]:
    """Merge the values of all files that are counted in the same unit."""
    made = []
    for unit in dict.fromkeys(unit for _, _, unit in found):
        parts = [(path, counts) for path, counts, other in found if other == unit]
        where = f"{parts[0][0]}, with {len(parts) - 1:,} more," if len(parts) > 1 else parts[0][0]
        made.append((where, sum((counts for _, counts in parts), Counter[str]()), unit))
    return made


def unnamed_message(found: Sequence[tuple[str, Counter[str], str]], class_map: ClassMap) -> tuple[str, str]:
    """Return message and hint about values that a class map does not map.

    Args:
        found: File, counts by value, and what was counted (``feature`` or ``px``).
        class_map: The class map.
    """
    counts: Counter[str] = sum((part for _, part, _ in found), Counter())
    values = [value for value, _ in counts.most_common()]
    unnamed = "; ".join(
        f"{path} holds the value{'s' if len(part) > 1 else ''} {listed(part, unit)}" for path, part, unit in found
    )
    meant = [f"{value!r} by {key!r}" for value in values[:LISTED] if (key := _alike(value, class_map.names))]
    hint = f"Did you mean {', '.join(meant)}? " if meant else ""
    others = f"`class_map='{OTHERS}={IGNORE}'` to ignore the rest."
    message = f"{unnamed}, which `class_map` does not name."
    if len(values) > LISTED:
        return (
            message,
            f"{hint}Write all of them to a table classes.csv {_table_line(found)}; edit it, and add "
            f"`class_map='classes.csv'`; or add {others}",
        )
    pairs = ",".join(spell_pair(value, likely_class(value)) for value in values)
    return (
        message,
        f"{hint}Add `class_map={pairs!r}`, with other names for another class, {BACKGROUND} or {IGNORE}; or add "
        f"{others}",
    )


def _table_line(found: Sequence[tuple[str, Counter[str], str]]) -> str:
    """Return the command that writes the values of labels to a table."""
    path, _, unit = found[0]
    file = shlex.quote(path) if len(found) == 1 and not path.endswith(" more,") else "FILE"
    return f"with `satseg.info` of {file}, {'`class_field` and ' if unit == 'feature' else ''}`class_map='-'`"


def likely_class(value: str) -> str:
    """Return the class that a value suggests: its own text, or ``ignore`` for texts such as ``no data``.

    Numbers and colours become ``class N``, the name of unnamed classes.
    """
    if value.strip().casefold() in _NO_DATA or re.fullmatch(r"-\d+(\.\d+)?", value):
        return IGNORE
    text = value.strip()
    return f"class {text}" if _is_number(text) else text


def unmatched_message(
    path: str, class_map: ClassMap, values: Mapping[str, Iterable[str]], *, only_alike: bool = False
) -> str | None:
    """Return a warning about the keys of a class map that no value matches; None if there are none.

    Keys of ``ignore`` and ``background`` are reported only if they resemble a value.

    Args:
        path: Files of the values.
        class_map: The class map.
        values: Values as users write them, with all keys that match each.
        only_alike: Whether only keys that resemble a value are reported.
    """
    spellings = {spelling for keys in values.values() for spelling in keys}
    unnamed = [value for value, keys in values.items() if not any(map(class_map.find, keys))]
    unmatched: list[str] = []
    lost: list[str] = []
    met = {IGNORE, BACKGROUND, *values}
    for key, name in class_map.names.items():
        if class_map.meets(key, spellings):
            met.add(name)
            continue
        meant = _alike(key, unnamed)
        if meant is not None:
            lost.append(name)
            unmatched.insert(0, f"{key!r} (did you mean {meant!r}?)")
        elif not only_alike and name not in (IGNORE, BACKGROUND):
            unmatched.append(f"{key!r}")
            lost.append(name)
    if not unmatched:
        return None
    message = f"{path} has none of these values of `class_map`: {list_few(unmatched, LISTED)}."
    empty = [name for name in dict.fromkeys(lost) if name not in met]
    plural = "es remain" if len(empty) > 1 else " remains"
    return f"{message} The class{plural} empty: {list_few(empty, LISTED)}." if empty else message


def _alike(text: str, others: Collection[str]) -> str | None:
    """Return the most similar of other texts, if any is similar enough; numbers are never similar.

    For a pattern, its longest part without ``*`` is compared with the beginning of the others, or with their end if it
    follows a ``*``.
    """
    if _is_number(text):
        return None
    piece = max(text.casefold().split(OTHERS), key=len)
    if OTHERS in text and len(piece) < _SIGNIFICANT:
        return None
    part = slice(None)
    if OTHERS in text:
        part = slice(len(piece)) if text.casefold().startswith(piece) else slice(-len(piece), None)
    folded = {other.casefold()[part]: other for other in others if other != OTHERS and not _is_number(other)}
    found = difflib.get_close_matches(piece, folded, 1, _ALIKE)
    return folded[found[0]] if found else None


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdigit() or text.startswith("#")
