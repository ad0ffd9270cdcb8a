"""What users are warned of once a tile set is planned or made."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from satseg.errors import TileError
from satseg.labels.class_map import ClassMap
from satseg.labels.labels import LabelSource
from satseg.records import TileSummary
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet
from satseg.tiling.planner import LayoutRequest, Plan, Planner

log = logging.getLogger("satseg")

_LISTED = 12
_PLAIN = 2  # classes of labels that tell objects from background


def warn_of_changes(base: TileSet, provenance: Mapping[str, Any]) -> None:
    """Warn where tiles that are added will mean something else than those that are there."""
    before = base.provenance[0] if base.provenance else {}
    for name in ("bands", "gsd", "class_map", "all_touched", "outside", "ignore_border", "boundary"):
        same = _keeps_classes if name == "class_map" else operator.eq
        if not same(before.get(name), provenance.get(name)):
            option = name.replace("_", "-")
            then, now = (entry.get(name, "none") for entry in (before, provenance))
            log.warning("%s was made with --%s %s; these tiles are made with %s.", base.path, option, then, now)


def _keeps_classes(before: str | None, now: str | None) -> bool:
    """Tell whether a class map gives all values that an earlier one names the same classes."""
    if before is None or now is None:
        return before == now
    names = ClassMap.parse(now).names
    return all(names.get(value) == name for value, name in ClassMap.parse(before).names.items())


def tell_choice(planner: Planner, asked: LayoutRequest, plan: Plan) -> None:
    """Say which tiles and blocks were chosen, and warn where splits stay empty, with the options that fill them.

    Raises:
        TileError: There is nothing to train on.
    """
    layout, chosen = plan.layout, asked.open
    parts = [f"tiles of {layout.size} px"] if "size" in chosen else []
    if "whole_scenes" in chosen and layout.whole_scenes:
        parts.append("whole scenes for each split")
    elif "block" in chosen:
        parts.append(f"blocks of {layout.block} px for each split")
    if parts:
        log.info("Chose %s.", " and ".join(parts))
    if not plan.empty:
        return
    advice = _filling(planner, asked, plan)
    if "train" in plan.empty and not plan.given:
        raise TileError(f"No tile is left for training: {advice}")
    log.warning("No tile for %s: %s", _joined(plan.empty), advice)


def _filling(planner: Planner, asked: LayoutRequest, plan: Plan) -> str:
    """Return what fills the splits that get no tile."""
    if plan.given:
        return "their scenes hold no labelled pixel, or none that lies apart from tiles of the other splits."
    remedy = planner.remedy(asked, plan)
    if remedy is not None:
        return f"{remedy} would fill {_joined(plan.wanted)}."
    if asked.drawn:
        return "no region of theirs holds a labelled pixel that lies apart from tiles of the other splits."
    if plan.layout.buffer:
        return (
            f"no size of tiles and blocks fills all splits with a buffer of {plan.layout.buffer} px. Take a smaller "
            "--buffer, or add scenes."
        )
    return (
        "no size of tiles and blocks fills all splits. Add scenes or labels, or ask for fewer splits, such as "
        "--split 0.8,0.2,0."
    )


def tell_background(labels: LabelSource, plan: Plan) -> None:
    """Say what becomes of ground outside of all polygons, where that is a question: beside one class it is none."""
    background = labels.classes.background
    if background is None:
        log.info("No labelled ground lies outside of all polygons, so that there is no class background.")
    elif len(labels.classes) > _PLAIN and labels.refinements.labelled_area is None:
        share = sum(block.pixels[background] for block in plan.found) / sum(block.labelled for block in plan.found)
        log.info(
            "Ground outside of all polygons, %.0f%%, is background; if it is unknown: --outside ignore.", 100 * share
        )


def warn_of_gaps(summary: TileSummary, plan: Plan) -> None:
    """Warn of splits whose tiles were all left out, and of classes that no tile or no tile of a split holds."""
    names = list(summary.pixels[SPLITS[0]])
    absent = [name for name in names if not any(counts[name] for counts in summary.pixels.values())]
    if absent:
        log.warning(
            "No tile holds a pixel of %s. Networks will have an output for each all the same, and never learn it; "
            "--class-map and --where leave classes out.",
            _few(absent),
        )
    if len(names) - len(absent) == 1:
        log.warning(
            "All labelled pixels are %s, and a network learns to call everything so. Label what it is not, too: by "
            "other classes, or by ground around the polygons that --outside and --labelled-area do not leave out.",
            next(name for name in names if name not in absent),
        )
    for split in plan.wanted:
        planned = sum(tile.split == split for tile in plan.planned)
        if planned and not summary.tiles[split]:
            log.warning(
                "None of the %d tiles of %s was kept. See --min-valid, --min-pixels, --keep-empty and --limit.",
                planned,
                split,
            )
        counts = summary.pixels[split]
        missing = [
            n for n, name in enumerate(names) if summary.tiles[split] and not counts[name] and name not in absent
        ]
        if missing:
            told = [names[number] for number in missing]
            if not plan.given and not plan.filled:  # all blocks there are, and they are dealt here
                blocks = [sum(block.pixels[number] > 0 for block in plan.found) for number in missing]
                told = [f"{name} (in {count})" for name, count in zip(told, blocks, strict=True)]
                told[0] = f"{told[0][:-1]} block{'s' if blocks[0] > 1 else ''} of all splits)"
            log.warning("The split %s has no pixel of %s. %s", split, _few(told), _advice(plan))


def _advice(plan: Plan) -> str:
    """Return what may give all splits all classes."""
    if plan.given:
        return "Nothing mends that but other scenes, since they come with their splits."
    drawn = "splits that you drew: --split-by regions.gpkg:split."
    if plan.found[0].region is not None:
        return "Draw the regions of the splits so that each holds all classes."
    if plan.layout.whole_scenes:
        return f"Try --split-by block, another --seed, or {drawn}"
    smaller = "--block" if plan.layout.block > plan.layout.size else "--size and --block"
    return f"Try a smaller {smaller}, another --seed, or {drawn}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
