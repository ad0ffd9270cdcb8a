"""Settings in sentences of the library, as flags of the command line.

The library writes a setting as Python does, in backticks: "Leave out `resume=True`." Users of the command line read
"Leave out --resume."
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from typing import Any

import typer

from satseg.arguments import join_names

_TAKES_WORDS = ("--pairs",)  # all others take one value, whose parts have commas between
_CODE = re.compile(r"`(?P<name>[a-z_][a-z0-9_.]*)(?P<place>\[\d+\])?(?:=(?P<value>[^`]*))?`")


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
    """Return a sentence with settings in backticks written as flags; other code in backticks stays as it is.

    Args:
        text: Such as "Leave out `resume=True`, or map only `classes='building'`."
        flags: Flags of the running command by the name of the setting.
        commands: Those of each command by its name. Behind the name of one in backticks, "`satseg.tile`", settings are
            those of that command.
    """
    known, parts, end = dict(flags), [], 0
    for code in _CODE.finditer(text):
        command = code["name"].removeprefix("satseg.")
        parts.append(text[end : code.start()])
        end = code.end()
        if code["value"] is None and command in (commands or {}):
            known = {**flags, **(commands or {})[command]}
            parts.append(f"`satseg {command}`")
        elif code["name"] in known:
            parts.append(_flag(known[code["name"]], code["value"]) + (code["place"] or ""))
        else:
            parts.append(code.group())
    return "".join([*parts, text[end:]])


def _flag(flag: str, value: str | None) -> str:
    """Return a flag with a value that is written in Python."""
    if value is None or value == "True":
        return flag
    if value == "False":
        return "--no-" + flag.removeprefix("--")
    try:
        found = ast.literal_eval(value)
        return f"{flag} {' '.join(map(_typed, found)) if flag in _TAKES_WORDS else _typed(found)}"
    except (ValueError, SyntaxError):  # no value of Python, such as a placeholder
        return f"{flag} {value}"


def _typed(value: Any) -> str:
    """Return a value as it is typed in a shell."""
    if isinstance(value, Mapping):
        value = [f"{key}={_bare(entry)}" for key, entry in value.items()]
    if isinstance(value, list | tuple):
        value = join_names(map(_bare, value))
    return _bare(value) if value is Ellipsis else shlex.quote(_bare(value))


def _bare(value: Any) -> str:
    return "..." if value is Ellipsis else str(value)
