"""Choose tile and block sizes that the user left open, so that every split gets tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from satseg.labels.label_source import LabelSource
from satseg.tiles.splits import SPLITS
from satseg.tiling.build import Builder
from satseg.tiling.cut import PlannedTile, empty_class
from satseg.tiling.plan import Block, ExistingTiles, Layout, assign_splits, in_reading_order, without_leaks
from satseg.tiling.request import SMALLER, LayoutRequest

_NEAR = 0.5  # least part of its share that a split must get
RECOUNTED = 2**26  # pixels; larger scenes are not counted again only to spread objects over all splits


@dataclass(frozen=True)
class Plan:
    """Tiles to be cut.

    Args:
        layout: How they are laid out.
        found: Blocks with labelled pixels.
        splits: Split of each.
        planned: The tiles.
        kept_apart: Number of tiles left out because they overlap tiles of another split.
        filled: Splits that already have tiles.
        given: Splits that the user assigned scenes to.
    """

    layout: Layout
    found: list[Block]
    splits: list[str]
    planned: list[PlannedTile]
    kept_apart: int
    filled: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    @property
    def areas(self) -> dict[str, int]:
        """Labelled pixels of each split."""
        areas = dict.fromkeys(SPLITS, 0)
        for block, split in zip(self.found, self.splits, strict=True):
            areas[split] += block.labelled
        return areas

    def shares_of(self, names: Sequence[str]) -> dict[str, float]:
        """Return the share of the labelled pixels that each class has, by the names of the classes in their order."""
        pixels = np.array([block.pixels for block in self.found]).sum(axis=0)
        return dict(zip(names, (pixels / pixels.sum()).tolist(), strict=True))

    @property
    def empty(self) -> list[str]:
        """Splits that get no tile although their share is not 0."""
        there = {planned.split for planned in self.planned} | self.filled
        return [split for split in self.wanted if split not in there]

    @property
    def wanted(self) -> list[str]:
        """Splits that should get tiles: the assigned ones, all with split regions, or else those with a share."""
        if self.given:
            return [split for split in SPLITS if split in self.given]
        drawn = self.found[0].region is not None
        return [split for split, share in self._shares.items() if share or drawn]

    @property
    def near(self) -> bool:
        """Whether every split gets at least half of its share."""
        areas, shares = self.areas, self._shares
        least = _NEAR * sum(areas.values()) / sum(shares.values())
        return not self.empty and all(areas[split] >= least * share for split, share in shares.items())

    def spread(self, background: int | None) -> bool:
        """Tell whether every split holds classes other than background, if any block does."""
        pixels = np.array([block.pixels for block in self.found])
        objects = np.delete(pixels, [] if background is None else [background], axis=1).any(axis=1)
        holding = set(np.array(self.splits, dtype=object)[objects])
        return not holding or holding >= set(self.wanted)

    @property
    def _shares(self) -> dict[str, float]:
        return dict(zip(SPLITS, self.layout.shares, strict=True))


@dataclass(frozen=True)
class Planner:
    """Plan tiles, trying several layouts.

    Args:
        builder: Finds labelled blocks.
        existing: Tiles of the tile set that is added to.
        crs: CRS to compare footprints in.
    """

    builder: Builder
    existing: ExistingTiles
    crs: str | None

    def plan(self, layout: Layout, within: Sequence[Block] | None = None) -> Plan:
        """Plan tiles of a layout.

        Args:
            layout: How tiles are laid out.
            within: Labelled blocks of another layout, outside of which nothing is labelled; None searches everywhere.

        Raises:
            LabelError: No label touches any scene.
            TileError: No pixel is both valid and labelled.
            UsageError: The shares make no sense.
        """
        infos = self.builder.infos
        found = self.builder.find_blocks(layout, within)
        splits = assign_splits(found, infos, layout, self.existing, self.crs)
        laid = [
            planned
            for number, (block, split) in enumerate(zip(found, splits, strict=True))
            for planned in layout.lay(number, block, split, infos[block.scene])
        ]
        planned = in_reading_order(without_leaks(laid, infos, layout, self.existing, self.crs))
        filled = frozenset(self.existing.splits.tolist())
        given = frozenset(source.split for source in self.builder.sources if source.split is not None)
        return Plan(layout, found, splits, planned, len(laid) - len(planned), filled, given)

    def choose(self, request: LayoutRequest, within: Sequence[Block] | None = None) -> Plan:
        """Plan tiles of the first layout that gives each split near its share, and more than background.

        Tiles under 128 px are tried only if larger ones leave a split far below its share. If no layout qualifies, the
        first one with the fewest empty splits is returned.

        Raises:
            LabelError: No label touches any scene.
            TileError: No pixel is both valid and labelled.
        """
        background = self._background
        plans: list[Plan] = []
        for group in request.layouts(self.builder.layout, self.builder.infos):
            if group[0].size < SMALLER[0] and any(plan.near for plan in plans):
                break
            for layout in group:
                plan = self.plan(layout, plans[0].found if plans else within)
                plans.append(plan)
                large = sum(plan.areas.values()) > RECOUNTED
                if plan.near and (large or plan.spread(background)):
                    return plan
        return max(plans, key=lambda plan: (-len(plan.empty), plan.near, plan.spread(background)))

    def remedy(self, request: LayoutRequest, plan: Plan) -> str | None:
        """Return settings that would fill all splits, or None if there are none."""
        blocks = replace(request, block=None, whole_scenes=request.whole_scenes and None)
        both = replace(blocks, size=None)
        for other in [] if request.drawn else [blocks, replace(request, size=None), both, replace(both, overlap=None)]:
            if other == request or not any(other.layouts(plan.layout, self.builder.infos)):
                continue
            found = self.choose(other, plan.found)
            if not found.empty:
                freed = other.overlap != request.overlap
                return found.layout.options(by_block=request.whole_scenes is not False, overlap=freed)
        return None

    @property
    def _background(self) -> int | None:
        classes = self.builder.labels.classes
        name = empty_class(classes)
        return None if name is None else classes.names.index(name)


def without_empty_background(labels: LabelSource, plan: Plan) -> tuple[LabelSource, Plan]:
    """Return labels and plan without the class background where no block holds a pixel of it."""
    background = labels.classes.background
    if background is None or len(labels.classes) < 2 or any(block.pixels[background] for block in plan.found):
        return labels, plan
    found = [
        replace(block, pixels=(*block.pixels[:background], *block.pixels[background + 1 :])) for block in plan.found
    ]
    return labels.without_background(), replace(plan, found=found)
