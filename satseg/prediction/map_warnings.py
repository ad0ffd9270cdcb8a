"""Warnings about maps of networks that were trained too little: a single class, or many tiny regions."""

from __future__ import annotations

import logging

from satseg.checkpoint import ModelCard
from satseg.records import PredictionSummary

log = logging.getLogger("satseg")

_CRUMB = 25.0  # pixels: objects that labels were drawn around are larger on average
_MANY = 1000  # regions: fewer may well be small


def warn_of_map(summary: PredictionSummary, card: ModelCard) -> None:
    """Warn where a map has one class, and the network found no other one in training; or where it is all crumbs.

    Args:
        summary: What was mapped.
        card: Card of the network.
    """
    steps = f"{card.training['steps']:,} steps" if "steps" in card.training else "some steps"
    longer = f"This network was trained for {steps}: train longer (`satseg.train`, `minutes`)"
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
            "The map of %s is fragmented: %s regions of %.0f px on average. %s; or, in `satseg.predict`, drop small "
            "polygons (`min_area`), or small regions of class raster and polygons (`sieve`).",
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
