"""Which tiles a tile set will be cut from: blocks of scenes, the split of each, and the tiles in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.raster.labels import Labels
from satseg.records import SceneInfo
from satseg.tiles.cut import Planned
from satseg.tiles.layout import SPLITS, assign_splits, blocks, place_at_random, place_tiles
from satseg.tiles.places import Places, follow, overlapping
from satseg.tiles.regions import Region, Regions
from satseg.tiles.sources import AnyScene

_PLACE = 2  # sub-stream of the seed's randomness: where random tiles lie
_CHUNK = 2**22  # pixels that are read at once to count
_SAME_GROUND = 0.1  # share of a block


@dataclass(frozen=True)
class Block:
    """A part of a scene that belongs to one split.

    Args:
        scene: Number of the scene.
        window: Its pixels.
        labelled: Pixels that are both valid and labelled.
        region: The polygon that decides its split, or None.
    """

    scene: int
    window: Window
    labelled: int = 0
    region: Region | None = None


@dataclass(frozen=True)
class Layout:
    """How tiles are laid out.

    Args:
        size: Side of a tile in pixels.
        overlap: Pixels that neighbouring training tiles share.
        at_random: Lay training tiles at random, as many as a grid would have.
        whole_scenes: Give whole scenes to a split, not blocks of them.
        block: Side of a block in pixels.
        buffer: Pixels between training tiles and the others, at least.
        shares: Shares of train, val and test in area.
        seed: Decides which block goes to which split, and where random tiles lie.
    """

    size: int
    overlap: int
    at_random: bool
    whole_scenes: bool
    block: int
    buffer: int
    shares: tuple[float, ...]
    seed: int

    def part(self, number: int, info: SceneInfo, regions: Regions | None) -> list[Block]:
        """Part a scene into blocks."""
        if regions is not None:
            return [Block(number, region.window, region=region) for region in regions.on(info)]
        if self.whole_scenes:
            return [Block(number, Window(0, 0, info.width, info.height))]
        windows = blocks(info.height, info.width, block=self.block, size=self.size)
        return [Block(number, window) for window in windows]

    def lay(self, number: int, block: Block, split: str, info: SceneInfo) -> list[Planned]:
        """Lay tiles into a block of a scene. Only those of train overlap, or lie at random."""
        overlap = self.overlap if split == "train" else 0
        if split == "train" and self.at_random:
            rng = np.random.default_rng((self.seed, _PLACE, number))
            placed = place_at_random(block.window, size=self.size, overlap=overlap, rng=rng)
        else:
            placed = place_tiles(block.window, size=self.size, overlap=overlap)
        if block.region is not None:
            placed = [placement for placement in placed if block.region.touches(info, placement.window)]
        return [Planned(block.scene, number, split, placement, block.region) for placement in placed]


@dataclass(frozen=True)
class Existing:
    """Tiles that are there already, which new ones must not leak into.

    Args:
        places: Where they lie.
        splits: (N,) split of each.
    """

    places: Places
    splits: np.ndarray

    def of(self, *splits: str) -> Places:
        """Return where the tiles of some splits lie."""
        return self.places[np.isin(self.splits.astype(str), splits)]


def deal(
    found: Sequence[Block], infos: Sequence[SceneInfo], layout: Layout, existing: Existing, crs: str | None
) -> list[str]:
    """Give each block a split.

    Regions have theirs. Blocks that show the same ground, in several scenes, get the same one; so do those that show
    the ground of existing tiles. The others are dealt so that areas come close to the shares.

    Args:
        found: Blocks with labelled pixels.
        infos: Their scenes.
        layout: How tiles are laid out.
        existing: Tiles that are there already.
        crs: CRS to compare footprints in.

    Raises:
        UsageError: The shares make no sense.
    """
    if found and found[0].region is not None:
        return [block.region.split for block in found if block.region is not None]
    units = [block.scene for block in found] if layout.whole_scenes else list(range(len(found)))
    places = Places.of(infos, [block.scene for block in found], [block.window for block in found], crs)
    groups = follow(places)
    roots = _merge(units, groups)
    given = _given(places, existing, roots)
    areas: dict[int, int] = {}
    for block, root in zip(found, roots, strict=True):
        areas[root] = areas.get(root, 0) + block.labelled
    free = [root for root in areas if root not in given]
    if free:
        given |= dict(zip(free, assign_splits([areas[root] for root in free], layout.shares, layout.seed), strict=True))
    return [given[root] for root in roots]


def _merge(units: Sequence[int], groups: np.ndarray) -> list[int]:
    """Return for each block the first unit of all that are tied together, by unit or by ground."""
    parent = {unit: unit for unit in units}

    def root(unit: int) -> int:
        while parent[unit] != unit:
            unit = parent[unit]
        return unit

    for i, j in enumerate(groups.tolist()):
        one, other = sorted((root(units[i]), root(units[j])))
        parent[other] = one
    return [root(unit) for unit in units]


def _given(places: Places, existing: Existing, roots: Sequence[int]) -> dict[int, str]:
    """Return the split of those roots whose ground existing tiles cover."""
    if not (len(existing.places) and places.comparable and existing.places.comparable):
        return {}
    theirs, mine = shapely.STRtree(places.footprints).query(existing.places.footprints, predicate="intersects")
    shared = shapely.area(shapely.intersection(existing.places.footprints[theirs], places.footprints[mine]))
    areas: dict[int, dict[str, float]] = {}
    for tile, block, area in zip(theirs.tolist(), mine.tolist(), shared.tolist(), strict=True):
        split = str(existing.splits[tile])
        if split in SPLITS and area > _SAME_GROUND * shapely.area(places.footprints[block]):
            by_split = areas.setdefault(roots[block], {})
            by_split[split] = by_split.get(split, 0.0) + area
    return {root: max(by_split, key=lambda split: by_split[split]) for root, by_split in areas.items()}


def without_leaks(
    planned: Sequence[Planned], infos: Sequence[SceneInfo], layout: Layout, existing: Existing, crs: str | None
) -> list[Planned]:
    """Leave out training tiles that come too near to others, and others that overlap existing training tiles."""
    places = Places.of(infos, [p.scene for p in planned], [p.placement.window for p in planned], crs)
    train = np.array([p.split == "train" for p in planned], dtype=bool)
    kept = np.ones(len(planned), dtype=bool)
    kept[~train] = ~overlapping(places[~train], existing.of("train"), margin=layout.buffer)
    kept[train] &= ~overlapping(places[train], existing.of("val", "test"), margin=layout.buffer)
    kept[train] &= ~overlapping(places[train], places[~train & kept], margin=layout.buffer)
    return [p for p, keep in zip(planned, kept.tolist(), strict=True) if keep]


def labelled_pixels(scene: AnyScene, labels: Labels, block: Block) -> int:
    """Count the pixels of a block that are both valid and labelled."""
    return sum(_count(scene, labels, window, block.region) for window in _chunks(block.window))


def _count(scene: AnyScene, labels: Labels, window: Window, region: Region | None) -> int:
    known = labels.read(window) != IGNORE_INDEX
    if scene.info.has_mask:
        known &= scene.read(window)[1]
    if region is not None:
        known &= region.covers(scene.info, window)
    return int(np.count_nonzero(known))


def _chunks(window: Window) -> Iterator[Window]:
    height, width = int(window.height), int(window.width)
    across = min(width, 2048)
    down = max(1, min(height, _CHUNK // across))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield Window(
                window.col_off + left, window.row_off + top, min(across, width - left), min(down, height - top)
            )
