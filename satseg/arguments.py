"""Parse and validate arguments of public functions that have several forms, such as a name, a path, or several.

Public functions annotate their parameters with the types below, and convert arguments with the functions below;
:mod:`satseg.signatures` checks calls against the annotations.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Generic, Literal, TypeVar

from satseg.errors import UsageError

PathLike = str | os.PathLike[str]
"""A file name, URL or GDAL name. ``~`` is not expanded."""

Paths = PathLike | Iterable[PathLike]
"""One or several paths."""

Words = str | Iterable[str]
"""Names: one comma-separated text (:func:`split_names`), or a list."""

STEM = "{stem}"
"""Placeholder for the name of the scene in names of files."""

Bands = str | int | Iterable[str | int]
"""Bands by number from 1 or by name: one comma-separated text, or a list."""

Numbers = str | float | Iterable[str | float]
"""Numbers: one comma-separated text, or a list."""

Thresholds = str | Mapping[str, float] | Iterable[str]
"""Minimum probability by class: a dictionary, or ``building=0.7``, or several such texts."""

Crs = Any
"""``EPSG:4326``, its number, WKT, or a CRS object of rasterio or pyproj."""

_Passed = TypeVar("_Passed", contravariant=True)
_Kept = TypeVar("_Kept", covariant=True)
_SHOWN = 60
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def path(value: PathLike | Any, name: str) -> str:
    """Return a file name as text.

    Args:
        value: Text, ``pathlib.Path``, or an open rasterio dataset, which is reopened by its name.
        name: Name of the parameter.

    Raises:
        UsageError: It is not a file name.
    """
    if is_dataset(value):
        return _name_of_dataset(value, name)
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"`{name}` is {shown(value)}, not the name of a file.", hint=hint_for_files(value))
    text = os.fsdecode(value)
    if not text.strip():
        raise UsageError(f"`{name}` is empty, not the name of a file.")
    if "\0" in text:
        raise UsageError(f"`{name}` is {shown(text)}; file names cannot contain a null character.")
    home = text.replace("\\", "/").split("/", 1)[0]
    if home.startswith("~") and os.path.expanduser(home) != home and not os.path.lexists(home):
        raise UsageError(
            f"{text} begins with {home}, which a shell expands and Python does not.",
            hint=f"Name the folder in full: {os.path.expanduser(text)}",
        )
    return text


def paths(value: Paths | Any, name: str) -> tuple[str, ...]:
    """Return one or several file names as a tuple.

    Raises:
        UsageError: One of them is not a file name.
    """
    if is_one(value) or isinstance(value, Mapping) or not isinstance(value, Iterable):
        return (path(value, name),)
    return tuple(path(entry, f"{name}[{number}]") for number, entry in enumerate(value))


def words(value: Words | Any, name: str) -> tuple[str, ...]:
    """Return names as a tuple; a single text is comma-separated.

    Raises:
        UsageError: One of them is not a text, or empty.
    """
    found = split_names(value) if isinstance(value, str) else _listed(value, name)
    for word in found:
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"`{name}` holds {shown(word)}, which is not a name.")
    return found


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated text; names with commas are in double quotes, as in CSV."""
    line = " ".join(text.splitlines())
    return tuple(name.strip() for row in csv.reader([line], skipinitialspace=True) for name in row) or ("",)


def file_and_name(text: str) -> tuple[str, str]:
    r"""Split ``file:name``; the file is empty if there is none.

    The colon after a drive letter (``C:\nets\mine.py``) is no separator.
    """
    file, _, name = text.rpartition(":")
    is_drive = len(file) == 1 and file.isalpha() and name.startswith(("/", "\\"))
    return ("", text) if is_drive else (file, name)


def join_names(names: Iterable[object]) -> str:
    """Return names as one comma-separated text, the inverse of :func:`split_names`."""
    return ",".join(_quoted(str(name)) for name in names)


