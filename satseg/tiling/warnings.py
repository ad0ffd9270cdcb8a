"""Warnings and advice about a tile set that was planned or made."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from satseg.arguments import list_few
from satseg.errors import TileError
from satseg.labels.class_map import ClassMap
from satseg.labels.label_source import LabelSource
from satseg.records import TileSummary
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet
from satseg.tiling.planner import Plan, Planner
from satseg.tiling.request import LayoutRequest

log = logging.getLogger("satseg")

_LISTED = 12
_PLAIN = 2  # classes of labels that tell objects from background


def warn_of_changes(base: TileSet, provenance: Mapping[str, Any]) -> None:
    """Warn where tiles are added with settings that change the meaning of labels or bands."""
    before = base.provenance[0] if base.provenance else {}
    for name in ("bands", "gsd", "class_map", "all_touched", "outside", "ignore_border", "boundary"):
        same = _keeps_classes if name == "class_map" else operator.eq
        if not same(before.get(name), provenance.get(name)):
            then, now = (_with(name, entry.get(name)) for entry in (before, provenance))
            log.warning("%s was made %s; the new tiles are made %s.", base.path, then, now)


def _with(name: str, value: Any) -> str:
    return f"without `{name}`" if value is None or value is False else f"with `{name}={value!r}`"


def _keeps_classes(before: str | None, now: str | None) -> bool:
    """Tell whether a class map maps all values of an earlier one to the same classes."""
    if before is None or now is None:
        return before == now
    names = ClassMap.parse(now).names
    return all(names.get(value) == name for value, name in ClassMap.parse(before).names.items())


def log_choice(planner: Planner, request: LayoutRequest, plan: Plan) -> None:
    """Log the sizes that were chosen; warn of empty splits, with the settings that would fill them.

    Raises:
        TileError: There is nothing to train on.
    """
    layout, chosen = plan.layout, request.open
    parts = [f"tiles of {layout.size} px"] if "size" in chosen else []
    if "whole_scenes" in chosen and layout.whole_scenes:
        parts.append("whole scenes for the splits")
    elif "block" in chosen:
        parts.append(f"blocks of {layout.block} px for the splits")
    if parts:
        log.info("Chose %s.", " and ".join(parts))
    if not plan.empty:
        return
    advice = _filling(planner, request, plan)
    if "train" in plan.empty and not plan.given:
        raise TileError(f"No tile is left for training: {advice}")
    log.warning("No tile for %s: %s", _joined(plan.empty), advice)


def _filling(planner: Planner, request: LayoutRequest, plan: Plan) -> str:
    """Return what would fill the splits without a tile."""
    if plan.given:
        return "their scenes have no labelled pixels, or only ones that overlap tiles of other splits."
    remedy = planner.remedy(request, plan)
    if remedy is not None:
        return f"{remedy} would fill {_joined(plan.wanted)}."
    if request.drawn:
        return "their regions have no labelled pixels, or only ones that overlap tiles of other splits."
    if plan.layout.buffer:
        return (
            f"no size of tiles and blocks fills all splits with a buffer of {plan.layout.buffer} px. Use a smaller "
            "`buffer`, or add scenes."
        )
    return (
        "no size of tiles and blocks fills all splits. Add scenes or labels, or use fewer splits, such as "
        "`split='0.8,0.2,0'`."
    )


def log_background(labels: LabelSource, plan: Plan) -> None:
    """Log the class of pixels outside of all polygons, unless there is only one other class."""
    background = labels.classes.background
    if background is None:
        log.info("There is no class background, since no valid pixel lies outside of all polygons.")
    elif len(labels.classes) > _PLAIN and labels.refinements.labelled_area is None:
        share = sum(block.pixels[background] for block in plan.found) / sum(block.labelled for block in plan.found)
        log.info(
            "Pixels outside of all polygons (%.0f%%) are background; if they are unlabelled, use `outside='ignore'`.",
            100 * share,
        )


def warn_of_gaps(summary: TileSummary, plan: Plan) -> None:
    """Warn of splits without a tile, and of classes that are missing from all tiles or from those of a split."""
    names = list(summary.pixels[SPLITS[0]])
    absent = [name for name in names if not any(counts[name] for counts in summary.pixels.values())]
    if absent:
        log.warning(
            "No tile has a pixel of %s. Networks will have an output for each of them, but never learn it; exclude "
            "classes with `class_map` or `where`.",
            list_few(absent, _LISTED),
        )
    if len(names) - len(absent) == 1:
        log.warning(
            "All labelled pixels are %s, so a network learns to predict it everywhere. Add labels of other classes, or "
            "background around the polygons that `outside` and `labelled_area` do not exclude.",
            next(name for name in names if name not in absent),
        )
    for split in plan.wanted:
        planned = sum(tile.split == split for tile in plan.planned)
        if planned and not summary.tiles[split]:
            log.warning(
                "None of the %d tiles of %s was kept. See `min_valid`, `min_pixels`, `keep_empty` and `limit`.",
                planned,
                split,
            )
        counts = summary.pixels[split]
        missing = [
            n for n, name in enumerate(names) if summary.tiles[split] and not counts[name] and name not in absent
        ]
        if missing:
            listed = [names[number] for number in missing]
            if not plan.given and not plan.filled:  # all blocks are known, and assigned here
                blocks = [sum(block.pixels[number] > 0 for block in plan.found) for number in missing]
                listed = [f"{name} (in {count})" for name, count in zip(listed, blocks, strict=True)]
                listed[0] = f"{listed[0][:-1]} block{'s' if blocks[0] > 1 else ''} of all splits)"
            log.warning("The split %s has no pixel of %s. %s", split, list_few(listed, _LISTED), _advice(plan))


def _advice(plan: Plan) -> str:
    """Return what may give every split every class."""
    if plan.given:
        return "Add scenes with that class to the split, since scenes are assigned to splits as given."
    drawn = "draw the splits yourself: `split_by='regions.gpkg:split'`."
    if plan.found[0].region is not None:
        return "Draw the regions so that those of each split contain all classes."
    if plan.layout.whole_scenes:
        return f"Try `split_by='block'`, another `seed`, or {drawn}"
    smaller = "`block`" if plan.layout.block > plan.layout.size else "`size` and `block`"
    return f"Try a smaller {smaller}, another `seed`, or {drawn}"


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
