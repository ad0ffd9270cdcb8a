"""``satseg evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options

if TYPE_CHECKING:
    from rich.table import Table

    from satseg.records import EvaluationReport


def evaluate(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="Checkpoint, folder of a training run, or class raster.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA...",
            help="For a checkpoint: a tile set (default: tiles), or with --labels scenes; - reads their names from "
            "stdin.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", "-l", metavar="FILE", help="Vector features in any CRS, or a class raster."),
    ] = None,
    class_field: options.ClassField = None,
    split: Annotated[str, typer.Option(metavar="SPLIT", help="Split of the tile set: train, val, test.")] = "test",
    arch: options.OwnArch = None,
    window: Annotated[int, typer.Option(metavar="PX", help="Side of the windows the network sees, on scenes.")] = 512,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="PX", help="Pixels over which windows are blended, on scenes. Default: an eighth of the window."
        ),
    ] = None,
    batch_size: options.BatchSize = 4,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compare a network, or a map, with labels: accuracy, IoU, F1, precision, recall, confusion matrix."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.workflows.evaluate import evaluate

    report = evaluate(
        subject,
        list(inputs.scene_list(data or [])),
        labels=labels,
        class_field=class_field,
        split=split,
        arch=arch,
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        device=device,
        precision=precision,
        threads=threads,
        progress=talk.progress,
    )
    talk.answer(report, _tables)


def class_rows(report: EvaluationReport) -> tuple[Sequence[str], list[tuple[object, ...]]]:
    """Return columns and rows of a table of the scores per class, their means last."""
    rows: list[tuple[object, ...]] = [
        (entry.name, entry.iou, entry.f1, entry.precision, entry.recall, entry.pixels) for entry in report.classes
    ]
    rows.append(("mean", report.mean_iou, None, None, report.class_average_accuracy, report.pixels))
    return ("class", "IoU", "F1", "precision", "recall", "px"), rows


def _tables(report: EvaluationReport) -> list[Table]:
    overall = [
        ("global accuracy", report.global_accuracy),
        ("class-average accuracy", report.class_average_accuracy),
        ("mean IoU", report.mean_iou),
        ("frequency-weighted IoU", report.frequency_weighted_iou),
    ]
    names = [entry.name for entry in report.classes]
    confusion = [(name, *row) for name, row in zip(names, report.confusion, strict=True)]
    return [
        console.table(("", ""), overall),
        console.table(*class_rows(report)),
        console.table(("label \\ map, px", *names), confusion),
    ]
