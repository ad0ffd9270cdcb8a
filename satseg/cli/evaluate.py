"""``satseg evaluate``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.binding import takes
from satseg.cli.table import FileName, Name
from satseg.evaluation.settings import EvaluateSettings

if TYPE_CHECKING:
    from satseg.cli.table import Table
    from satseg.records import ClassScore, EvaluationReport, SizeScore

_MATRIX = 6  # largest number of classes whose confusion matrix is shown
_OVERALL = {
    "global_accuracy": "global accuracy",
    "class_average_accuracy": "class-average accuracy",
    "mean_iou": "mean IoU",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "kappa": "Cohen's kappa",
    "boundary_f1": "boundary F1",
    "bf": "BF (mean over tiles or blocks)",
    "boundary_iou": "boundary IoU",
    "object_f1": "object F1",
    "pq": "panoptic quality",
    "ap": "average precision of objects",
}
_LENGTHS = {"boundary_tolerance": "tolerance", "boundary_width": "width of bands"}


@takes(EvaluateSettings)
def evaluate(
    ctx: typer.Context,
    settings: EvaluateSettings,
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBJECT",
            help="Checkpoint, folder of a training run, class raster, or polygons. Leave it out if --pairs names maps.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA",
            help="For a checkpoint: a tile set (default: that of its run, else tiles), or with --labels scenes; - "
            "reads their names from stdin.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            "-l",
            metavar="FILE",
            help="Labels: vector features in any CRS, or a class raster. May be given more than once; later labels lie "
            "on top.",
        ),
    ] = None,
    pairs: options.Pairs = None,
    scene_list: options.SceneList = None,
    min_miou: Annotated[
        float | None,
        typer.Option(metavar="IOU", min=0, max=1, help="Exit with code 1 if the mean IoU is below this minimum."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compare a network, a map or polygons with labels: pixels, boundaries and objects, with confidence intervals."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    paired = inputs.scene_pairs(pairs, scene_list)
    _require_files(subject, data or [], labels, paired, settings)
    from satseg.workflows.evaluate import evaluate, require_miou

    report = evaluate(
        subject,
        list(inputs.scene_list(data or [])),
        labels=labels,
        pairs=paired,
        settings=settings,
        progress=out.progress,
    )
    out.answer(report, report_tables)
    if min_miou is not None:
        require_miou(report, min_miou)


def _require_files(
    subject: str | None,
    data: Sequence[str],
    labels: Sequence[str] | None,
    pairs: tuple[str, str] | str | None,
    settings: EvaluateSettings,
) -> None:
    """Refuse missing files before anything slow is imported."""
    from satseg.presence import (
        absent,
        is_network,
        require_area,
        require_custom_network,
        require_labels,
        require_subject,
        require_tiles,
    )

    if subject is not None:
        require_subject(subject)
    if settings.aoi is not None:
        require_area(str(settings.aoi))
    require_custom_network(settings.arch)
    if labels:
        inputs.require_scenes(data)
        require_labels(*labels)
    inputs.require_pairs(pairs)
    inputs.require_extra(settings.extra)
    network = subject is not None and (is_network(subject) or os.path.isdir(subject))
    if network and not labels and pairs is None and len(data) == 1 and absent(data):
        require_tiles(data[0])
    area = None if settings.labelled_area is None else str(settings.labelled_area)
    inputs.require_labels([], settings.class_map, area)


def class_rows(report: EvaluationReport) -> tuple[Sequence[str], list[tuple[object, ...]]]:
    """Return columns and rows of a table of the scores per class, their means last."""
    rows: list[tuple[object, ...]] = [
        (Name(entry.name), entry.iou, entry.f1, entry.precision, entry.recall, entry.pixels) for entry in report.classes
    ]
    labelled = sum(entry.pixels for entry in report.classes)  # those that the map leaves out are among them
    rows.append(("mean", report.mean_iou, None, None, report.class_average_accuracy, labelled))
    return ("class", "IoU", "F1", "precision", "recall", "px"), rows


def report_tables(report: EvaluationReport) -> list[Table]:
    """Return the tables of a report: overall scores, classes, confusion, boundaries and objects, as far as measured."""
    tables = [] if math.isnan(report.object_f1) and not report.pixels else [_overall(report)]
    if report.pixels:
        tables += [console.table(*class_rows(report)), _confusion(report)]
    if "boundary_tolerance" in report.settings:
        tables.append(_boundaries(report))
    if "object_iou" in report.settings:
        tables += [object_table(report, title="Objects: IoU over 0.5, one to one"), _outlines(report)]
        if any(entry.sizes for entry in report.classes):
            tables.append(_sizes(report))
    if report.worst:
        tables.append(_worst(report))
    return tables


def _confusion(report: EvaluationReport) -> Table:
    """Show pixels by label and prediction; those that the map leaves out come last, where there are any.

    Of many classes, which would make as many columns, each has a row with the class it is most often taken for.
    """
    if len(report.classes) > _MATRIX:
        return _mistakes(report)
    columns = ["label \\ map, px", *(entry.name for entry in report.classes)]
    rows: list[tuple[object, ...]] = []
    for entry, row in zip(report.classes, report.confusion, strict=True):
        left_out = (entry.pixels - sum(row),) if report.left_out else ()
        rows.append((Name(entry.name), *row, *left_out))
    columns += ["(left out)"] if report.left_out else []
    return console.table(columns, rows)


def _mistakes(report: EvaluationReport) -> Table:
    """Show for each class which share of its labels the map has right, and what it has most often instead."""
    rows: list[tuple[object, ...]] = []
    for number, (entry, row) in enumerate(zip(report.classes, report.confusion, strict=True)):
        if not entry.pixels:
            continue
        others = {other.name: count for other, count in zip(report.classes, row, strict=True) if other is not entry}
        most = max(others, key=others.__getitem__)
        right, wrong, left_out = (
            f"{count / entry.pixels:.1%}" for count in (row[number], others[most], entry.pixels - sum(row))
        )
        rows.append((Name(entry.name), right, *((Name(most), wrong) if others[most] else (None, None)), left_out))
    columns = ("label", "right", "most often taken for", "share", "left out")
    width = len(columns) if report.left_out else len(columns) - 1
    return console.table(columns[:width], [row[:width] for row in rows], caption="All counts are in --json.")


def _overall(report: EvaluationReport) -> Table:
    rows: list[tuple[object, ...]] = []
    for name, words in _OVERALL.items():
        value = getattr(report, name)
        if not math.isnan(value):
            rows.append((words, value, *(report.intervals.get(name) or (None, None))))
    if report.left_out:
        rows.append(("labelled px that the map leaves out (missed)", report.left_out, None, None))
    if report.unlabelled:
        rows.append(("px of the map without a label (ignored)", report.unlabelled, None, None))
    if not report.intervals:
        return console.table(("", ""), [row[:2] for row in rows])
    return console.table(("", "", "95 % from", "to"), rows)


def _boundaries(report: EvaluationReport) -> Table:
    rows = [
        (Name(e.name), e.boundary_f1, e.boundary_precision, e.boundary_recall, e.boundary_iou) for e in report.classes
    ]
    lengths = [f"{words} {_length(report, name)}" for name, words in _LENGTHS.items()]
    return console.table(
        ("class", "boundary F1", "precision", "recall", "boundary IoU"), rows, title=f"Boundaries: {', '.join(lengths)}"
    )


def _length(report: EvaluationReport, name: str) -> str:
    text, pixels = report.settings[name], report.settings.get(f"{name}_px")
    return f"{text}" if pixels is None else f"{text} of the diagonal ({pixels:.1f} px)"


def object_table(report: EvaluationReport, *, title: str) -> Table:
    """Return the table of the objects of each class."""
    rows = [
        (Name(e.name), e.object_f1, e.object_precision, e.object_recall, e.label_objects, e.map_objects)
        for e in _with_objects(report)
    ]
    columns = ("class", "object F1", "precision", "recall", "in labels", "in map")
    return console.table(columns, rows, title=title)


def _outlines(report: EvaluationReport) -> Table:
    rows = [(Name(e.name), e.pq, e.sq, e.ap, e.ap50, _share(e.split), _share(e.merged)) for e in _with_objects(report)]
    columns = ("class", "PQ", "SQ", "AP", "AP50", "split", "merged")
    return console.table(columns, rows, title="Objects: panoptic quality, average precision, shares of the labels'")


def _with_objects(report: EvaluationReport) -> list[ClassScore]:
    return [entry for entry in report.classes if entry.label_objects or entry.map_objects]


def _sizes(report: EvaluationReport) -> Table:
    """Show the objects of each class by their area; those of labels and map each by their own."""
    rows = [
        (
            *(Name(e.name), _limits(size), size.label_objects, size.recall),
            *(_share(size.split), _share(size.merged), size.map_objects, size.precision),
        )
        for e in report.classes
        for size in e.sizes
    ]
    area = str(report.settings["object_area"])
    columns = ("class", area, "labels", "recall", "split", "merged", "map", "precision")
    return console.table(columns, rows, title="Objects by area")


def _limits(size: SizeScore) -> str:
    if math.isinf(size.high):
        return f"from {size.low:,.0f}"
    return f"{size.low:,.0f} to {size.high:,.0f}" if size.low else f"under {size.high:,.0f}"


def _share(value: float) -> str | None:
    return None if math.isnan(value) else f"{value:.0%}"


def _worst(report: EvaluationReport) -> Table:
    rows = [(FileName(place.name), place.mean_iou, place.accuracy, place.loss, place.pixels) for place in report.worst]
    return console.table(("worst", "mean IoU", "accuracy", "loss", "px"), rows)
