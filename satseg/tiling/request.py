"""Requested sizes of tiles and blocks, and the layouts that meet them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from satseg.errors import UsageError
from satseg.geo.units import parse_length
from satseg.records import SceneInfo
from satseg.tiles.tileset import TileSet
from satseg.tiling.layout import choose_block, cuts
from satseg.tiling.plan import Layout
from satseg.tiling.settings import LARGEST, TileSettings

SMALLER = (128, 64, 32)
"""Sides of tiles in pixels that are tried where scenes are too small for larger ones."""

_STEP = 32  # pixels; networks halve tiles up to five times


@dataclass(frozen=True)
class LayoutRequest:
    """Tile and block sizes as the user set them; None leaves the choice to the planner.

    Args:
        size: Side of a tile in pixels.
        overlap: Pixels that neighbouring training tiles share.
        block: Side of a block in pixels.
        whole_scenes: Assign whole scenes to splits; None does so where that fills all splits.
        drawn: Whether split regions determine the splits, so that there are no blocks.
    """

    size: int | None
    overlap: int | None
    block: int | None
    whole_scenes: bool | None
    drawn: bool = False

    @classmethod
    def of(cls, settings: TileSettings, base: TileSet | None, *, paired: bool, assigned: bool) -> LayoutRequest:
        """Return what settings, or the tile set that is added to, say of sizes.

        Args:
            settings: The settings.
            base: The tile set that is added to, or None.
            paired: Whether each scene has labels of its own.
            assigned: Whether the user assigned each scene to a split: then there are no blocks.
        """
        size, block = settings.size, settings.block
        whole = {"scene": True, None: None if paired else False}.get(settings.split_by, False)
        if base is not None:
            made = base.provenance[-1] if base.provenance else {}
            size, block = base.tile_size, block or made.get("block")
            whole = made.get("whole_scenes", whole) if whole is None else whole
        return cls(size, settings.overlap, block, assigned or whole, drawn=settings.regions is not None)

    @property
    def open(self) -> list[str]:
        """Names of the layout fields that the planner chooses."""
        overlap = self.size if self.overlap is None else self.overlap
        fields = {"size": self.size, "overlap": overlap, "block": self.block, "whole_scenes": self.whole_scenes}
        if self.whole_scenes or self.drawn:
            del fields["block"]  # there are none
        return [name for name, value in fields.items() if value is None]

    def first_layout(self, settings: TileSettings, infos: Sequence[SceneInfo]) -> Layout:
        """Return the layout that is tried first.

        Raises:
            UsageError: No tile of these sizes fits the scenes, or a length is in metres and a scene has no CRS.
        """
        buffer = parse_length(settings.buffer, "buffer")
        like = Layout(
            size=LARGEST,
            overlap=0,
            at_random=settings.sampling == "random",
            whole_scenes=False,
            block=LARGEST,
            buffer=max(round(max(buffer.in_pixels(info.gsd))) for info in infos),  # along the finer side of pixels
            shares=settings.shares,
            seed=settings.seed,
        )
        group = next(self.layouts(like, infos), None)
        if group is None:
            raise UsageError(
                f"No tile fits these scenes with `overlap={self.overlap}` and `block={self.block}`.",
                hint="Choose a smaller `overlap`, or a larger `block`.",
            )
        return group[0]

    def layouts(self, like: Layout, infos: Sequence[SceneInfo]) -> Iterator[list[Layout]]:
        """Yield candidate layouts, grouped by tile size, the best first: large tiles in large blocks.

        Args:
            like: Layout with all fields that are not chosen here.
            infos: The scenes.
        """
        shapes = [(info.height, info.width) for info in infos]
        for size in _sizes(shapes) if self.size is None else [self.size]:
            overlap = size // 2 if self.overlap is None else self.overlap
            if overlap >= size or (self.block or size) < size:
                continue
            sides = self._sides(shapes, size) if self.block is None else [self.block]
            made = [replace(like, size=size, overlap=overlap, block=side, whole_scenes=False) for side in sides]
            whole = replace(made[0], whole_scenes=True)
            if self.whole_scenes or self.drawn:
                yield [whole if self.whole_scenes else made[0]]
                return
            yield _distinct([whole, *made] if self.whole_scenes is None else made, shapes)

    def _sides(self, shapes: Sequence[tuple[int, int]], size: int) -> list[int]:
        """Return candidate block sides for a tile size; blocks of a single tile come last, and not for large tiles."""
        alone = size <= SMALLER[0] or self.size is not None or (self.overlap or 0) >= SMALLER[0]
        return [choose_block(shapes, size), 2 * size, *([size] if alone else [])]


def _sizes(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Return candidate tile sides, none larger than the widest of the scenes' narrow sides needs."""
    narrow = max(min(shape) for shape in shapes)
    first = min(LARGEST, -(-narrow // _STEP) * _STEP)
    return [first, *(size for size in SMALLER if size < first)]


def _distinct(layouts: Sequence[Layout], shapes: Sequence[tuple[int, int]]) -> list[Layout]:
    """Drop layouts that divide the scenes like an earlier one."""
    sides = {side for shape in shapes for side in shape}

    def parts(layout: Layout) -> object:
        return layout.whole_scenes or tuple(tuple(cuts(side, layout.block, layout.size)) for side in sorted(sides))

    return list({parts(layout): layout for layout in reversed(layouts)}.values())[::-1]
