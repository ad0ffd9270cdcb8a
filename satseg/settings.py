"""Settings: options that are declared once, at a field of a frozen dataclass.

To add an option, add a field to a settings class:

    class VectorizeSettings(Settings):
        band: Annotated[int, Option("Band to trace, counted from 1.", metavar="N", minimum=1)] = 1

From this field follow the flag ``--band`` (``satseg.cli.binding``), the argument ``VectorizeSettings(band=3)`` and its
line in the docstring, the checks of type, choices and range, the words of the command that outputs keep
(:meth:`Settings.words`), its entry in JSON (:meth:`Settings.record`), and the option reference of the documentation
(:func:`option_reference`). Write the help so that it reads well in all of these: name other options in backticks as
Python does, ``"Ignored with `raw`."``; the command line turns them into flags.

A value that may be passed in several forms, such as ``"4GB"`` or a number of bytes, is declared as
``Annotated[Given[str | int, int], Option(...)] = Given(byte_size, default)``; its converter also takes the text that is
typed on the command line, and the value that it returns. ``recorded=False`` marks what changes how a run goes, but not
its result. A field that is itself a ``Settings`` record groups options in Python; the command line shows them flat.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import (
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from satseg.arguments import Given, join_names
from satseg.errors import UsageError
from satseg.results import as_json
from satseg.signatures import check_fields, misfit

INPUTS, WEIGHTS, OUTPUTS, POLYGONS = "Inputs", "Initial weights", "Outputs", "Polygons"
QUALITY, WINDOWS, PERFORMANCE = "Quality", "Windows", "Performance"
OBJECTS = "Objects"
LABELS, TILES, SPLITTING = "Labels", "Tiles", "Splits"
MEASURES, OPTIMIZATION, LOSS = "Measures", "Optimization", "Loss and sampling"
PANELS = (
    *(INPUTS, WEIGHTS, LABELS, TILES, SPLITTING, MEASURES, OPTIMIZATION, LOSS),
    *(OUTPUTS, OBJECTS, POLYGONS, QUALITY, WINDOWS, PERFORMANCE),
)
"""Panels of the help, in their order."""

_LINE = 116  # characters of a line of generated docstrings


@dataclass(frozen=True)
class Option:
    """What a field says of its option.

    Args:
        help: One or more sentences, for the command line, docstrings and the documentation.
        panel: Heading below which the help of the command line lists it; None lists it first, without one.
        metavar: Placeholder of the value; None takes the choices of a ``Literal``, else a word for the type.
        short: Short flag, such as ``-o``.
        repeated: Whether the flag may be given more than once; the field then takes a sequence of values.
        minimum: Smallest number.
        maximum: Largest number.
        recorded: Whether the result depends on it, so that outputs note it.
        python_only: Whether the command line leaves it out.
        complete: Returns the values, with a remark each, that begin with what was typed, for completion in the shell.
    """

    help: str
    panel: str | None = None
    metavar: str | None = None
    short: str | None = None
    repeated: bool = False
    minimum: float | None = None
    maximum: float | None = None
    recorded: bool = True
    python_only: bool = False
    complete: Callable[[str], list[tuple[str, str]]] | None = None


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Settings:
    """Base of settings classes: subclasses are frozen dataclasses whose fields are passed by name.

    Raises:
        UsageError: There is no such setting, or its value has another type, is no choice, or is out of range.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _types: ClassVar[dict[str, Any]]
    _options: ClassVar[tuple[OptionField, ...]]
    given: frozenset[str]
    """Names of the fields that were passed; the others have their defaults."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True, repr=False)(cls)
        hints = get_type_hints(cls)
        cls._types = {entry.name: hints[entry.name] for entry in fields(cls)}
        cls._options = tuple(_declared(cls, ()))
        _note_given(cls)
        cls.__doc__ = _with_arguments(cls)

    def __post_init__(self) -> None:
        check_fields(self)
        for option in _own_options(type(self)):
            option.check_range(getattr(self, option.name))

    def __repr__(self) -> str:
        """Return what differs from the defaults."""
        parts = [f"{name}={value!r}" for name, value in _values(self) if value != getattr(type(self), name)]
        return f"{type(self).__name__}({', '.join(parts)})"

    @classmethod
    def of_options(cls, values: Mapping[str, Any]) -> Self:
        """Return settings from values by option name, those of nested records among them."""
        passed = {}
        for name, hint in cls._types.items():
            if _is_settings(hint):
                nested = hint.of_options(values)
                if nested.given:
                    passed[name] = nested
            elif name in values:
                passed[name] = values[name]
        return cls(**passed)

    def changed(self, **values: Any) -> Self:
        """Return a copy with other values, which count as given, too."""
        return type(self)(**{**{name: getattr(self, name) for name in self.given}, **values})

    def words(self, **instead: Any) -> list[str]:
        """Return recorded settings that are not at their defaults as words of a command line that gives the same.

        Args:
            instead: Values by option name to write in place of the settings' own.
        """
        words: list[str] = []
        for option in options_of(type(self)):
            value = instead.get(option.name, option.value_in(self))
            if option.declared.recorded and value != option.default:
                words += option.words(value)
        return words

    def record(self, *, without: Sequence[str] = ()) -> dict[str, Any]:
        """Return recorded settings by option name, ready for JSON; without those named."""
        recorded = [option for option in options_of(type(self), python_only=True) if option.declared.recorded]
        return {option.name: as_json(option.value_in(self)) for option in recorded if option.name not in without}


@dataclass(frozen=True)
class OptionField:
    """An option together with the field that declares it.

    Args:
        name: Name of the field.
        path: Names of the fields that hold the record it is in; empty for the settings' own.
        declared: What the field says of it.
        type: Type of the values that it takes.
        default: Value where nothing is given.
    """

    name: str
    path: tuple[str, ...]
    declared: Option
    type: Any
    default: Any

    @property
    def flag(self) -> str:
        """The flag, ``--min-area``."""
        return "--" + self.name.replace("_", "-")

    @property
    def off_flag(self) -> str | None:
        """The flag that turns off what is on by default, ``--no-pictures``; None for all else."""
        return "--no-" + self.flag.removeprefix("--") if self.is_switch and self.default is not False else None

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return bool in self.kinds

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types of its values, None left out."""
        parts = get_args(self.type) if get_origin(self.type) in (Union, types.UnionType) else (self.type,)
        return tuple(part for part in parts if part is not type(None))

    @property
    def choices(self) -> tuple[Any, ...]:
        """What a ``Literal`` names; empty where other values are taken, too."""
        literal = all(get_origin(kind) is Literal for kind in self.kinds)
        return tuple(choice for kind in self.kinds for choice in get_args(kind)) if literal else ()

    @property
    def metavar(self) -> str | None:
        """Placeholder of the value; None for a switch."""
        if self.is_switch:
            return None
        words = {int: "N", float: "NUMBER"}
        return self.declared.metavar or "|".join(map(str, self.choices)) or words.get(self.kinds[0], "TEXT")

    @property
    def default_text(self) -> str | None:
        """The default as it would be typed; None where there is none to type."""
        if isinstance(self.default, tuple):
            return join_names(f"{part:g}" if isinstance(part, float) else part for part in self.default) or None
        if self.default is None or isinstance(self.default, bool | Mapping):
            return None
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    def value_in(self, settings: Settings) -> Any:
        """Return its value in a settings record."""
        return getattr(functools.reduce(getattr, self.path, settings), self.name)

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give a value."""
        if self.is_switch:
            return [self.flag if value else str(self.off_flag)]
        flag = self.declared.short or self.flag
        if isinstance(value, Mapping):
            value = [f"{key}={entry}" for key, entry in value.items()]
        if isinstance(value, list | tuple) and self.declared.repeated:
            return [word for entry in value for word in (flag, str(entry))]
        return [flag, join_names(value) if isinstance(value, list | tuple) else str(value)]

    def check_range(self, value: Any) -> None:
        """Check a number against the smallest and the largest one.

        Raises:
            UsageError: It is out of range.
        """
        least, most = self.declared.minimum, self.declared.maximum
        if not isinstance(value, int | float) or isinstance(value, bool):
            return
        if not (least is None or value >= least) or not (most is None or value <= most):
            bounds = [f"at least {least:g}"] if least is not None else []
            bounds += [f"at most {most:g}"] if most is not None else []
            raise UsageError(f"`{self.name}` is {value:g}; it must be {' and '.join(bounds)}.")


def options_of(settings: type[Settings], *, python_only: bool = False) -> tuple[OptionField, ...]:
    """Return the options of a settings class, in the order of its fields, with those of nested records.

    Args:
        settings: The class.
        python_only: Whether those that the command line leaves out are among them.
    """
    return tuple(option for option in settings._options if python_only or not option.declared.python_only)


def option_reference(settings: type[Settings]) -> list[dict[str, Any]]:
    """Return one plain record for each option of a settings class, for documentation.

    Its entries are name, path, flag, off_flag, short, metavar, type, choices, default, help, panel, repeated, recorded
    and python_only; all are texts, lists of texts, truth values or None.
    """
    return [
        {
            "name": option.name,
            "path": list(option.path),
            "flag": option.flag,
            "off_flag": option.off_flag,
            "short": option.declared.short,
            "metavar": option.metavar,
            "type": type_text(option.type),
            "choices": list(map(str, option.choices)),
            "default": option.default_text,
            "help": option.declared.help,
            "panel": option.declared.panel,
            "repeated": option.declared.repeated,
            "recorded": option.declared.recorded,
            "python_only": option.declared.python_only,
        }
        for option in options_of(settings, python_only=True)
    ]


def type_text(hint: Any) -> str:
    """Return a type as it is written in Python, ``int | "auto" | None``."""
    if hint is type(None):
        return "None"
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(type_text, get_args(hint)))
    if get_origin(hint) is Literal:
        return " | ".join(f'"{choice}"' if isinstance(choice, str) else repr(choice) for choice in get_args(hint))
    return inspect.formatannotation(hint).rpartition(".")[2] if isinstance(hint, type) else _shortened(hint)


def _shortened(hint: Any) -> str:
    inner = ", ".join("..." if part is Ellipsis else type_text(part) for part in get_args(hint))
    name = getattr(get_origin(hint) or hint, "__name__", str(hint))
    return f"{name}[{inner}]" if inner else name


def _declared(settings: type[Settings], path: tuple[str, ...]) -> Iterator[OptionField]:
    """Yield the options of a class before those that it inherits."""
    hints = get_type_hints(settings, include_extras=True)
    for name in dict.fromkeys(name for kind in settings.__mro__ for name in inspect.get_annotations(kind)):
        hint = hints[name]
        declared = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Option)]
        kind = get_args(hint)[0] if declared else hint
        if _is_settings(kind):
            yield from _declared(kind, (*path, name))
        elif declared:
            taken = get_args(kind)[0] if get_origin(kind) is Given else kind
            yield OptionField(name, path, declared[0], taken, getattr(settings, name))


def _own_options(settings: type[Settings]) -> Iterator[OptionField]:
    return (option for option in settings._options if not option.path)


def _is_settings(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Settings)


def _values(settings: Settings) -> Iterator[tuple[str, Any]]:
    return ((entry.name, getattr(settings, entry.name)) for entry in fields(settings))


def _note_given(settings: type[Settings]) -> None:
    """Let a settings class remember which fields were passed, and say what was meant by one that it does not have."""
    build = cast(Any, settings.__init__)
    own = {option.name: option.type for option in _own_options(settings)}
    hints = {**settings._types, **own}
    parameters = inspect.signature(build).parameters.values()
    signature = inspect.Signature(
        [part.replace(annotation=hints[part.name]) for part in parameters if part.name in hints]
    )

    @functools.wraps(build)
    def begin(self: Settings, *args: Any, **values: Any) -> None:
        try:
            signature.bind(*args, **values)
        except TypeError as error:
            raise misfit(settings.__name__, signature, values, error, hints) from None
        object.__setattr__(self, "given", frozenset(values))
        build(self, **values)

    setattr(settings, "__init__", begin)  # noqa: B010 - mypy takes it for a method of an instance
    setattr(settings, "__signature__", signature)  # noqa: B010 - likewise


def _with_arguments(settings: type[Settings]) -> str:
    """Return the docstring of a settings class with a line for each option, as in those that are written by hand."""
    lines = [inspect.cleandoc(settings.__dict__.get("__doc__") or ""), "", "Args:"]
    for option in _own_options(settings):
        text = f"{option.name}: {option.declared.help}"
        if option.default_text is not None and "Default:" not in text:
            text += f" Default: {option.default_text}."
        lines += textwrap.wrap(text, _LINE, initial_indent="    ", subsequent_indent=" " * 8)
    nested = [(name, hint) for name, hint in settings._types.items() if _is_settings(hint)]
    lines += [f"    {name}: See :class:`{hint.__name__}`." for name, hint in nested]
    return "\n".join(lines)
