"""Warnings about networks that were trained too little: they find one class, or their maps fall into crumbs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from satseg.checkpoint import ModelCard
from satseg.records import PredictionSummary, TrainingSummary

log = logging.getLogger("satseg")

_FEW_MINUTES = 10
_FEW_STEPS = 20
_ENOUGH_STEPS, _ENOUGH_EPOCHS = 100, 5
_CRUMB = 25.0  # pixels: objects that labels were drawn around are larger on average
_MANY = 1000  # regions: fewer may well be small


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


def warn_of_map(summary: PredictionSummary, card: ModelCard) -> None:
    """Warn where a map has one class, and the network found no other one in training; or where it is all crumbs.

    Args:
        summary: What was mapped.
        card: Card of the network.
    """
    steps = f"{card.training['steps']:,} steps" if "steps" in card.training else "some steps"
    longer = f"This network was trained for {steps}: train longer, with --minutes"
    found = [entry.name for entry in card.classes if summary.pixels[entry.name]]
    if len(found) == 1 and _finds_only(found[0], card):
        log.warning(
            "All of %s became %s; on its val tiles, too, the network found nothing else. %s.",
            summary.scene,
            found[0],
            longer,
        )
    polygons = summary.polygons or {}
    count = sum(polygons.values()) + (summary.specks or 0)
    pixels = sum(summary.pixels[name] for name in polygons)
    if count >= _MANY and pixels < _CRUMB * count:
        log.warning(
            "The map of %s is all crumbs: %s regions of %.0f px on average. %s; or leave crumbs out, of polygons with "
            "--min-area, of all with --sieve.",
            summary.scene,
            f"{count:,}",
            pixels / count,
            longer,
        )


def _finds_only(name: str, card: ModelCard) -> bool:
    """Tell whether, of several classes in its val tiles, the network found one alone."""
    scores = {
        entry.name: card.metrics[f"iou {entry.name}"] for entry in card.classes if f"iou {entry.name}" in card.metrics
    }
    return len(scores) > 1 and [found for found, score in scores.items() if score > 0] == [name]
