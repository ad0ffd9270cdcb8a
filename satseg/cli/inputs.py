"""Values of arguments and options: names of scenes, also from stdin, stacks of files, numbers of pixels."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import typer

from satseg.arguments import STEM
from satseg.cli.streams import names_on_stdin
from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.labels.class_lists import ClassMapSource
    from satseg.raster.source import SceneSource

STDIN = "-"


def scene_list(scenes: Sequence[str]) -> Iterator[str]:
    """Yield the scenes in order; ``-`` stands for the names on stdin, which are read as they arrive.

    Raises:
        UsageError: ``-`` is given twice, or stdin is closed.
    """
    if list(scenes).count(STDIN) > 1:
        raise UsageError("Scenes can be read from stdin only once.")
    for scene in scenes:
        if scene == STDIN:
            yield from names_on_stdin()
        else:
            yield scene


def require_scenes(named: Sequence[str], *, all_of_them: bool = True) -> None:
    """Check that scenes exist, before slow imports; names on stdin are not read.

    Args:
        named: The scenes, as given on the command line.
        all_of_them: Whether all are needed; else one must exist, and the others fail in their turn.

    Raises:
        SceneError: Scenes are missing.
    """
    from satseg.presence import absent, require_scenes

    listed = [name for name in named if name != STDIN]
    if all_of_them or (len(listed) == len(named) and len(absent(listed)) == len(listed)):
        require_scenes(*listed)


def require_extra(named: Sequence[str]) -> None:
    """Check that extra rasters exist, before slow imports; those named after their scenes are looked for later.

    Raises:
        SceneError: Rasters are missing.
    """
    from satseg.presence import require_scenes

    require_scenes(*(name for name in named if STEM not in name))


def require_labels(named: Sequence[str | None], class_map: ClassMapSource | None, area: str | None = None) -> None:
    """Check that labels and the files that describe them exist, before slow imports.

    Args:
        named: The labels; None is skipped.
        class_map: Class map.
        area: Labelled area.

    Raises:
        LabelError: Labels or the area are missing.
        UsageError: A class map is missing.
    """
    from satseg.labels.class_lists import class_map_files, read_class_map
    from satseg.presence import absent, require_labelled_area, require_labels

    require_labels(*filter(None, named))
    if area:
        require_labelled_area(area)
    if absent(class_map_files(class_map)):
        read_class_map(class_map)  # raises the error


def require_pairs(given: tuple[str, str] | str | None) -> None:
    """Check that folders or a table of scenes and labels exist, before slow imports.

    Raises:
        UsageError: They are missing.
    """
    from satseg.presence import absent

    places = [given] if isinstance(given, str) else list(given or ())
    if absent(place for place in places if "{" not in place and "*" not in place):
        from satseg.tiling.pairs import find_pairs

        find_pairs(places)  # raises the error


def scenes(named: Sequence[str], stacked: Sequence[SceneSource]) -> Iterable[str | SceneSource]:
    """Return the scenes as a list, or as an iterator if some come from stdin; stacks come last.

    Raises:
        UsageError: There is no scene.
    """
    if not named and not stacked:
        raise UsageError("No scene is given.", hint="For example: satseg predict scene.tif -o map.tif")
    return chain(scene_list(named), stacked) if STDIN in named else [*named, *stacked]


def stacked_files(text: str) -> tuple[str, ...]:
    """Return the files of a stacked scene.

    Raises:
        UsageError: There is only one file, or a name is empty.
    """
    files = tuple(name.strip() for name in text.split(","))
    if len(files) < 2 or not all(files):
        raise UsageError(
            f"--stack {text!r} does not list the files of a scene.",
            hint="Separate them by commas without spaces: --stack B04.tif,B08.tif",
        )
    return files


def scene_pairs(pairs: tuple[str, str] | None, scene_list: str | None) -> tuple[str, str] | str | None:
    """Return where pairs of scenes and labels are listed: two folders or patterns, or a table.

    Raises:
        UsageError: Both are given.
    """
    if pairs is not None and scene_list is not None:
        raise UsageError("--pairs and --scene-list exclude each other.")
    return pairs if scene_list is None else scene_list


def stdin_is_pipe() -> bool:
    """Tell whether stdin is a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def pixels(value: str | int) -> int:
    """Return a number of pixels, ``256`` or ``256px``, for options with the metavar ``PX``.

    Raises:
        BadParameter: It is not a whole number of pixels.
    """
    number = str(value).strip().removesuffix("px").strip()
    if not number.removeprefix("-").isdecimal():
        raise typer.BadParameter(f"{value!r} is not a whole number of pixels, such as 256 or 256px.")
    return int(number)
