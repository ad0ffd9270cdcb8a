"""What Python callers pass: one name or many, text or paths; checked before any work begins.

A function of the library annotates what it takes with the types below, asks :func:`checked` to hold callers to its
annotations, and brings its arguments into one form with the functions below.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import types
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, Generic, Literal, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from satseg.errors import UsageError

PathLike = str | os.PathLike[str]
"""Name of a file, a URL, or a name of GDAL's own. ``~`` is not expanded, as nowhere in Python."""

Paths = PathLike | Iterable[PathLike]
"""One or several of them."""

Words = str | Iterable[str]
"""Names in one text with commas between, or a name each."""

Bands = str | int | Iterable[str | int]
"""Bands by number from 1 or by name, in one text with commas between, or one each."""

Numbers = str | float | Iterable[str | float]
"""Numbers in one text with commas between, or one each."""

Thresholds = str | Mapping[str, float] | Iterable[str]
"""Least probability by class: a dictionary, or ``building=0.7``, or several such texts."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Passed = TypeVar("_Passed", contravariant=True)
_Kept = TypeVar("_Kept", covariant=True)
_SHOWN = 60
_ADVICE = {
    "progress": "satseg.progress_bar() draws a bar, satseg.no_progress nothing; or pass a function of a ProgressEvent."
}


def path(value: PathLike | Any, name: str) -> str:
    """Return the name of one file as text.

    Args:
        value: Text, ``pathlib.Path``, or an open rasterio dataset, which is opened anew by its name.
        name: Parameter that it was passed for.

    Raises:
        UsageError: It is no name of a file.
    """
    if _is_dataset(value):
        return _name_of_dataset(value, name)
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name} is {shown(value)}, not the name of a file.", hint=_hint_for_files(value))
    text = os.fsdecode(value)
    if not text.strip():
        raise UsageError(f"{name} is empty, not the name of a file.")
    if "\0" in text:
        raise UsageError(f"{name} is {shown(text)}; no file has a null character in its name.")
    home = text.replace("\\", "/").split("/", 1)[0]
    if home.startswith("~") and os.path.expanduser(home) != home and not os.path.lexists(home):
        raise UsageError(
            f"{text} begins with {home}, which a shell expands and Python does not.",
            hint=f"Name the folder in full: {os.path.expanduser(text)}",
        )
    return text


def paths(value: Paths | Any, name: str) -> tuple[str, ...]:
    """Return names of files as a tuple, also of one alone.

    Raises:
        UsageError: One of them is no name of a file.
    """
    if is_one(value) or not isinstance(value, Iterable):
        return (path(value, name),)
    return tuple(path(entry, f"{name}[{number}]") for number, entry in enumerate(value))


def words(value: Words | Any, name: str) -> tuple[str, ...]:
    """Return names as a tuple; one text holds several with commas between.

    Raises:
        UsageError: One of them is no text, or empty.
    """
    found = tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else _listed(value, name)
    for word in found:
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"{name} holds {shown(word)}, which is no name.")
    return found


def band_names(value: Bands | Any, name: str = "bands") -> tuple[str, ...]:
    """Return bands by number or name as a tuple of texts.

    Raises:
        UsageError: One of them is neither.
    """
    if _is_whole(value):
        value = (value,)
    if not isinstance(value, str):
        value = [str(band) if _is_whole(band) else band for band in _listed(value, name)]
    return words(value, name)


def numbers(value: Numbers | Any, name: str) -> tuple[float, ...]:
    """Return numbers as a tuple, also of one alone.

    Raises:
        UsageError: One of them is no number.
    """
    parts = value.split(",") if isinstance(value, str) else (value,) if _is_number(value) else _listed(value, name)
    try:
        if any(isinstance(part, bool | np.bool_) for part in parts):
            raise ValueError
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {shown(value)}, not a list of numbers.", hint="For example: 0.75,1,1.25") from None


def whole_numbers(value: Any, name: str) -> tuple[int, ...]:
    """Return whole numbers as a tuple, also of one alone.

    Raises:
        UsageError: One of them is no whole number.
    """
    found = numbers(value, name)
    if not all(number.is_integer() for number in found):
        raise UsageError(f"{name} is {shown(value)}, not a list of whole numbers.")
    return tuple(map(int, found))


def thresholds(value: Thresholds | Any, name: str) -> tuple[str, ...]:
    """Return ``name=number`` for each entry of a dictionary; texts of that form pass as they are.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, Mapping):
        for number in value.values():
            if not _is_number(number):
                raise UsageError(f"{name} gives {shown(number)}, which is no number.")
        return tuple(f"{key}={float(number)!r}".removesuffix(".0") for key, number in value.items())
    if isinstance(value, str):
        return (value,)
    return words(value, name)


class Given(Generic[_Passed, _Kept]):
    """Field of a frozen dataclass that is passed in one of several forms and kept in one; None stays None.

    Args:
        bring: One of the functions above.
        default: Value of the field where nothing is passed.
    """

    def __init__(self, bring: Callable[[Any, str], Any], default: Any = None) -> None:
        self._bring = bring
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> _Kept:
        return self._default if instance is None else instance.__dict__[self._name]

    def __set__(self, instance: object, value: _Passed) -> None:
        instance.__dict__[self._name] = None if value is None else self._bring(value, self._name)


def check_fields(record: Any) -> None:
    """Hold the fields of a dataclass to their annotations.

    Raises:
        UsageError: One is of another type.
    """
    hints = _hints_of(cast(Any, type(record)))
    for entry in fields(record):
        if get_origin(hints[entry.name]) is not Given:
            check(getattr(record, entry.name), hints[entry.name], entry.name)


