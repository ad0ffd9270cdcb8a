"""Options that several commands share, each with one help text.

A command takes them as annotations: ``device: options.Device = "auto"``.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from satseg.errors import ArchitectureError, UsageError

_TALK = "What to say"
_RUN = "How to run"
_POLYGONS = "How polygons look"
_LABELS = "What labels mean"
_SCENES = "Which scenes"

METRES = "a plain number is metres"
_SQUARE_METRES = "a plain number is square metres"

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one line of JSON on stdout.", rich_help_panel=_TALK),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say nothing but warnings and errors on stderr.", rich_help_panel=_TALK),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show tracebacks and the log of the libraries on stderr.", rich_help_panel=_TALK),
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

Classes = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Classes to make polygons of, by name, with commas between; a name that holds one in double quotes.",
        rich_help_panel=_POLYGONS,
    ),
]
KeepBackground = Annotated[
    bool,
    typer.Option("--keep-background", help="Make polygons of the background class too.", rich_help_panel=_POLYGONS),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Keep every pixel's edge, and every region and hole: --simplify 0 --min-area 0 --fill-holes 0, as far as "
        "nothing else is given.",
        rich_help_panel=_POLYGONS,
    ),
]
Simplify = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help=f"How far a boundary may move to get along with fewer vertices: 1px, 0.5m, 50cm, or 0; {METRES}. "
        "Neighbours keep fitting. Default: 1px.",
        rich_help_panel=_POLYGONS,
    ),
]
MinArea = Annotated[
    str | None,
    typer.Option(
        metavar="AREA",
        help=f"Smallest region to keep: 25px, 10m2, 0.01ha, or 0 for all; {_SQUARE_METRES}. Smaller ones dissolve into "
        "the neighbour with the longest shared boundary; those next to nothing but nodata or background go. Default: "
        "8px.",
        rich_help_panel=_POLYGONS,
    ),
]
FillHoles = Annotated[
    str | None,
    typer.Option(
        metavar="AREA",
        help=f"Largest hole to fill: 25px, 5m2, or 0 for none; {_SQUARE_METRES}. Only holes in which no polygon is "
        "made. Default: 7px.",
        rich_help_panel=_POLYGONS,
    ),
]
Connectivity = Annotated[
    int,
    typer.Option(
        metavar="4|8",
        help="Whether pixels of one region share an edge (4), or a corner is enough (8, makes multipolygons).",
        rich_help_panel=_POLYGONS,
    ),
]
MaxVertices = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="A region with more vertices is cut at the next 128th row; its pieces share their region_id.",
        rich_help_panel=_POLYGONS,
    ),
]
Smooth = Annotated[
    bool,
    typer.Option(
        "--smooth",
        help="Round the corners of boundaries, by the length of --simplify (half a pixel with none) at most, for "
        "about three times the vertices. Neighbours keep fitting.",
        rich_help_panel=_POLYGONS,
    ),
]
Regularize = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help=f"Make outlines right-angled, with sides of at least that length: 10px, 2m; {METRES}. For one class, of "
        "buildings say. They no longer fit their neighbours: overlaps are cut away, and gaps may open.",
        rich_help_panel=_POLYGONS,
    ),
]
Attributes = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Columns to write, with commas between, of class_id, class_name, area_m2, perimeter_m, pixels, "
        "confidence_mean, confidence_min, confidence_p05, region_id, scene. Default: all, those of the confidence "
        "where it is known.",
        rich_help_panel=_POLYGONS,
    ),
]
Crs = Annotated[
    str | None,
    typer.Option(
        metavar="CRS",
        help="CRS of the polygons, such as EPSG:4326. Default: that of the map. GeoJSON is in longitude and latitude "
        "whatever is given.",
        rich_help_panel=_POLYGONS,
    ),
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


def _known(arch: str) -> str:
    """Refuse a name that no network has before anything heavy is imported; a file of the user runs later."""
    from satseg.backend import find_architecture, is_custom_file

    if is_custom_file(arch):
        return arch
    try:
        return find_architecture(arch).name
    except ArchitectureError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _all_known(archs: list[str]) -> list[str]:
    return [arch if arch == "all" else _known(arch) for arch in archs]


Arch = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Network: one that `satseg models` lists, or path/to/file.py:function, which runs that file.",
        callback=_known,
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
        help="For a checkpoint whose network came from an own file: that file and its function. This runs the file.",
    ),
]


def given(ctx: typer.Context, **values: Any) -> dict[str, Any]:
    """Return those of a command's options that were given, on the command line or by the environment.

    What was not given is not at its default where a run goes on that was started with something else.
    """
    left_open = ("DEFAULT", "DEFAULT_MAP")
    sources = {name: ctx.get_parameter_source(name) for name in values}
    return {name: values[name] for name, source in sources.items() if source and source.name not in left_open}