def list_few(names: Sequence[object], most: int = 3) -> str:
    """Return the first names and the number of others, for a message."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name


def band_names(value: Bands | Any, name: str = "bands") -> tuple[str, ...]:
    """Return bands by number or name as a tuple of texts.

    Raises:
        UsageError: One of them is neither.
    """
    if is_whole(value):
        value = (value,)
    if not isinstance(value, str):
        value = [str(band) if is_whole(band) else band for band in _listed(value, name)]
    return words(value, name)


def numbers(value: Numbers | Any, name: str) -> tuple[float, ...]:
    """Return one or several numbers as a tuple.

    Raises:
        UsageError: One of them is not a number.
    """
    parts = value.split(",") if isinstance(value, str) else (value,) if is_number(value) else _listed(value, name)
    try:
        if any(is_truth(part) for part in parts):
            raise ValueError
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        message = f"`{name}` is {shown(value)}, not a list of numbers."
        raise UsageError(message, hint="For example: 0.75,1,1.25") from None


def whole_numbers(value: Any, name: str) -> tuple[int, ...]:
    """Return one or several whole numbers as a tuple.

    Raises:
        UsageError: One of them is not a whole number.
    """
    try:
        found = numbers(value, name)
    except UsageError as error:
        raise UsageError(error.message.replace("of numbers", "of whole numbers"), hint="For example: 0,255") from None
    if not all(number.is_integer() for number in found):
        raise UsageError(f"`{name}` is {shown(value)}, not a list of whole numbers.")
    return tuple(map(int, found))


def thresholds(value: Thresholds | Any, name: str) -> tuple[str, ...]:
    """Return ``name=number`` for each entry of a dictionary; texts of that form are unchanged.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, Mapping):
        for number in value.values():
            if not is_number(number):
                raise UsageError(f"`{name}` gives {shown(number)}, which is not a number.")
        return tuple(f"{key}={float(number)!r}".removesuffix(".0") for key, number in value.items())
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable):
        raise UsageError(f"`{name}` is {shown(value)}, not a dictionary.", hint='For example: {"building": 0.7}')
    return words(value, name)


def byte_size(value: str | int | Any, name: str) -> int:
    """Return a number of bytes, given as such or as ``512MB``, ``4GB`` (powers of ten), ``4GiB`` (powers of two).

    Raises:
        UsageError: It is not a size.
    """
    if is_whole(value):
        return int(value)
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise UsageError(
            f"`{name}` is {shown(value)}, not a size.", hint="For example: 512MB, 4GB or a number of bytes."
        )
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " "))


def pixels(value: str | int | Any, name: str) -> int:
    """Return a whole number of pixels, given as such or as ``256`` or ``256px``.

    Raises:
        UsageError: It is not a number of pixels.
    """
    if is_whole(value):
        return int(value)
    text = value.strip().removesuffix("px").strip() if isinstance(value, str) else ""
    if not text.removeprefix("-").isdecimal():
        raise UsageError(f"`{name}` is {shown(value)}, not a whole number of pixels.", hint="For example: 256 or 256px")
    return int(text)


def pixels_or_auto(value: str | int | Any, name: str) -> int | Literal["auto"]:
    """Return a whole number of pixels, as :func:`pixels` does, or ``auto``.

    Raises:
        UsageError: It is neither.
    """
    if value == "auto":
        return "auto"
    try:
        return pixels(value, name)
    except UsageError:
        raise UsageError(f"`{name}` is {shown(value)}, neither a whole number of pixels nor auto.") from None


def whole_or_auto(value: str | int | Any, name: str) -> int | Literal["auto"]:
    """Return a whole number, given as such or as text, or ``auto``.

    Raises:
        UsageError: It is neither.
    """
    if value == "auto":
        return "auto"
    if not is_whole(value) and not (isinstance(value, str) and value.strip().isdecimal()):
        raise UsageError(f"`{name}` is {shown(value)}, neither a whole number nor auto.")
    return int(value)


