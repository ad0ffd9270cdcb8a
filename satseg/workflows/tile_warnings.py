"""What users are warned of once a tile set is planned or made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from satseg.records import TileSummary
from satseg.tiles.layout import SPLITS
from satseg.tiles.plan import Block
from satseg.tiles.tileset import TileSet

log = logging.getLogger("satseg")


def warn_of_changes(base: TileSet, provenance: Mapping[str, Any]) -> None:
    """Warn where tiles that are added will mean something else than those that are there."""
    before = base.provenance[0] if base.provenance else {}
    for name in ("bands", "gsd", "class_map", "all_touched", "ignore_border", "boundary"):
        if before.get(name) != provenance.get(name):
            option = name.replace("_", "-")
            then, now = (entry.get(name, "none") for entry in (before, provenance))
            log.warning("%s was made with --%s %s; these tiles are made with %s.", base.path, option, then, now)


def warn_of_gaps(summary: TileSummary, shares: Sequence[float], found: Sequence[Block]) -> None:
    """Warn of splits without a tile or without a class, and say what helps."""
    for split, share in zip(SPLITS, shares, strict=True):
        if share > 0 and not summary.tiles[split]:
            log.warning("The split %s got no tile: there are too few blocks. Try a smaller --block or --size.", split)
            continue
        counts = summary.pixels[split].values()
        missing = [(name, number) for number, name in enumerate(summary.pixels[split]) if not list(counts)[number]]
        if share > 0 and missing:
            holding = [sum(block.pixels[number] > 0 for block in found) for _, number in missing]
            log.warning(
                "The split %s has no pixel of %s (in %s blocks of all splits). Try a smaller --block, another "
                "--seed, or splits that you drew: --split-by regions.gpkg:split.",
                split,
                ", ".join(name for name, _ in missing),
                ", ".join(map(str, holding)),
            )
