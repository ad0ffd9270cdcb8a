"""Values on the command line: scenes, which may come one a line on stdin, names with commas between, sizes, auto."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import typer

from satseg.arguments import split_names
from satseg.cli.streams import names_on_stdin
from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.labels.class_lists import ClassMapSource
    from satseg.raster.source import SceneSource

STDIN = "-"


def scene_list(scenes: Sequence[str]) -> Iterator[str]:
    """Yield the scenes in order; ``-`` stands for the names on stdin, which are taken as they come.

    Raises:
        UsageError: ``-`` stands twice, or stdin is closed.
    """
    if list(scenes).count(STDIN) > 1:
        raise UsageError("Scenes can be read from stdin only once.")
    for scene in scenes:
        if scene == STDIN:
            yield from names_on_stdin()
        else:
            yield scene


def require_scenes(named: Sequence[str], *, all_of_them: bool = True) -> None:
    """Refuse scenes that are absent, before anything slow is imported; names on stdin come later.

    Args:
        named: The scenes, as they stand on the command line.
        all_of_them: Whether each one is needed; else one that is there will do, since the others are told in turn.

    Raises:
        SceneError: There are some.
    """
    from satseg.presence import absent, require_scenes

    listed = [name for name in named if name != STDIN]
    if all_of_them or (len(listed) == len(named) and len(absent(listed)) == len(listed)):
        require_scenes(*listed)


def require_labels(named: Sequence[str | None], class_map: ClassMapSource | None, area: str | None = None) -> None:
    """Refuse labels, and files that say what they mean, that are absent, before anything slow is imported.

    Args:
        named: The labels; None is none.
        class_map: Values of ``--class-map``.
        area: Value of ``--labelled-area``.

    Raises:
        LabelError: Labels or the area are absent.
        UsageError: A class map is.
    """
    from satseg.labels.class_lists import class_map_files, read_class_map
    from satseg.presence import absent, require_labels

    require_labels(*filter(None, named))
    require_labels(*filter(None, [area]))
    if absent(class_map_files(class_map)):
        read_class_map(class_map)  # which says so


def require_pairs(given: tuple[str, str] | str | None) -> None:
    """Refuse folders or a table of scenes and labels that are absent, before anything slow is imported.

    Raises:
        UsageError: They are.
    """
    from satseg.presence import absent

    places = [given] if isinstance(given, str) else list(given or ())
    if absent(place for place in places if "{" not in place and "*" not in place):
        from satseg.tiling.pairs import find_pairs

        find_pairs(places)  # which says so


def scenes(named: Sequence[str], stacked: Sequence[SceneSource]) -> Iterable[str | SceneSource]:
    """Return the scenes as a list where all are named, and as they come where stdin is among them; stacks come last.

    Raises:
        UsageError: There is none.
    """
    if not named and not stacked:
        raise UsageError("There is no scene to map.", hint="Name one: satseg predict scene.tif -o map.tif")
    return chain(scene_list(named), stacked) if STDIN in named else [*named, *stacked]


def stacked_files(text: str) -> tuple[str, ...]:
    """Return the files of one scene.

    Raises:
        UsageError: It is one file alone, or one has no name.
    """
    files = tuple(name.strip() for name in text.split(","))
    if len(files) < 2 or not all(files):
        raise UsageError(
            f"--stack {text!r} does not name the files of a scene.",
            hint="Put commas between them, and no spaces: --stack B04.tif,B08.tif",
        )
    return files


def scene_pairs(pairs: tuple[str, str] | None, scene_list: str | None) -> tuple[str, str] | str | None:
    """Return where scenes with labels of their own are found: two folders or patterns, or a table.

    Raises:
        UsageError: Both are given.
    """
    if pairs is not None and scene_list is not None:
        raise UsageError("--pairs and --scene-list both say which labels belong to which scene; give one of them.")
    return pairs if scene_list is None else scene_list


def stdin_is_pipe() -> bool:
    """Tell whether this command stands behind another one in a pipeline."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a text with commas between, or None where there is no text."""
    return split_names(text) if text else None


def pixels(value: str | int) -> int:
    """Return a whole number of pixels, ``256`` or ``256px``: what options with the metavar ``PX`` take.

    Raises:
        BadParameter: It is none.
    """
    number = str(value).strip().removesuffix("px").strip()
    if not number.removeprefix("-").isdecimal():
        raise typer.BadParameter(f"{value!r} is no whole number of pixels, such as 256 or 256px.")
    return int(number)
