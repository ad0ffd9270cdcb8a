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
from satseg.sample import named_network

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
            help="Scene, class raster, vector file, tile set, training run or checkpoint. Several are listed in a "
            "table; - reads file names from stdin, one per line.",
        ),
    ],
    class_field: options.ClassField = None,
    where: options.Where = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values",
            help="List the values of the labels with counts and areas, summed over all files. Vector files need "
            "--class-field.",
        ),
    ] = False,
    class_map: Annotated[
        str | None,
        typer.Option(
            metavar="-",
            help="Write the values to stdout as a class map in CSV, to edit and pass to other commands, as in "
            "--class-map - > classes.csv.",
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Describe scenes, maps, tile sets, checkpoints and training runs, or list the values of labels."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if class_map is not None and (class_map != "-" or json):
        raise UsageError(
            "`info` writes the class map to stdout only, and not together with --json.",
            hint="Redirect it: satseg info FILE --class-map - > classes.csv",
        )
    several = len(files) > 1 or inputs.STDIN in files
    if not several:
        inputs.require_scenes([str(named_network(file)) for file in files])
    failed = Failures(out, "files") if several else None
    if class_map or class_field or where or values:
        done = _list_values(files, class_field, where, class_map is not None, out, failed)
    else:
        done = _describe(files, out, failed)
    if failed is not None:
        failed.tell(done)
    if failed:
        raise typer.Exit(1)
    if not done:
        raise UsageError("No file names on stdin.", hint="Check whether the previous command of the pipeline failed.")


def _describe(files: Sequence[str], out: console.ConsoleOutput, failed: Failures | None) -> int:
    """Describe files and return their number."""
    from satseg.workflows.info import info

    if failed is None:
        out.answer(info(files[0]), file_tables)
        return 1
    count = 0
    for found in _runs(_each(info, files, failed), 1 if out.json else _ROWS):
        if out.json:
            out.emit(found[0])
        else:
            out.answer(found, list_tables, apart=count > 0)
        count += len(found)
    return count


def _list_values(
    files: Sequence[str],
    class_field: str | None,
    where: str | None,
    template: bool,
    out: console.ConsoleOutput,
    failed: Failures | None,
) -> int:
    """List the values of labels and return the number of files."""
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
        out.answer(together, values_table)
    return together.files


def _each(read: Callable[[str], _Found], files: Sequence[str], failed: Failures) -> Iterator[_Found]:
    """Yield the result for each file; failures are recorded and skipped."""
    for file in inputs.scene_list(files):
        try:
            with naming(file):
                found = read(file)
        except SatsegError as error:
            failed.add(error)
        else:
            yield found


def _runs(found: Iterable[FileInfo], longest: int) -> Iterator[list[FileInfo]]:
    """Yield runs of consecutive files of the same kind, in parts of at most ``longest``."""
    for _, run in groupby(found, key=lambda entry: entry.kind):
        while part := list(islice(run, longest)):
            yield part
