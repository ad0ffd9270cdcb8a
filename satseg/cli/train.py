"""``satseg train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, options
from satseg.cli.evaluate import class_rows

if TYPE_CHECKING:
    from rich.table import Table

    from satseg.records import TrainingSummary

_BUDGET = "How long (one of them; default: 40 epochs)"
_RECIPE = "How to train"
_ENCODER = "What the network starts from"


def train(
    ctx: typer.Context,
    tiles: Annotated[Path, typer.Argument(metavar="TILES", help="Folder that `satseg tile` wrote.")] = Path("tiles"),
    arch: options.Arch = "erfnet",
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Backbone of timm in place of the network's own, for networks that have one.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="Start the encoder from timm's weights, fetched once.", rich_help_panel=_ENCODER
        ),
    ] = False,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Start the encoder from weights in a file: .safetensors, or .pth of tensors alone.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the run. Default: the next runs/<arch>-<n>."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run at --output (default: the newest one of --arch), or start it where there is none.",
        ),
    ] = False,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Passes over the training tiles.", rich_help_panel=_BUDGET)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Updates of the network.", rich_help_panel=_BUDGET)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Minutes in all, validation included.", rich_help_panel=_BUDGET),
    ] = None,
    batch_size: options.BatchSize = 8,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Peak learning rate: it warms up to it and decays. Default: 0.003 with adamw, 0.01 with sgd.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            metavar="SUM",
            help="What is minimised, such as ce + 0.5*dice: ce, dice, focal, jaccard, lovasz, ohem, relaxed, tversky.",
            rich_help_panel=_RECIPE,
        ),
    ] = "ce + dice",
    class_weights: Annotated[
        str,
        typer.Option(
            metavar="RULE",
            help="How rare classes are weighed in the loss: none, inverse, median.",
            rich_help_panel=_RECIPE,
        ),
    ] = "none",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Train a network on tiles, and keep the weights that score best on the val tiles."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.workflows.train import train

    summary = train(
        tiles,
        arch=arch,
        encoder=encoder,
        pretrained=pretrained,
        encoder_weights=encoder_weights,
        output=output,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        lr=lr,
        loss=loss,
        class_weights=class_weights,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
        resume=resume,
        progress=talk.progress,
    )
    talk.report(summary, _tables)


def _tables(summary: TrainingSummary) -> list[Table]:
    done = f"{summary.steps:,} steps, {summary.epochs:.1f} epochs, {summary.seconds:.0f} s"
    files = [("best", summary.best), ("last", summary.last)]
    scores = class_rows(summary.validation)
    return [
        console.table(("", ""), files, title=f"Trained {summary.arch}: {done}"),
        console.table(*scores, title="Validation of the best checkpoint"),
    ]
