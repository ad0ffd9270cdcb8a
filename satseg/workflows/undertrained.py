"""Warnings about networks that were trained too little: they find one class, or their maps fall into crumbs."""

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
    """Warn where a run by the clock came to few steps; or a network maps all val tiles as one class of several.

    Args:
        summary: How the run ended.
        longer: Returns the command by which it learns for so many minutes in all.
        learning_minutes: What it was given; None for a run by steps, whose users know how many there are.
    """
    if learning_minutes is not None and (summary.steps < _FEW_STEPS or summary.epochs < 1):
        factor = max(_ENOUGH_STEPS / summary.steps, _ENOUGH_EPOCHS / summary.epochs)
        log.warning(
            "There were only %d steps, %.1f epochs, in %.3g minutes of learning: the network has hardly learnt "
            "anything. Train longer: %s",
            summary.steps,
            summary.epochs,
            learning_minutes,
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
            "The network calls everything on the val tiles %s, which have %d classes. Train longer: %s",
            found[0],
            labelled,
            longer(max(_FEW_MINUTES, math.ceil(2 * summary.seconds / 60))),
        )
