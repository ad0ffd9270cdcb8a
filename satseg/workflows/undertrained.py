"""Warnings about networks that were trained too little, or at a learning rate that is too high for them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from satseg.records import EvaluationReport, TrainingSummary
from satseg.runs.log import LogRow

log = logging.getLogger("satseg")

_FEW_MINUTES = 10
_FEW_STEPS = 20
_ENOUGH_STEPS, _ENOUGH_EPOCHS = 100, 5
_EARLY = 0.25  # of a run: before that, many a network that learns well predicts one class


def only_class(report: EvaluationReport) -> str | None:
    """Return the one class that a network predicts where several are labelled; None if there is no such class."""
    labelled = sum(any(row) for row in report.confusion)
    predicted = [
        entry.name
        for entry, column in zip(report.classes, zip(*report.confusion, strict=True), strict=True)
        if any(column)
    ]
    return predicted[0] if labelled > 1 and len(predicted) == 1 else None


def warn_of_training(
    summary: TrainingSummary, longer: Callable[[int], str], *, learning_minutes: float | None = None
) -> None:
    """Warn if a run limited by time had few steps, or if the network predicts one of several classes only.

    Args:
        summary: Summary of the run.
        longer: Returns the call that continues the run to a total number of minutes.
        learning_minutes: Budget of the run; None for a run limited by steps.
    """
    if learning_minutes is not None and (summary.steps < _FEW_STEPS or summary.epochs < 1):
        factor = max(_ENOUGH_STEPS / summary.steps, _ENOUGH_EPOCHS / summary.epochs)
        log.warning(
            "The run had only %d steps (%.1f epochs) in %.3g minute%s of training: the network has hardly learnt "
            "anything. Train longer: %s",
            summary.steps,
            summary.epochs,
            learning_minutes,
            "s" * (f"{learning_minutes:.3g}" != "1"),
            longer(math.ceil(learning_minutes * factor)),
        )
        return
    if summary.only_class is not None:
        call = longer(max(_FEW_MINUTES, math.ceil(2 * summary.seconds / 60)))
        ways = [f"train longer: {call}", f"start again with a lower learning rate: {lower_rate(summary.lr)}"]
        first, second = ways if summary.steps < _ENOUGH_STEPS else ways[::-1]
        log.warning(
            "The network predicts only %s on the validation tiles, which have %d classes. %s; or %s",
            summary.only_class,
            sum(any(row) for row in summary.validation.confusion),
            first[0].upper() + first[1:],
            second,
        )


class CollapseWatch:
    """Warns once, while a run is under way, that its network finds one class only: one need not wait for the end.

    Args:
        lr: Peak learning rate of the run.
    """

    def __init__(self, lr: float) -> None:
        self._lr = lr
        self._warned = False

    def see(self, row: LogRow) -> None:
        """Take note of a validation; the last one is left to :func:`warn_of_training`."""
        labelled = [name for name, iou in row.ious.items() if not math.isnan(iou)]
        found = [name for name in labelled if row.ious[name] > 0]
        early = row.step < _ENOUGH_STEPS or row.seconds < _EARLY * (row.seconds + row.seconds_left)
        if self._warned or early or not row.seconds_left or len(labelled) < 2 or len(found) > 1:
            return
        self._warned = True
        log.warning(
            "After %d steps, the network finds %s on the validation tiles, which have %d classes. If that does not "
            "change soon, stop and start again with a lower learning rate: %s",
            row.step,
            f"only {found[0]}" if found else "no class",
            len(labelled),
            lower_rate(self._lr),
        )


def lower_rate(lr: float) -> str:
    """Return the setting to try instead of a learning rate at which a network collapsed: a tenth of it."""
    return f"`lr={lr / 10:.3g}` in place of {lr:g}"
