"""Options that several commands share, each with one help text.

A command takes them as annotations: ``device: options.Device = "auto"``.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from satseg.errors import ArchitectureError, UsageError
from satseg.settings import INPUTS, OUTPUTS

_RUN = "How to run"
_LABELS = "What labels mean"
_SCENES = "Which scenes"

METRES = "a plain number is metres"

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

Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Where the network runs: auto, cpu, cuda, cuda:1, mps. auto takes a GPU where there is one.",
        rich_help_panel=_RUN,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the network computes in: auto, fp32, bf16, fp16. auto takes bf16 where the device has it.",
        rich_help_panel=_RUN,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Processor threads to use in all. Default: as many cores as this process may use.",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Number that all random choices follow from.", rich_help_panel=_RUN),
]
BatchSize = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Images that go through the network at once.", rich_help_panel=_RUN),
]


def _two_places(pairs: tuple[str, str] | None) -> tuple[str, str] | None:
    """Refuse an option in the place of the labels before what follows is taken for scenes."""
    if pairs is not None and pairs[1].startswith("-") and not os.path.exists(pairs[1]):
        is_list = pairs[0].lower().endswith((".csv", ".parquet"))
        raise UsageError(
            f"--pairs takes two values, scenes and labels; after {pairs[0]} comes {pairs[1]}.",
            hint=f"A list goes with --scene-list {pairs[0]}" if is_list else "For example: --pairs images masks",
        )
    return pairs


Pairs = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="SCENES LABELS",
        help="Scenes and the labels of each: two folders whose files are named alike, or two patterns in quotes, "
        "'S1/{stem}_S1.tif' 'labels/{stem}_mask.tif', where * is any text.",
        rich_help_panel=_SCENES,
        callback=_two_places,
    ),
]
SceneList = Annotated[
    str | None,
    typer.Option(
        "--scene-list",
        metavar="FILE",
        help="The same from a CSV or Parquet file: columns scene and labels (paths relative to the file's folder), and "
        "if you like split (train, val, test) and weight. A scene may have several rows; later labels lie on top.",
        rich_help_panel=_SCENES,
    ),
]

ClassField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Attribute of the vector labels that names the class. Without it all labels are of one class.",
        rich_help_panel=_LABELS,
    ),
]
ClassMap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MAP",
        help="Class by value or colour: residential=building,1=water or #ff0000=road,Winter*=crop. * is any text, "
        "alone any other value; the class ignore is neither taught, scored nor traced. Values and classes with a comma "
        "stand in double quotes. Or a CSV file with the columns value, class and, if you like, colour. Given again, it "
        "adds.",
        rich_help_panel=_LABELS,
    ),
]
Unlabelled = Annotated[
    list[int] | None,
    typer.Option(
        metavar="VALUE",
        help="Value of a class raster that means that nobody looked there; may be given again.",
        rich_help_panel=_LABELS,
    ),
]
LabelledArea = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Polygons outside of which nothing is known; without them all that is not labelled is background.",
        rich_help_panel=_LABELS,
    ),
]
Outside = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What lies outside of all polygons: background, or ignore where they are all that is known.",
        show_default="background",
        rich_help_panel=_LABELS,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="Condition that features must meet.", rich_help_panel=_LABELS),
]


def _architectures(incomplete: str) -> list[tuple[str, str]]:
    from satseg.backend import list_architectures

    found = [(entry.name, str(entry.year)) for entry in list_architectures()]
    return [(name, year) for name, year in found if name.startswith(incomplete)]


def known_network(arch: str) -> str:
    """Refuse a name that no network has before anything heavy is imported; a file of the user runs later."""
    from satseg.backend import find_architecture, is_custom_file

    if is_custom_file(arch):
        return arch
    try:
        return find_architecture(arch).name
    except ArchitectureError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _all_known(archs: list[str]) -> list[str]:
    return [arch if arch == "all" else known_network(arch) for arch in archs]


Arch = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Network: one that `satseg models` lists, or path/to/file.py:function, which runs that file.",
        callback=known_network,
        autocompletion=_architectures,
    ),
]
Archs = Annotated[
    list[str],
    typer.Option(
        "--arch",
        metavar="NAME",
        help="Network, as `satseg train` takes it; may be given more than once. all takes every one.",
        callback=_all_known,
        autocompletion=_architectures,
    ),
]
OwnArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="FILE:FUNCTION",
        help="File and function of a custom network, for checkpoints that were trained with one. This runs the file.",
        rich_help_panel=INPUTS,
    ),
]
