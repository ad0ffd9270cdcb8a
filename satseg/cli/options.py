"""Options that several commands share outside of settings, each with one help text.

A command takes them as annotations: ``device: options.Device = "auto"``.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from satseg.backend import settings as backend
from satseg.cli.binding import as_option
from satseg.errors import ArchitectureError, UsageError
from satseg.labels.settings import LabelSettings
from satseg.settings import INPUTS, OUTPUTS, OptionField, Settings, options_of

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one line of JSON on stdout.", rich_help_panel=OUTPUTS),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only warnings and errors on stderr.", rich_help_panel=OUTPUTS),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Print tracebacks and the logs of libraries on stderr.", rich_help_panel=OUTPUTS),
]


def _shared(name: str, annotation: Any) -> OptionInfo:
    """Return the option for an annotation that settings classes share."""
    type_, declared = get_args(annotation)[:2]
    return as_option(OptionField(name, (), declared, type_, None))


def _of(settings: type[Settings], name: str) -> OptionInfo:
    """Return one option of a settings class."""
    return next(as_option(option) for option in options_of(settings) if option.name == name)


Arch = Annotated[str, _shared("arch", backend.Arch)]
CustomArch = Annotated[str | None, _shared("arch", backend.CustomArch)]
Device = Annotated[str, _shared("device", backend.Device)]
Precision = Annotated[str, _shared("precision", backend.Precision)]
Threads = Annotated[int | None, _shared("threads", backend.Threads)]
ClassField = Annotated[str | None, _of(LabelSettings, "class_field")]
Where = Annotated[str | None, _of(LabelSettings, "where")]


def _check_pairs(pairs: tuple[str, str] | None) -> tuple[str, str] | None:
    """Refuse a table, and an option in the place of the labels, before what follows is taken for scenes."""
    is_option = pairs is not None and pairs[1].startswith("-") and not os.path.exists(pairs[1])
    is_table = pairs is not None and pairs[0].lower().endswith((".csv", ".parquet")) and "{" not in pairs[0]
    if pairs is not None and (is_option or is_table):
        found = f"; {pairs[1]} follows {pairs[0]}" if is_option else f"; {pairs[0]} is a table"
        raise UsageError(
            f"--pairs takes two values, scenes and labels{found}.",
            hint=f"Pass a table by --scene-list {pairs[0]}" if is_table else "For example: --pairs images masks",
        )
    return pairs


Pairs = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="SCENES LABELS",
        help="Scenes, each with its own labels: two folders whose files have the same names, or two quoted patterns, "
        "'S1/{stem}_S1.tif' 'labels/{stem}_mask.tif', where * is any text.",
        rich_help_panel=INPUTS,
        callback=_check_pairs,
    ),
]
SceneList = Annotated[
    str | None,
    typer.Option(
        "--scene-list",
        metavar="FILE",
        help="Scenes, each with its own labels, from a CSV or Parquet file with the columns scene and labels and, "
        "optionally, split (train, val, test) and weight. Paths are relative to its folder. A scene may have several "
        "rows; labels of later rows are drawn on top.",
        rich_help_panel=INPUTS,
    ),
]


def known_network(arch: str) -> str:
    """Refuse a name that no network has before anything heavy is imported; a file of the user runs later."""
    from satseg.backend import find_architecture, is_custom_file

    if is_custom_file(arch) or arch == backend.AUTO_ARCH:
        return arch
    try:
        return find_architecture(arch).name
    except ArchitectureError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _all_known(archs: list[str]) -> list[str]:
    return [arch if arch == "all" else known_network(arch) for arch in archs]


Archs = Annotated[
    list[str],
    typer.Option(
        "--arch",
        metavar="NAME",
        help="Network, as `satseg train` takes it; may be given more than once. all takes every one.",
        callback=_all_known,
        autocompletion=backend.architectures,
    ),
]
