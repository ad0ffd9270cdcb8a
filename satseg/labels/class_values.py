"""Assign classes to the values of class rasters, by one rule for labels and maps.

A class map decides first, then the names in the raster. Values without a name are classes of their own; ambiguous
values are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from satseg.classes import IGNORE_INDEX, MAX_CLASSES, ClassTable
from satseg.errors import ClassRasterError
from satseg.labels.class_bands import ClassBands
from satseg.labels.class_found import FoundValues, Reading, Use, colour_name
from satseg.labels.class_map import IGNORE, OTHERS, ClassMap
from satseg.labels.class_questions import refuse_ambiguous, refuse_unnamed
from satseg.records import Progress, ProgressEvent, no_progress

PIXELS_AT_ONCE = 2**20  # pixels

UNKNOWN = ""
"""Stands for no class: unlabelled. Labels below show through, unlike below ``ignore``."""

_NO_CLASSES = {IGNORE, UNKNOWN}


class ClassValues:
    """The values of class rasters that belong together, and the class of each.

    All rasters are read once, block by block, except maps that satseg wrote, whose classes are known.

    Args:
        paths: The rasters.
        reading: How they are interpreted.
        progress: Called after each raster.

    Raises:
        ClassRasterError: One of them is not a class raster or cannot be read, or their values are ambiguous.
        UsageError: A band does not exist.
    """

    def __init__(self, paths: Sequence[str | Path], reading: Reading, progress: Progress = no_progress) -> None:
        self._reading = reading
        files = []
        for path in (names := list(dict.fromkeys(map(str, paths)))):
            files.append(FoundValues.of(path, reading))
            progress(ProgressEvent("Reading values", len(files), len(names), "raster"))
        coloured = [file for file in files if file.coloured]
        if all(file.grey for file in coloured):  # values stored three times
            files = [file.as_values() if file.coloured else file for file in files]
        self._files = {file.path: file for file in files}
        refuse_ambiguous(files, reading)
        if reading.class_map is not None:
            missing = {file.path: counts for file in files if (counts := self._missing(file))}
            refuse_unnamed(missing, reading.class_map)
        self._classes = {file.path: self._resolve(file) for file in files}
        if reading.use is Use.LABELS and not any(self.names_of(path) for path in self._classes):
            raise ClassRasterError(
                f"{files[0].path} holds no labels: all pixels are nodata, unlabelled or {IGNORE_INDEX}."
            )

    @property
    def nameless(self) -> bool:
        """Whether no class has a name, neither from the rasters nor from a class map."""
        return bool(self.pairs) and all(name == own_name(code) for code, name in self.pairs)

    @property
    def mapped(self) -> bool:
        """Whether there is a class map."""
        return self._reading.class_map is not None

    @cached_property
    def pairs(self) -> set[tuple[int, str]]:
        """Values and their classes, over all rasters."""
        pairs = {pair for classes in self._classes.values() for pair in classes.items()}
        return {pair for pair in pairs if pair[1] not in _NO_CLASSES}

    @property
    def paths(self) -> list[str]:
        """The rasters."""
        return list(self._files)

    @cached_property
    def spellings(self) -> dict[str, tuple[str, ...]]:
        """Values as users write them, with all keys by which a class map may refer to each, over all rasters.

        They include values that a raster names but does not contain.
        """
        files = self._files.values()
        return {
            file.spell(code): tuple(self._keys(code, file))
            for file in files
            for code in dict.fromkeys([*file.counts, *file.metadata.names])
        }

    @cached_property
    def names(self) -> list[str]:
        """Class names in the order of their values, without ``ignore``."""
        return list(dict.fromkeys(name for _, name in sorted(self.pairs)))

    @cached_property
    def codes(self) -> list[int]:
        """Values that have a class, ascending."""
        return sorted({code for code, _ in self.pairs})

    @cached_property
    def colours(self) -> dict[str, str]:
        """Colour by class, as far as the raster defines it."""
        found: dict[str, str] = {}
        for path, file in self._files.items():
            for code, name in self._classes[path].items():
                colour = colour_name(code) if file.coloured else file.metadata.colours.get(code)
                if colour is not None:
                    found.setdefault(name, colour)
        return found

    @property
    def table(self) -> ClassTable | None:
        """The class table that satseg stored in all of the rasters, unless there is a class map; or None."""
        first, *others = (file.metadata.table for file in self._files.values())
        alike = first is not None and all(table is not None and table.names == first.names for table in others)
        return first if alike and self._reading.class_map is None else None

    def classes_of(self, path: str) -> Mapping[int, str]:
        """Return the class of each value of a raster, which may be ``ignore`` or ``UNKNOWN``."""
        return self._classes[path]

    def names_of(self, path: str) -> set[str]:
        """Return the classes of a raster, without ``ignore``."""
        return set(self._classes[path].values()) - _NO_CLASSES

    def open(self, path: str) -> ClassBands:
        """Open one of the rasters with the settings with which its values were found.

        Raises:
            ClassRasterError: It can no longer be opened.
        """
        return self._files[path].open()

    def _missing(self, file: FoundValues) -> Counter[str]:
        """Return the pixels of each value, as users write it, that the class map does not map."""
        counts = file.counts.items()
        return Counter({file.spell(code): count for code, count in counts if self._class_of(code, file) is None})

    def _resolve(self, file: FoundValues) -> dict[int, str]:
        """Return the class of each value of a raster."""
        found = {code: self._class_of(code, file) for code in sorted(file.counts)}
        classes = {code: name for code, name in found.items() if name is not None}
        count = len(set(classes.values()) - _NO_CLASSES)
        if count > MAX_CLASSES:
            raise ClassRasterError(f"{file.path} has {count} classes; a class raster has at most {MAX_CLASSES}.")
        return classes

    def _class_of(self, code: int, file: FoundValues) -> str | None:
        """Return the class of a value; None if the class map should map it but does not."""
        reading, own = self._reading, file.metadata.names.get(code)
        if not file.coloured and code in reading.unlabelled:
            return UNKNOWN
        class_map = reading.class_map or ClassMap({})
        names = class_map.names
        named = next((names[key] for key in self._keys(code, file) if key in names), None)
        if named is not None:
            return named
        if code == IGNORE_INDEX and not file.coloured:  # patterns do not match it
            return UNKNOWN
        alike = next(filter(None, map(class_map.find, self._keys(code, file))), None)
        if alike is not None:
            return alike
        if not self._is_mapped(file):
            return own or own_name(code)
        if own is not None and (reading.use is Use.MAP or class_map.kept(own)):
            return own
        return names.get(OTHERS)

    def _is_mapped(self, file: FoundValues) -> bool:
        """Tell whether the class map applies to a raster; for a map compared with labels, it may not."""
        if self._reading.class_map is None or self._reading.use is not Use.MAP:
            return self._reading.class_map is not None
        find = self._reading.class_map.find
        return any(find(key) for code in file.counts for key in self._keys(code, file))

    def _keys(self, code: int, file: FoundValues) -> Iterable[str]:
        """Return the keys by which a class map may refer to a value; numbers refer to the labels if a map has names."""
        own = file.metadata.names.get(code)
        named = own is not None and own != own_name(code)
        return (own,) if own is not None and named and self._reading.use is Use.MAP else file.keys(code)


def own_name(code: int) -> str:
    """Return the name of a class without a name."""
    return f"class {code}"


class Translation:
    """Translates the codes of a raster into class ids.

    Args:
        classes: Class name by code.
        ids: Id by class name; ``ignore`` and ``UNKNOWN`` are 255.

    Attributes:
        known: The values that have a class, for messages.
    """

    def __init__(self, classes: Mapping[int, str], ids: Mapping[str, int]) -> None:
        classes = {IGNORE_INDEX: UNKNOWN} | dict(classes)  # a map that was not read may hold 255
        known = dict(ids) | dict.fromkeys(_NO_CLASSES, IGNORE_INDEX)
        self._codes = np.array(sorted(classes), dtype=np.int64)
        self.known = ", ".join(str(code) for code, name in sorted(classes.items()) if name != UNKNOWN)
        self._ids = np.array([known[classes[code]] for code in sorted(classes)], dtype=np.uint8)

    def __call__(self, codes: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (row, col) uint8 class ids, 255 if unknown; and bool, where a code has no class."""
        if codes.dtype == np.uint8:
            table, known = np.full(256, IGNORE_INDEX, dtype=np.uint8), np.zeros(256, dtype=bool)
            table[self._codes], known[self._codes] = self._ids, True
            return np.where(valid, table[codes], np.uint8(IGNORE_INDEX)), valid & ~known[codes]
        ids, wrong = np.full(codes.shape, IGNORE_INDEX, dtype=np.uint8), np.zeros(codes.shape, dtype=bool)
        for rows in np.array_split(np.arange(len(codes)), -(-codes.size // PIXELS_AT_ONCE)):  # limits memory
            part = slice(rows[0], rows[-1] + 1)
            at, found = find(self._codes, codes[part], valid[part])
            np.copyto(ids[part], self._ids[at], where=found)
            wrong[part] = valid[part] & ~found
        return ids, wrong


def find(known: np.ndarray, codes: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of each pixel's code among ascending known ones, and whether it is known, both (row, col)."""
    if not len(known):
        return np.zeros(codes.shape, dtype=np.intp), np.zeros(codes.shape, dtype=bool)
    at = np.searchsorted(known, codes).clip(max=len(known) - 1)
    return at, valid & (known[at] == codes)
