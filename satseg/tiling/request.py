"""What ``tile`` is asked for, checked and brought to pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.geo.units import Length, Quantity, parse_length, parse_resolution
from satseg.labels.labels import PixelLength
from satseg.records import SceneInfo
from satseg.tiles.splits import check_shares
from satseg.tiles.tileset import TileSet
from satseg.tiling.appending import TileOptions
from satseg.tiling.cut import empty_class
from satseg.tiling.plan import Layout
from satseg.tiling.planner import LARGEST, LayoutRequest

_LEAST = 32  # px, which networks take
_WIDEST = 256  # px; what is near to an outline is found by shifting windows within that distance


def by_number(bands: Sequence[str] | None) -> bool:
    """Tell whether bands were chosen by number, so that their names do not matter."""
    return bands is not None and all(band.strip().isdecimal() for band in bands)


def check_sizes(options: TileOptions, base: TileSet | None) -> None:
    """Refuse tiles that cannot be laid.

    Raises:
        UsageError: A size makes no sense, or is not that of the tile set to add to.
    """
    size, overlap, block = options.size, options.overlap, options.block
    if base is not None and size not in (None, base.tile_size):
        raise UsageError(f"{base.path} has tiles of {base.tile_size} px; tiles of {size} px cannot be added to it.")
    largest, least = (LARGEST, _LEAST) if size is None else (size, size)
    if least < _LEAST:
        raise UsageError(f"Tiles of {size} px are too small; networks take {_LEAST} px and more.")
    if overlap is not None and not 0 <= overlap < largest:
        raise UsageError(f"An overlap of {overlap} px does not fit tiles of {largest} px.")
    if options.sampling not in ("grid", "random"):
        raise UsageError(f"--sampling takes grid or random, not {options.sampling!r}.")
    if block is not None and block < least:
        raise UsageError(f"A block of {block} px cannot hold a tile of {least} px.")


def asked_for(options: TileOptions, base: TileSet | None, *, paired: bool, given_splits: bool) -> LayoutRequest:
    """Return what is said of tiles and blocks, by the user or by the tile set to add to.

    Args:
        options: What is asked for.
        base: The tile set to add to.
        paired: Whether each scene has labels of its own.
        given_splits: Whether each scene comes with its split: then nothing is parted into blocks.
    """
    size, block = options.size, options.block
    whole = {"scene": True, None: None if paired else False}.get(options.split_by, False)
    if base is not None:
        made = base.provenance[-1] if base.provenance else {}
        size, block = base.tile_size, block or made.get("block")
        whole = made.get("whole_scenes", whole) if whole is None else whole
    return LayoutRequest(size, options.overlap, block, given_splits or whole, drawn=options.regions is not None)


def first_layout(
    asked: LayoutRequest,
    infos: Sequence[SceneInfo],
    *,
    at_random: bool,
    buffer: int,
    shares: tuple[float, ...],
    seed: int,
) -> Layout:
    """Return the layout that is tried first.

    Raises:
        UsageError: No tile can be laid as it was asked for.
    """
    like = Layout(LARGEST, 0, at_random, whole_scenes=False, block=LARGEST, buffer=buffer, shares=shares, seed=seed)
    group = next(asked.layouts(like, infos), None)
    if group is None:
        raise UsageError(
            f"No tile that these scenes have room for goes with --overlap {asked.overlap} and --block {asked.block}.",
            hint="Take a smaller --overlap, or a larger --block.",
        )
    return group[0]


def check_choice(options: TileOptions, threads: int | None) -> None:
    """Refuse numbers that choose no tiles, or cannot be met.

    Raises:
        UsageError: A number is out of its range, or none.
    """
    check_shares(options.shares)
    for name, share in (("min-valid", options.min_valid), ("keep-empty", options.keep_empty)):
        if not 0 <= share <= 1:
            raise UsageError(f"--{name} {share} is no share; it takes 0 to 1.")
    for name, number in (("limit", options.limit), ("threads", threads)):
        if number is not None and number < 1:
            raise UsageError(f"--{name} {number} is not 1 or more.")
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed} is not 0 or more.")


@dataclass(frozen=True)
class Lengths:
    """The lengths that ``tile`` is asked for.

    Args:
        gsd: Ground metres per pixel that scenes are brought to; None leaves them as they are.
        ignore_border: Distance from outlines within which labels are ignored.
        boundary: Width of a class of its own along outlines.
        buffer: Distance between training tiles and the others.
    """

    gsd: float | None
    ignore_border: Length | None
    boundary: Length | None
    buffer: Length

    @classmethod
    def read(
        cls, gsd: Quantity | None, ignore_border: Quantity | None, boundary: Quantity | None, buffer: Quantity
    ) -> Lengths:
        """Read lengths as users give them.

        Raises:
            UsageError: One of them is none.
        """
        return cls(
            gsd=None if gsd is None else parse_resolution(gsd, "gsd"),
            ignore_border=None if ignore_border is None else parse_length(ignore_border, "ignore_border"),
            boundary=None if boundary is None else parse_length(boundary, "boundary"),
            buffer=parse_length(buffer, "buffer"),
        )


def outline_width(length: Length | None, infos: Sequence[SceneInfo]) -> PixelLength | None:
    """Return what gives a width along outlines in pixels of a scene, or None where there is none.

    Raises:
        UsageError: It is less than a pixel of a scene, or more than a few hundred.
    """
    if length is None or not length.value:
        return None

    def width(info: SceneInfo) -> float:
        return fmean(length.in_pixels(info.gsd))

    narrow, wide = (find(infos, key=width) for find in (min, max))
    if width(narrow) < 1 or width(wide) > _WIDEST:
        info = narrow if width(narrow) < 1 else wide
        raise UsageError(
            f"{length.given} is {width(info):.3g} px of {info.path}; outlines have a width of 1 to {_WIDEST} px.",
            hint="Write it in pixels, such as 2px; a number without a unit is metres.",
        )
    return width


def whole_pixels(length: Length, info: SceneInfo) -> int:
    """Return a length in whole pixels of a scene, along its finer side."""
    return round(max(length.in_pixels(info.gsd)))


def check_empty(keep_empty: float, classes: ClassTable) -> None:
    """Refuse to choose among empty tiles where no class says that a tile is empty.

    Raises:
        UsageError: There is no background.
    """
    if keep_empty < 1 and empty_class(classes) is None:
        raise UsageError(
            f"--keep-empty {keep_empty} needs a class background; the labels have {', '.join(classes.names)}.",
            hint="Say which value is background: --class-map 0=background,...",
        )


def known_classes(counts: Mapping[str, int], classes: ClassTable) -> dict[str, int]:
    """Return counts of pixels by class.

    Raises:
        UsageError: There is no such class.
    """
    for name, count in counts.items():
        if name not in classes.names:
            raise UsageError(f"There is no class {name!r} to count; the labels have {', '.join(classes.names)}.")
        if count < 0:
            raise UsageError(f"--min-pixels {name}={count} is no count of pixels.")
    return dict(counts)
