"""Checks of arguments against the annotations of functions and records, with hints on what was meant."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
import types
from collections import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from satseg.arguments import Given, hint_for_files, is_dataset, is_number, is_truth, is_whole, shown
from satseg.errors import UsageError

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ADVICE = {
    "progress": "satseg.progress_bar() draws a bar, satseg.no_progress nothing; or pass a function of a ProgressEvent."
}


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Check the arguments of a function before it runs, and close its progress bar when it ends.

    Numbers of numpy become those of Python.

    Raises:
        UsageError: An argument is unknown, missing, or of another type than annotated.
    """
    return _checked(function, {})


def checked_with(**advice: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """As :func:`checked`, with hints for parameters that get a wrong type."""
    return lambda function: _checked(function, advice)


def _checked(function: Callable[_P, _R], advice: Mapping[str, str]) -> Callable[_P, _R]:
    signature = inspect.signature(function)
    progress = signature.parameters.get("progress")

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise misfit(function.__name__, signature, kwargs, error, hints_of(function)) from None
        hints = hints_of(function)
        for name, value in bound.arguments.items():
            kind = signature.parameters[name].kind
            if kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                bound.arguments[name] = plain(value)
                check(value, hints.get(name, Any), name, advice.get(name))
        callback = bound.arguments.get("progress", getattr(progress, "default", None))
        ended, paused = (getattr(callback, name, _nothing) for name in ("ended", "paused"))
        try:
            result = function(*bound.args, **bound.kwargs)
        finally:
            ended()
        return cast(_R, _ending(result, ended, paused)) if isinstance(result, Iterator) else result

    return call


def _ending(results: Iterator[Any], ended: Callable[[], object], paused: Callable[[], object]) -> Iterator[Any]:
    try:
        for result in results:
            paused()
            yield result
    finally:
        getattr(results, "close", _nothing)()
        ended()


def _nothing() -> None:
    """Do nothing: progress callbacks of users have no methods for the end and for pauses."""


def check_fields(record: Any) -> None:
    """Check the fields of a dataclass against their annotations; numbers of numpy become those of Python.

    Raises:
        UsageError: A field has another type.
    """
    hints = hints_of(cast(Any, type(record)))
    for entry in fields(record):
        if get_origin(hints[entry.name]) is Given:
            continue
        value = getattr(record, entry.name)
        check(value, hints[entry.name], entry.name)
        if (number := plain(value)) is not value:
            object.__setattr__(record, entry.name, number)


def check(value: object, hint: Any, name: str, advice: str | None = None) -> None:
    """Check a value against an annotation.

    Raises:
        UsageError: It has another type.
    """
    if not _fits(value, hint):
        alternatives = [*dict.fromkeys(_spelt(part) for part in _alternatives(hint))]
        advised = hint_for_files(value) or advice or _ADVICE.get(name)
        raise UsageError(f"`{name}` is {shown(value)}, not {' or '.join(alternatives)}.", hint=advised)


@functools.cache
def hints_of(annotated: Any) -> dict[str, Any]:
    """Return the types of the parameters of a function, or of the fields of a record, by name."""
    return get_type_hints(annotated)


def misfit(
    name: str, signature: inspect.Signature, given: Mapping[str, Any], error: TypeError, hints: Mapping[str, Any]
) -> UsageError:
    """Return the error for arguments that do not fit a function or a record, with a hint on what was meant.

    Args:
        name: Name of the function or record.
        signature: Its parameters.
        given: Arguments by name.
        error: What binding the arguments raised.
        hints: Types of the parameters by name.
    """
    for word in given:
        if word not in signature.parameters:
            near = difflib.get_close_matches(word, signature.parameters, n=1)
            within = _within(word, hints)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(signature.parameters)}."
            return UsageError(f"{name}() takes no argument {word!r}.", hint=f"Pass {within}" if within else hint)
    return UsageError(f"{name}(): {error}.", hint=f"Arguments are {', '.join(signature.parameters)}; see help({name}).")


def _within(word: str, hints: Mapping[str, Any]) -> str | None:
    """Return how a setting is passed in a record that one of the parameters takes, or None."""
    for name, hint in hints.items():
        for part in _alternatives(hint):
            if isinstance(part, type) and is_dataclass(part) and name != "return":
                inner = f"{word}=..." if word in hints_of(part) else _within(word, hints_of(part))
                if inner:
                    return f"{name}=satseg.{part.__name__}({inner})"
    return None


def plain(value: Any) -> Any:
    """Return a number of numpy as one of Python, which JSON knows, and all else as it is; numpy is not imported."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


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
        return is_truth(value)
    if hint is int:
        return is_whole(value)
    if hint is float:
        return is_number(value)
    kind = origin or hint
    if kind is abc.Callable:
        return callable(value)
    if not isinstance(kind, type):
        return True
    if kind is os.PathLike:
        return isinstance(value, os.PathLike) or is_dataset(value)
    if kind.__module__ == "typing":  # IO
        return hasattr(value, "write")
    return isinstance(value, kind) and (kind is str or not isinstance(value, str)) and _holds(value, kind, inner)


def _holds(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    """Tell whether the entries fit; iterators are not consumed."""
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
    name = getattr(kind, "__name__", str(kind))
    return "an open file" if name == "IO" else f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
