"""Settings on the command line: a flag for each field of a settings class.

    @takes(VectorizeSettings)
    def vectorize(ctx: typer.Context, rasters: ..., settings: VectorizeSettings, json: options.Json = False) -> None:

The command gets the flags in place of its parameter ``settings``, and is called with the record that they make. What
was not given, on the command line or by the environment, is not passed to the record: see ``Settings.given``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from satseg.cli.flags import with_flags
from satseg.settings import PANELS, OptionField, Settings, options_of

_PANELS = (None, *PANELS)
_NOT_GIVEN = ("DEFAULT", "DEFAULT_MAP")

Command = Callable[..., None]


def takes(*classes: type[Settings]) -> Callable[[Command], Command]:
    """Turn each parameter of a command that is annotated with a settings class into the options of that class.

    Args:
        classes: The settings classes. Their options have different names.
    """

    def bind(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        records = {parameter.name: parameter.annotation for parameter in own if parameter.annotation in classes}
        options = [option for settings in records.values() for option in options_of(settings)]
        flags = {option.name: option.flag for option in options}
        others = {parameter.name: "--" + parameter.name.replace("_", "-") for parameter in own if _is_option(parameter)}

        @functools.wraps(command)
        def run(ctx: typer.Context, **values: Any) -> None:
            given = {name: values.pop(name) for name in flags if name in values and _is_given(ctx, name)}
            arguments = {name: value for name, value in values.items() if name not in flags}
            made = {name: settings.of_options(given) for name, settings in records.items()}
            command(ctx=ctx, **arguments, **made)

        parameters = [part for parameter in own for part in _expanded(parameter, classes, flags | others)]
        parameters.sort(key=_rank)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return bind


def _is_option(parameter: Parameter) -> bool:
    return any(isinstance(extra, OptionInfo) for extra in getattr(parameter.annotation, "__metadata__", ()))


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name not in _NOT_GIVEN


def _expanded(parameter: Parameter, classes: Collection[type[Settings]], flags: Mapping[str, str]) -> list[Parameter]:
    if parameter.annotation in classes:
        return [_as_parameter(option, flags) for option in options_of(parameter.annotation)]
    return [parameter.replace(kind=Parameter.KEYWORD_ONLY)]


def _rank(parameter: Parameter) -> int:
    """Return the place of a parameter's panel in the help; panels that only one command has come last."""
    panels = [getattr(extra, "rich_help_panel", None) for extra in get_args(parameter.annotation)[1:]]
    panel = panels[0] if panels else None
    return _PANELS.index(panel) if panel in _PANELS else len(_PANELS)


def _as_parameter(option: OptionField, flags: Mapping[str, str]) -> Parameter:
    kind, default, declaration = _kind(option), _default(option), as_option(option, flags)
    values = list[kind] if option.declared.repeated else kind  # type: ignore[valid-type]
    annotation = Annotated[values | None, declaration] if default is None else Annotated[values, declaration]
    return Parameter(option.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def as_option(option: OptionField, flags: Mapping[str, str] | None = None) -> OptionInfo:
    """Return what Typer needs to know of an option.

    Args:
        option: The option.
        flags: Flags of the settings that its help may name.
    """
    declared, is_number = option.declared, _kind(option) in (int, float)
    declaration: OptionInfo = typer.Option(
        *_spellings(option),
        help=with_flags(declared.help, flags or {}).replace("[", "\\["),
        metavar=option.metavar,
        rich_help_panel=declared.panel,
        min=declared.minimum if is_number else None,
        max=declared.maximum if is_number else None,
        autocompletion=declared.complete or _completion(option),
    )
    return declaration


def _spellings(option: OptionField) -> list[str]:
    flag = option.flag if option.off_flag is None else f"{option.flag}/{option.off_flag}"
    return [flag] if option.declared.short is None else [flag, option.declared.short]


def _kind(option: OptionField) -> type:
    """Return what the parser makes of a value: a number where it is always one, else the text, for the settings."""
    kinds = {type(choice) for choice in option.choices} or set(option.kinds)
    return next((kind for kind in (bool, int, float) if kinds == {kind}), str)


def _default(option: OptionField) -> Any:
    """Return the default as the help shows it."""
    if option.declared.repeated:
        return None
    return option.default if _kind(option) in (bool, int, float) else option.default_text


def _completion(option: OptionField) -> Callable[[str], list[str]] | None:
    choices = list(map(str, option.choices))
    return (lambda incomplete: [text for text in choices if text.startswith(incomplete)]) if choices else None
