"""Plan the tiles of a tile set: divide scenes into blocks, assign splits, place tiles, and remove leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.labels.labels import Labels
from satseg.raster.values import ValueRange
from satseg.records import SceneInfo
from satseg.tiles.extents import Extents, covered, group_by_overlap, overlapping
from satseg.tiles.splits import SPLITS
from satseg.tiling.cut import PlannedTile
from satseg.tiling.layout import balance_splits, blocks, place_at_random, place_tiles
from satseg.tiling.sources import AnyScene
from satseg.tiling.split_regions import SplitRegion, SplitRegions

_POSITION = 2  # sub-stream of the seed for random tile positions
_CHUNK = 2**22  # pixels that are read at once to count
_SAME_GROUND = 0.1  # share of a block


@dataclass(frozen=True)
class Block:
    """A part of a scene that belongs to one split.

    Args:
        scene: Number of the scene.
        window: Its pixels.
        pixels: Those of each class that are both valid and labelled.
        region: The polygon that determines its split, or None.
        split: The split that the user assigned to its scene, or None.
    """

    scene: int
    window: Window
    pixels: tuple[int, ...] = ()
    region: SplitRegion | None = None
    split: str | None = None

    @property
    def labelled(self) -> int:
        """Pixels that are both valid and labelled."""
        return sum(self.pixels)

    @property
    def given(self) -> str | None:
        """The split that the user assigned, by region or by scene."""
        return self.split if self.region is None else self.region.split


@dataclass(frozen=True)
class Layout:
    """How tiles are laid out.

    Args:
        size: Side of a tile in pixels.
        overlap: Pixels that neighbouring training tiles share.
        at_random: Place training tiles at random, as many as a grid would have.
        whole_scenes: Assign whole scenes to splits, not blocks.
        block: Side of a block in pixels.
        buffer: Minimum distance in pixels between training tiles and those of other splits.
        shares: Shares of train, val and test in area.
        seed: Seed of the assignment to splits and of random tile positions.
    """

    size: int
    overlap: int
    at_random: bool
    whole_scenes: bool
    block: int
    buffer: int
    shares: tuple[float, ...]
    seed: int

    def part(self, number: int, info: SceneInfo, regions: SplitRegions | None, split: str | None = None) -> list[Block]:
        """Divide a scene into blocks; ``split`` is the one assigned to the scene, if any."""
        if regions is not None:
            return [Block(number, region.window, region=region) for region in regions.on(info)]
        if self.whole_scenes:
            return [Block(number, Window(0, 0, info.width, info.height), split=split)]
        windows = blocks(info.height, info.width, block=self.block, size=self.size)
        return [Block(number, window, split=split) for window in windows]

    def block_side(self, *, drawn: bool) -> int | None:
        """Return the side of the blocks; None where whole scenes or regions (``drawn``) are assigned to splits."""
        return None if drawn or self.whole_scenes else self.block

    def options(self, *, by_block: bool, overlap: bool = False) -> str:
        """Return the settings of ``tile`` that produce this layout.

        Args:
            by_block: Whether ``split_by`` must be named, since whole scenes are its default.
            overlap: Whether to name the overlap, too.
        """
        size = f"`size={self.size}`{f' `overlap={self.overlap}`' if overlap else ''}"
        by_blocks = " `split_by='block'`" if by_block else ""
        return size if self.whole_scenes else f"{size} `block={self.block}`{by_blocks}"

    def lay(self, number: int, block: Block, split: str, info: SceneInfo) -> list[PlannedTile]:
        """Place tiles in a block of a scene. Only training tiles overlap or are placed at random."""
        overlap = self.overlap if split == "train" else 0
        if split == "train" and self.at_random:
            rng = np.random.default_rng((self.seed, _POSITION, number))
            placed = place_at_random(block.window, size=self.size, overlap=overlap, rng=rng)
        else:
            placed = place_tiles(block.window, size=self.size, overlap=overlap)
        if block.region is not None:
            placed = [placement for placement in placed if block.region.touches(info, placement.window)]
        return [PlannedTile(block.scene, number, split, placement, block.region) for placement in placed]


@dataclass(frozen=True)
class ExistingTiles:
    """Tiles of the tile set that is added to, which new tiles must not leak into.

    Args:
        extents: Their extents.
        splits: (N,) split of each.
    """

    extents: Extents
    splits: np.ndarray

    def of(self, *splits: str) -> Extents:
        """Return the extents of the tiles of some splits."""
        return self.extents[np.isin(self.splits.astype(str), splits)]


def assign_splits(
    found: Sequence[Block], infos: Sequence[SceneInfo], layout: Layout, existing: ExistingTiles, crs: str | None
) -> list[str]:
    """Assign each block to a split.

    Regions, and scenes with an assigned split, keep theirs. Blocks of several scenes that show the same ground get the
    same split, and blocks that show the ground of existing tiles get theirs. The others are assigned so that areas
    approach the shares and each split holds every class, if possible.

    Args:
        found: Blocks with labelled pixels.
        infos: Their scenes.
        layout: How tiles are laid out.
        existing: Tiles of the tile set that is added to.
        crs: CRS to compare footprints in.

    Raises:
        UsageError: The shares are not valid.
    """
    given = [block.given for block in found if block.given is not None]
    if given:
        return given
    units = [block.scene for block in found] if layout.whole_scenes else list(range(len(found)))
    extents = Extents.of(infos, [block.scene for block in found], [block.window for block in found], crs)
    groups = group_by_overlap(extents)
    roots = _connected(units, groups)
    known = _splits_of_covered(extents, existing, roots)
    number, distinct = pandas.factorize(np.array(roots))
    pixels = np.zeros((len(distinct), len(found[0].pixels) if found else 0), dtype=np.int64)
    np.add.at(pixels, number, np.array([block.pixels for block in found]))
    free = [n for n, root in enumerate(distinct.tolist()) if root not in known]
    if free:
        areas = pixels[free].sum(axis=1).tolist()
        assigned = balance_splits(areas, layout.shares, layout.seed, pixels=pixels[free])
        known |= dict(zip(distinct[free].tolist(), assigned, strict=True))
    return [known[root] for root in roots]


def _connected(units: Sequence[int], groups: np.ndarray) -> list[int]:
    """Return for each block the first unit of its connected component, linked by unit or by shared ground."""
    parent = {unit: unit for unit in units}

    def root(unit: int) -> int:
        while parent[unit] != unit:
            unit = parent[unit]
        return unit

    for i, j in enumerate(groups.tolist()):
        one, other = sorted((root(units[i]), root(units[j])))
        parent[other] = one
    return [root(unit) for unit in units]


def _splits_of_covered(extents: Extents, existing: ExistingTiles, roots: Sequence[int]) -> dict[int, str]:
    """Return the split of the roots whose ground is covered by existing tiles."""
    tiles = existing.extents
    parts: dict[tuple[int, str], float] = {}
    for split in SPLITS:
        covering = tiles.footprints[existing.splits == split]
        for block, share in covered(extents.footprints, covering, tiles.geographic or extents.geographic).items():
            if share > _SAME_GROUND:
                parts[roots[block], split] = parts.get((roots[block], split), 0.0) + share
    return {root: max(SPLITS, key=lambda s: parts.get((root, s), 0.0)) for root, _ in parts}


def without_leaks(
    planned: Sequence[PlannedTile], infos: Sequence[SceneInfo], layout: Layout, existing: ExistingTiles, crs: str | None
) -> list[PlannedTile]:
    """Drop tiles that share ground with tiles of another split.

    Existing tiles stay. Of new ones, train yields to val and test, and val yields to test. Training tiles also keep
    the buffer.
    """
    extents = Extents.of(infos, [p.scene for p in planned], [p.placement.window for p in planned], crs)
    splits = np.array([p.split for p in planned], dtype=object)
    kept = np.ones(len(planned), dtype=bool)
    for split in reversed(SPLITS):
        mine = splits == split
        for other in SPLITS:
            margin = layout.buffer if "train" in (split, other) else 0
            if other != split:
                kept[mine] &= ~overlapping(extents[mine], existing.of(other), margin=margin)
            if SPLITS.index(other) > SPLITS.index(split):
                kept[mine] &= ~overlapping(extents[mine], extents[(splits == other) & kept], margin=margin)
    return [p for p, keep in zip(planned, kept.tolist(), strict=True) if keep]


def in_reading_order(planned: Sequence[PlannedTile]) -> list[PlannedTile]:
    """Sort tiles by scene, row and column, and number those at the same position (of several regions)."""

    def place(tile: PlannedTile) -> tuple[int, int, int]:
        return tile.scene, int(tile.placement.window.row_off), int(tile.placement.window.col_off)

    ordered = sorted(planned, key=place)
    return [replace(tile, copy=copy) for _, group in groupby(ordered, key=place) for copy, tile in enumerate(group)]


def labelled_pixels(scene: AnyScene, labels: Labels, block: Block, classes: int) -> tuple[int, ...]:
    """Count the pixels of a block that are both valid and labelled, by class."""
    counts = np.zeros(IGNORE_INDEX + 1, dtype=np.int64)
    for window in _chunks(block.window):
        ids = labels.read(window)
        if scene.info.has_mask:
            ids[~ValueRange().measured(*scene.read(window))] = IGNORE_INDEX
        if block.region is not None:
            ids[~block.region.covers(scene.info, window)] = IGNORE_INDEX
        counts += np.bincount(ids.ravel(), minlength=IGNORE_INDEX + 1)
    return tuple(counts[:classes].tolist())


def _chunks(window: Window) -> Iterator[Window]:
    height, width = int(window.height), int(window.width)
    across = min(width, 2048)
    down = max(1, min(height, _CHUNK // across))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield Window(
                window.col_off + left, window.row_off + top, min(across, width - left), min(down, height - top)
            )
