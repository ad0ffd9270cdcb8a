"""``satseg info``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from satseg.cli import console, inputs, options
from satseg.cli.failures import Failures
from satseg.cli.info_tables import file_tables, list_tables, values_table
from satseg.cli.streams import require_stdout
from satseg.errors import SatsegError, UsageError, naming

if TYPE_CHECKING:
    from satseg.workflows.info import FileInfo

_Found = TypeVar("_Found")
_ROWS = 200  # of a table, before it is printed


def info(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="A scene, a class raster, polygons, the folder of a tile set or of a training run, or a checkpoint. "
            "Several have a row each; - reads their names from stdin, one a line.",
        ),
    ],
    class_field: options.ClassField = None,
    where: options.Where = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values",
            help="List the values of labels, with counts and areas, over all files; features need --class-field.",
        ),
    ] = False,
    class_map: Annotated[
        str | None,
        typer.Option(
            metavar="-",
            help="Write the values as a class map to edit, in CSV, to stdout: --class-map - > classes.csv, "
            "which tile and others take as --class-map classes.csv.",
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what scenes, maps, tile sets, checkpoints or training runs are, or the values that labels hold."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if class_map is not None and (class_map != "-" or json):
        raise UsageError(
            "info writes a class map to stdout, and nothing else.",
            hint="satseg info FILE --class-map - > classes.csv",
        )
    several = len(files) > 1 or inputs.STDIN in files
    if not several:
        inputs.require_scenes(files)
    failed = Failures(talk, "files") if several else None
    if class_map or class_field or where or values:
        done = _list_values(files, class_field, where, class_map is not None, talk, failed)
    else:
        done = _describe(files, talk, failed)
    if failed is not None:
        failed.tell(done)
    if failed:
        raise typer.Exit(1)
    if not done:
        raise UsageError("No file was named on stdin.", hint="Did the command before this one in the pipeline fail?")


def _describe(files: Sequence[str], talk: console.ConsoleOutput, failed: Failures | None) -> int:
    """Show what files are, and return how many."""
    from satseg.workflows.info import info

    if failed is None:
        talk.answer(info(files[0]), file_tables)
        return 1
    count = 0
    for found in _runs(_each(info, files, failed), 1 if talk.json else _ROWS):
        if talk.json:
            talk.emit(found[0])
        else:
            talk.answer(found, list_tables, apart=count > 0)
        count += len(found)
    return count


def _list_values(
    files: Sequence[str],
    class_field: str | None,
    where: str | None,
    template: bool,
    talk: console.ConsoleOutput,
    failed: Failures | None,
) -> int:
    """Show the values that labels hold, and return of how many files."""
    from satseg.workflows.label_values import LabelValues, label_values

    read = partial(label_values, class_field=class_field, where=where)
    found = [read(files[0])] if failed is None else _each(read, files, failed)
    together = LabelValues.together(found)
    if together is None:
        return 0
    if template:
        require_stdout()
        sys.stdout.write(together.template())
    else:
        talk.answer(together, values_table)
    return together.files


def _each(read: Callable[[str], _Found], files: Sequence[str], failed: Failures) -> Iterator[_Found]:
    """Yield what is found of each file; those that fail are noted, and left out."""
    for file in inputs.scene_list(files):
        try:
            with naming(file):
                found = read(file)
        except SatsegError as error:
            failed.add(error)
        else:
            yield found


def _runs(found: Iterable[FileInfo], longest: int) -> Iterator[list[FileInfo]]:
    """Yield files of one kind that follow each other together."""
    for _, run in groupby(found, key=lambda entry: entry.kind):
        while part := list(islice(run, longest)):
            yield part