def number_or_auto(value: str | float | Any, name: str) -> float | Literal["auto"]:
    """Return a number, given as such or as text, or ``auto``.

    Raises:
        UsageError: It is neither.
    """
    if value == "auto":
        return "auto"
    try:
        (number,) = numbers(value, name)
    except (UsageError, ValueError):
        raise UsageError(f"`{name}` is {shown(value)}, neither a number nor auto.") from None
    return number


def crs_name(value: Any, name: str) -> str:
    """Return a CRS as text: ``EPSG:4326`` if it has a number, else WKT.

    Raises:
        UsageError: It is not a CRS.
    """
    if is_whole(value):
        return f"EPSG:{value}"
    if isinstance(value, str):
        return value
    if not hasattr(value, "to_wkt"):
        raise UsageError(f"`{name}` is {shown(value)}, not a CRS.", hint="For example: EPSG:4326")
    number = value.to_epsg()
    return value.to_wkt() if number is None else f"EPSG:{number}"


class Given(Generic[_Passed, _Kept]):
    """Field of a frozen dataclass that takes several forms and stores one; None stays None.

    Args:
        convert: One of the functions above.
        default: Default value of the field.
    """

    def __init__(self, convert: Callable[[Any, str], Any], default: Any = None) -> None:
        self._convert = convert
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> _Kept:
        return self._default if instance is None else instance.__dict__[self._name]

    def __set__(self, instance: object, value: _Passed) -> None:
        instance.__dict__[self._name] = None if value is None else self._convert(value, self._name)


def is_one(value: object) -> bool:
    """Tell whether a value is a single object, even if it is iterable."""
    return isinstance(value, str | bytes | os.PathLike) or len(getattr(value, "shape", "?")) != 1


def shown(value: object) -> str:
    """Return a value for a message: on one line, cut short."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and hasattr(value, "dtype"):
        return f"an array of {' x '.join(map(str, shape))} {getattr(value, 'dtype', '')}".rstrip()
    if isinstance(value, str | int | float | list | tuple | dict | set) or value is None:
        text = " ".join(repr(value).split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"of type {type(value).__name__}"


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number of Python or numpy."""
    return isinstance(value, Integral) and not is_truth(value)


def is_number(value: object) -> bool:
    """Tell whether a value is a real number of Python or numpy."""
    return isinstance(value, Real) and not is_truth(value)


def _listed(value: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"`{name}` is {shown(value)}, not a list.")
    return tuple(value)


def is_dataset(value: object) -> bool:
    """Tell whether a value is an open dataset of rasterio, without importing it."""
    return type(value).__module__.split(".")[0] == "rasterio" and hasattr(value, "crs") and hasattr(value, "name")


def _name_of_dataset(dataset: Any, name: str) -> str:
    """Return the name by which GDAL can reopen a dataset of rasterio."""
    if dataset.mode != "r" and not dataset.closed:
        raise UsageError(
            f"`{name}` is the dataset {dataset.name}, which is open for writing.",
            hint="Close it first, and pass its name.",
        )
    if type(dataset).__name__ == "WarpedVRT" or dataset.driver == "MEM":
        raise UsageError(
            f"`{name}` is a dataset in the memory of this process ({dataset.name}).",
            hint="Write it to a file, or read it and pass satseg.SceneSource.from_array(...).",
        )
    return str(dataset.name)


def hint_for_files(value: object) -> str | None:
    """Return a hint for a value that is not a file name."""
    if hasattr(value, "to_file"):
        return "Write it to a file first: .to_file('labels.gpkg')"
    if hasattr(value, "shape"):
        return "An array has no position: `satseg.SceneSource.from_array(array, transform=..., crs=...)` gives it one."
    return None


def is_truth(value: object) -> bool:
    """Tell whether a value is a boolean of Python or numpy, without importing numpy."""
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
