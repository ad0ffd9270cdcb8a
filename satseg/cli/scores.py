"""Tables of an evaluation report, as ``evaluate``, ``train`` and ``demo`` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from satseg.cli.console import table

if TYPE_CHECKING:
    from rich.table import Table

    from satseg.records import EvaluationReport


def overall_table(report: EvaluationReport, *, title: str | None = None) -> Table:
    """Show the scores over all classes."""
    rows = [
        ("global accuracy", report.global_accuracy),
        ("class-average accuracy", report.class_average_accuracy),
        ("mean IoU", report.mean_iou),
        ("frequency-weighted IoU", report.frequency_weighted_iou),
    ]
    return table(("", f"over {report.pixels:,} px"), rows, title=title)


def class_table(report: EvaluationReport) -> Table:
    """Show the scores of each class."""
    rows = [(c.name, c.pixels, c.iou, c.f1, c.precision, c.recall) for c in report.classes]
    return table(("class", "px", "IoU", "F1", "precision", "recall"), rows)


def confusion_table(report: EvaluationReport) -> Table:
    """Show pixels per label (rows) and prediction (columns)."""
    names = [entry.name for entry in report.classes]
    rows = [(name, *counts) for name, counts in zip(names, report.confusion, strict=True)]
    return table(("label \\ prediction", *names), rows)
