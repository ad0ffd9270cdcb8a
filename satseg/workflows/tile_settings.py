"""What ``tile`` is asked for, checked and brought to pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.raster.labels import PixelLength
from satseg.records import SceneInfo
from satseg.tiles.tileset import TileSet
from satseg.vectorization.measures import length_in_pixels


def by_number(bands: Sequence[str] | None) -> bool:
    """Tell whether bands were chosen by number, so that their names do not matter."""
    return bands is not None and all(band.strip().isdecimal() for band in bands)


def check_sizes(size: int, overlap: int | None, block: int | None, sampling: str, base: TileSet | None) -> None:
    """Refuse tiles that cannot be laid.

    Raises:
        UsageError: A size makes no sense, or is not that of the tile set to add to.
    """
    if size < 32:
        raise UsageError(f"Tiles of {size} px are too small; networks take 32 px and more.")
    if overlap is not None and not 0 <= overlap < size:
        raise UsageError(f"An overlap of {overlap} px does not fit tiles of {size} px.")
    if sampling not in ("grid", "random"):
        raise UsageError(f"--sampling takes grid or random, not {sampling!r}.")
    if block is not None and block < size:
        raise UsageError(f"A block of {block} px cannot hold a tile of {size} px.")
    if base is not None and base.tile_size != size:
        raise UsageError(f"{base.path} has tiles of {base.tile_size} px; tiles of {size} px cannot be added to it.")


def pixels(length: str | None) -> PixelLength | None:
    """Return what gives a length in pixels of a scene, or None without one."""
    return None if length is None else lambda info: fmean(length_in_pixels(length, info.gsd))


def length(text: str, info: SceneInfo) -> int:
    """Return a length in whole pixels of a scene, along its finer side."""
    return round(max(length_in_pixels(text, info.gsd)))


def known_classes(counts: Mapping[str, int], classes: ClassTable) -> dict[str, int]:
    """Return counts of pixels by class.

    Raises:
        UsageError: There is no such class.
    """
    for name in counts:
        if name not in classes.names:
            raise UsageError(f"There is no class {name!r} to count; the labels have {', '.join(classes.names)}.")
    return dict(counts)