def is_one(value: object) -> bool:
    """Tell whether a value is one thing, be it of a kind that can be iterated."""
    return isinstance(value, str | bytes | os.PathLike | np.ndarray) or _is_dataset(value)


def shown(value: object) -> str:
    """Return a value as it stands in a message: on one line, cut where it is long."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and not _is_dataset(value):
        return f"an array of {' x '.join(map(str, shape))} {getattr(value, 'dtype', '')}".rstrip()
    if isinstance(value, str | int | float | list | tuple | dict | set) or value is None:
        text = " ".join(repr(value).split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"of type {type(value).__name__}"


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Hold callers of a function to its annotations, before it does anything, and close its progress bar at the end.

    numpy's numbers become Python's.

    Raises:
        UsageError: An argument is unknown, missing, or of another type than the function says.
    """
    return _checked(function, {})


def checked_with(**advice: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Do as :func:`checked`, with advice for those who pass what certain parameters do not take."""
    return lambda function: _checked(function, advice)


def _checked(function: Callable[_P, _R], advice: Mapping[str, str]) -> Callable[_P, _R]:
    signature = inspect.signature(function)
    progress = signature.parameters.get("progress")

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _misfit(function.__name__, signature, kwargs, error) from None
        hints = _hints_of(function)
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                bound.arguments[name] = _plain(value)
                check(value, hints.get(name, Any), name, advice.get(name))
        ended = getattr(bound.arguments.get("progress", getattr(progress, "default", None)), "ended", _nothing)
        try:
            result = function(*bound.args, **bound.kwargs)
        finally:
            ended()
        return cast(_R, _ending(result, ended)) if isinstance(result, Iterator) else result

    return call


def _ending(results: Iterator[Any], ended: Callable[[], object]) -> Iterator[Any]:
    try:
        yield from results
    finally:
        ended()


def _nothing() -> None:
    """Do what a progress callback of the user does at the end of a function."""


def check(value: object, hint: Any, name: str, advice: str | None = None) -> None:
    """Hold a value to an annotation.

    Raises:
        UsageError: It is of another type.
    """
    if not _fits(value, hint):
        alternatives = [*dict.fromkeys(_spelt(part) for part in _alternatives(hint))]
        advised = _hint_for_files(value) or advice or _ADVICE.get(name)
        raise UsageError(f"{name} is {shown(value)}, not {' or '.join(alternatives)}.", hint=advised)


@functools.cache
def _hints_of(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated)


def _misfit(name: str, signature: inspect.Signature, given: Mapping[str, Any], error: TypeError) -> UsageError:
    for word in given:
        if word not in signature.parameters:
            near = difflib.get_close_matches(word, signature.parameters, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(signature.parameters)}."
            return UsageError(f"{name}() takes no argument {word!r}.", hint=hint)
    return UsageError(f"{name}(): {error}.", hint=f"Arguments are {', '.join(signature.parameters)}; see help({name}).")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or isinstance(hint, TypeVar | str):
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return _is_whole(value)
    if hint is float:
        return _is_number(value)
    kind = origin or hint
    if kind is abc.Callable:
        return callable(value)
    if not isinstance(kind, type):
        return True
    if kind is os.PathLike:
        return isinstance(value, os.PathLike) or _is_dataset(value)
    if kind.__module__ == "typing":  # IO
        return hasattr(value, "write")
    return isinstance(value, kind) and (kind is str or not isinstance(value, str)) and _holds(value, kind, inner)


def _holds(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    """Tell whether the entries fit; those of what can be iterated but once are left alone."""
    if issubclass(kind, Mapping) and len(inner) == 2:
        return all(_fits(key, inner[0]) and _fits(entry, inner[1]) for key, entry in value.items())
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if isinstance(value, Sequence) and inner:
        return all(_fits(entry, inner[0]) for entry in value)
    return True


def _alternatives(hint: Any) -> Iterable[Any]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _spelt(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", type(None): "None"}
    if hint in names:
        return names[hint]
    origin, inner = get_origin(hint), get_args(hint)
    kind = origin or hint
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if kind is os.PathLike:
        return "a path"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a dictionary"
    if isinstance(kind, type) and issubclass(kind, Iterable) and inner:
        return "a list of them"
    if kind is abc.Callable:
        return "a function"
    return f"a {getattr(kind, '__name__', kind)}"


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _listed(value: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise UsageError(f"{name} is {shown(value)}, not a list.")
    return tuple(value)


def _is_dataset(value: object) -> bool:
    """Tell whether a value is an open dataset of rasterio, without importing it."""
    return type(value).__module__.split(".")[0] == "rasterio" and hasattr(value, "crs") and hasattr(value, "name")


def _name_of_dataset(dataset: Any, name: str) -> str:
    """Return what GDAL opens a dataset of rasterio by once more."""
    if dataset.mode != "r" and not dataset.closed:
        raise UsageError(
            f"{name} is the dataset {dataset.name}, which is open for writing.",
            hint="Close it first, and pass its name.",
        )
    if type(dataset).__name__ == "WarpedVRT" or dataset.driver == "MEM":
        raise UsageError(
            f"{name} is a dataset that is in the memory of this process alone ({dataset.name}).",
            hint="Write it to a file, or read it and pass satseg.SceneSource.from_array(...).",
        )
    return str(dataset.name)


def _hint_for_files(value: object) -> str | None:
    if hasattr(value, "shape"):
        return "An array does not say where it lies: satseg.SceneSource.from_array(array, transform=..., crs=...)"
    return None
