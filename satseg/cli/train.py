"""``satseg train``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, options
from satseg.cli.binding import takes
from satseg.cli.evaluate import class_rows
from satseg.training.settings import TrainSettings

if TYPE_CHECKING:
    from satseg.cli.console import ConsoleOutput
    from satseg.cli.table import Table
    from satseg.records import TrainingSummary
    from satseg.runs.log import LogRow


_AVERAGES = {"ema": "the moving average", "average": "the average of validations"}


@takes(TrainSettings)
def train(
    ctx: typer.Context,
    settings: TrainSettings,
    tiles: Annotated[
        Path | None,
        typer.Argument(
            metavar="TILES",
            help="Folder that `satseg tile` wrote. Default: tiles. With --resume, the folder of a run may stand here "
            "instead; its tiles are the default.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run. Default: the next runs/<arch>-<n>."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a network on tiles, and keep the weights with the best score on the validation tiles."""
    from satseg.presence import require_checkpoint, require_custom_network, require_tiles

    options.known_network(settings.arch)
    if settings.base is not None:
        options.known_network(settings.base)
    if not settings.resume:  # a run to resume knows its tiles
        require_tiles("tiles" if tiles is None else tiles)
    require_custom_network(settings.arch)
    if settings.init_from is not None:
        require_checkpoint(str(settings.init_from))
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.backend.device import reuse_freed_memory
    from satseg.workflows.train import rank_of, train

    if rank_of(tiles, output=output, settings=settings) > 0:  # the other processes of a run stay silent
        logging.getLogger("satseg").setLevel(logging.ERROR)
        out.json, out.quiet = False, True
    reuse_freed_memory()
    live = _LiveTable(out)
    summary = train(tiles, output=output, settings=settings, progress=out.progress, watch=live.show)
    out.report(summary, _tables)


class _LiveTable:
    """Prints a line per validation above the progress bar.

    Args:
        out: Output of the command.
    """

    def __init__(self, out: ConsoleOutput) -> None:
        self._out = out
        self._begun = False

    def show(self, row: LogRow) -> None:
        """Print the line of a validation."""
        from satseg.progress import amount, clock

        if not self._begun:
            self._out.say(f"{'epoch':>6} {'step':>8} {'loss':>8} {'mIoU':>7} {'rate':>13} {'time left':>10}")
            self._begun = True
        rate = f"{amount(row.pixels_per_second, 'px')}/s"
        numbers = f"{row.epoch:6.1f} {row.step:8,} {row.loss:8.4f} {row.miou:7.4f} {rate:>13}"
        self._out.say(f"{numbers} {clock(row.seconds_left):>10}{_kept(row)}")


def _kept(row: LogRow) -> str:
    """Return what follows the line of a validation that is the best so far."""
    average = f": {row.averages[row.kept]:.4f} with {_AVERAGES[row.kept]}" if row.kept in _AVERAGES else ""
    return f"  best{average}" if row.kept else ""


def _tables(summary: TrainingSummary) -> list[Table]:
    done = f"{summary.steps:,} steps, {summary.epochs:.1f} epochs, {summary.seconds:.0f} s"
    files = [("best", summary.best), ("last", summary.last), ("learning rate", f"{summary.lr:g}")]
    if summary.only_class is not None:
        files.append(("collapsed", f"predicts only {summary.only_class}: try --lr {summary.lr / 10:.3g}"))
    scores = class_rows(summary.validation)
    return [
        console.table(("", ""), files, title=f"Trained {summary.arch}: {done}"),
        console.table(*scores, title=f"Validation of the best checkpoint ({summary.weights})"),
    ]
