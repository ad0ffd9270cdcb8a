"""What labels mean: options that commands with labels share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from satseg.arguments import Given, Numbers, PathLike, is_one, path, shown, whole_numbers
from satseg.errors import UsageError
from satseg.labels.class_lists import ClassMapSource
from satseg.labels.class_map import ClassMap
from satseg.settings import LABELS, Option, Settings


def class_map_sources(given: Any, name: str) -> ClassMap | Mapping[Any, str] | tuple[str | Path, ...]:
    """Return the texts and files of a class map as a tuple, which can be read more than once, or its dictionary.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(given, Mapping | ClassMap):
        return given
    if is_one(given):
        given = (given,)
    if not isinstance(given, Iterable):
        raise UsageError(
            f"`{name}` is {shown(given)}, not a class map.", hint=f"For example: `{name}='0=background,1=water'`"
        )
    return tuple(given)


ClassMapOption = Annotated[
    Given[ClassMapSource | None, ClassMap | Mapping[Any, str] | tuple[str | Path, ...] | None],
    Option(
        "Class by value or colour of the labels: residential=building,1=water or #ff0000=road,Winter*=crop. * matches "
        "any text; alone it matches all other values. The class ignore is excluded from training, scores and polygons. "
        "Put values and classes that contain a comma in double quotes. Also the name of a CSV file with the columns "
        "value, class and, optionally, colour. May be given more than once.",
        metavar="MAP",
        panel=LABELS,
        repeated=True,
    ),
]


class LabelSettings(Settings):
    """What labels mean."""

    class_field: Annotated[
        str | None,
        Option(
            "Attribute of vector labels that holds the class. Default: all features are of one class.",
            metavar="FIELD",
            panel=LABELS,
        ),
    ] = None
    class_map: ClassMapOption = Given(class_map_sources)
    where: Annotated[
        str | None, Option("SQL condition that selects features of vector labels.", metavar="SQL", panel=LABELS)
    ] = None
    unlabelled: Annotated[
        Given[Numbers, tuple[int, ...]],
        Option(
            "Value of a class raster that marks unlabelled pixels. May be given more than once.",
            metavar="VALUE",
            panel=LABELS,
            repeated=True,
        ),
    ] = Given(whole_numbers, ())
    labelled_area: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Polygons that delimit the labelled area; pixels outside of them are ignored. Default: everything is "
            "labelled, and pixels without a label are background.",
            metavar="FILE",
            panel=LABELS,
        ),
    ] = Given(path)
    outside: Annotated[
        Literal["background", "ignore"],
        Option(
            "Class of pixels outside of all label polygons: background, or ignore where only the labelled objects are "
            "known.",
            panel=LABELS,
        ),
    ] = "background"
