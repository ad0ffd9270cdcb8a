"""Settings in sentences of the library, as flags of the command line.

The library writes settings and calls as Python does, in backticks: "Leave out `resume=True`, or call
`satseg.tile(scene, labels='roofs.gpkg')`." Users of the command line read "Leave out --resume, or call satseg tile
SCENE --labels roofs.gpkg."
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from satseg.arguments import join_names

_TAKES_WORDS = ("--pairs",)  # all others take one value, whose parts have commas between
_CODE = re.compile(r"`([^`]+)`")
_SETTING = re.compile(r"(?P<name>[a-z_]\w*)(?P<place>\[\d+\])?(?:=(?P<value>.*))?")


def for_command(text: str, context: typer.Context) -> str:
    """Return a sentence with the settings of the running command, and of commands it names, written as flags."""
    group: Any = context.find_root().command
    commands = {name: flags_of(command) for name, command in getattr(group, "commands", {}).items()}
    return with_flags(text, flags_of(context.command), commands)


def flags_of(command: Any) -> dict[str, str]:
    """Return the flags of a command by the names of its options."""
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return {option.name: max(option.opts, key=len) for option in options}


def with_flags(text: str, flags: Mapping[str, str], commands: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Return a sentence with settings and calls in backticks written for the shell; other code stays as it is.

    Args:
        text: Such as "Leave out `resume=True`, or map only `classes='building'`."
        flags: Flags of the running command by the name of the setting.
        commands: Those of each command by its name. Behind the name of one in backticks, "`satseg.tile`", settings are
            those of that command.
    """
    commands, known, parts, end = commands or {}, dict(flags), [], 0
    for found in _CODE.finditer(text):
        code = found.group(1)
        name = code.removeprefix("satseg.")
        if name in commands:
            known = {**flags, **commands[name]}
            shown = f"`satseg {name}`"
        else:
            shown = _setting(code, known) or _call(code, commands) or found.group()
        parts += [text[end : found.start()], shown]
        end = found.end()
    return "".join([*parts, text[end:]])


def _setting(code: str, flags: Mapping[str, str]) -> str | None:
    """Return the flag for a setting with or without its value; None for what is not a setting."""
    found = _SETTING.fullmatch(code)
    if found is None or found["name"] not in flags:
        return None
    flag, value = flags[found["name"]], found["value"]
    if value is None:
        return flag + (found["place"] or "")
    try:
        return _words(flag, ast.parse(value, mode="eval").body)
    except (ValueError, SyntaxError):  # a placeholder that is not a value of Python
        return f"{flag} {value}"


def _call(code: str, commands: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the command line for the call of a command's function; None for all else."""
    try:
        call = ast.parse(code, mode="eval").body
    except SyntaxError:
        return None
    if not isinstance(call, ast.Call):
        return None
    name = ast.unparse(call.func).removeprefix("satseg.")
    if name not in commands:
        return None
    words = [_typed(argument) for argument in call.args]
    words += [_words(commands[name].get(key, "--" + key.replace("_", "-")), value) for key, value in _keywords(call)]
    return " ".join(["satseg", name, *words])


def _keywords(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Yield the keyword arguments of a call, those of settings records in their place."""
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Call):
            yield from _keywords(keyword.value)
        elif keyword.arg is not None:
            yield keyword.arg, keyword.value


def _words(flag: str, value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        return flag if value.value else "--no-" + flag.removeprefix("--")
    parts = value.elts if flag in _TAKES_WORDS and isinstance(value, ast.Tuple | ast.List) else [value]
    return " ".join([flag, *map(_typed, parts)])


def _typed(value: ast.expr) -> str:
    """Return a value as it is typed in a shell; a name stands for any value, and is written in capitals."""
    if isinstance(value, ast.Name):
        return value.id.upper()
    found = ast.literal_eval(value)
    if isinstance(found, Mapping):
        found = [f"{key}={_bare(entry)}" for key, entry in found.items()]
    if isinstance(found, list | tuple):
        found = join_names(map(_bare, found))
    return "..." if found is Ellipsis else shlex.quote(str(found))


def _bare(value: Any) -> str:
    return "..." if value is Ellipsis else str(value)
