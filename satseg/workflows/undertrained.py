"""Warnings about networks that were trained too little."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from satseg.records import TrainingSummary

log = logging.getLogger("satseg")

_FEW_MINUTES = 10
_FEW_STEPS = 20
_ENOUGH_STEPS, _ENOUGH_EPOCHS = 100, 5


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
    report = summary.validation
    labelled = sum(any(row) for row in report.confusion)
    found = [
        entry.name
        for entry, column in zip(report.classes, zip(*report.confusion, strict=True), strict=True)
        if any(column)
    ]
    if labelled > 1 and len(found) == 1:
        log.warning(
            "The network predicts only %s on the validation tiles, which have %d classes. Train longer: %s",
            found[0],
            labelled,
            longer(max(_FEW_MINUTES, math.ceil(2 * summary.seconds / 60))),
        )
