"""Extents of tiles and blocks, in pixels of their scene and on the ground, and their overlaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import shapely
from rasterio.windows import Window

from satseg.geo.crs import is_geographic, same_crs
from satseg.records import SceneInfo
from satseg.tiles.globe import GLOBE, in_degrees, on_maps, outlines

_NEGLIGIBLE = 1e-3  # share of a tile: edges that were bent by a change of CRS cross by less
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Extents:
    """Windows of scenes, in pixels and on the ground.

    Args:
        scenes: (N,) path of the scene of each.
        windows: (N, 4) int64: first row, first column, rows, columns.
        footprints: (N,) polygons in one CRS; None where the scene has no CRS.
        geographic: Whether that CRS is geographic; overlaps are then computed on equal-area maps.
    """

    scenes: np.ndarray
    windows: np.ndarray
    footprints: np.ndarray
    geographic: bool

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, chosen: np.ndarray) -> Extents:
        return Extents(self.scenes[chosen], self.windows[chosen], self.footprints[chosen], self.geographic)

    @classmethod
    def of(
        cls, infos: Sequence[SceneInfo], numbers: Sequence[int], windows: Sequence[Window], crs: str | None
    ) -> Extents:
        """Describe windows of scenes.

        Args:
            infos: The scenes.
            numbers: Scene of each window.
            windows: The windows.
            crs: CRS of the footprints, or None where no scene has one.
        """
        rows = np.array(
            [(int(w.row_off), int(w.col_off), int(w.height), int(w.width)) for w in windows], dtype=np.int64
        ).reshape(-1, 4)
        names = np.array([info.path for info in infos], dtype=object)[np.array(numbers, dtype=np.int64)]
        if crs is None:
            return cls(names, rows, np.full(len(rows), None, dtype=object), geographic=False)
        return cls(names, rows, footprints_of(infos, names, rows, crs), is_geographic(crs))


def common_crs(crs: Sequence[str | None]) -> str | None:
    """Return the CRS to compare scenes in: their common one, or longitude and latitude if they differ.

    Args:
        crs: Of each scene; None where it has none.

    Returns:
        None where no scene has one.
    """
    known = list(dict.fromkeys(one for one in crs if one is not None))
    if not known:
        return None
    alike = all(same_crs(known[0], other) for other in known[1:])
    return known[0] if alike and (in_degrees(known[0]) or not is_geographic(known[0])) else GLOBE


def footprints_of(infos: Sequence[SceneInfo], scenes: np.ndarray, windows: np.ndarray, crs: str | None) -> np.ndarray:
    """Return windows (N, 4) of scenes, given by their paths (N,), as polygons in a CRS.

    Without a CRS, coordinates are those of each scene. With one, windows that cannot be transformed are None.
    """
    found = np.empty(len(windows), dtype=object)
    by_path = {info.path: info for info in infos}
    for path, mine in pandas.Series(scenes).groupby(scenes).indices.items():
        found[mine] = outlines(by_path[path], windows[mine], crs)
    return found


def overlapping(extents: Extents, others: Extents, *, margin: int = 0) -> np.ndarray:
    """Tell which extents overlap any of the others, see :func:`overlapped`: (N,) bool."""
    found: np.ndarray = overlapped(extents, others, margin=margin) >= 0
    return found


def overlapped(extents: Extents, others: Extents, *, margin: int = 0) -> np.ndarray:
    """Find for each extent one of the others that it overlaps.

    Within a scene, windows are compared in pixels. Between scenes, footprints are compared, and overlaps of less than a
    thousandth of an extent are ignored.

    Args:
        extents: N extents.
        others: M extents to compare them with.
        margin: Pixels by which the others are grown on all sides.

    Returns:
        (N,) int64 number of the other, -1 where there is none.
    """
    if not len(extents) or not len(others):
        return np.full(len(extents), -1)
    found = _within_scenes(extents, others, margin)
    if len(np.unique(np.concatenate([extents.scenes, others.scenes]))) > 1:
        rest = np.flatnonzero(found < 0)  # polygons are slow to compare, and a large margin makes many pairs
        found[rest] = _between_scenes(extents[rest], others, margin)
    return found


def _within_scenes(extents: Extents, others: Extents, margin: int) -> np.ndarray:
    """Compare windows in one plane, with the scenes side by side."""
    codes = pandas.factorize(np.concatenate([extents.scenes, others.scenes]))[0]
    shifts = codes * (int(max(extents.windows.max(), others.windows.max())) * 2 + 2 * margin + 2)
    mine = _boxes(extents.windows, -0.25, shifts[: len(extents)])
    tree = shapely.STRtree(_boxes(others.windows, margin - 0.25, shifts[len(extents) :]))
    found = np.full(len(extents), -1)
    one, other = tree.query(mine, predicate="intersects")
    found[one] = other
    return found


def _between_scenes(extents: Extents, others: Extents, margin: int) -> np.ndarray:
    found = np.full(len(extents), -1)
    here = _Stacks.of(extents)
    there = _Stacks.of(others)
    grown = there.footprints if not margin else _grown(there.footprints, others.windows[there.first], margin)
    for one, other, share in shared_ground(here.footprints, grown, here.geographic or there.geographic):
        enough = share > _NEGLIGIBLE
        stacks = pandas.DataFrame({"stack": one[enough], "other": other[enough]})
        pairs = pandas.DataFrame({"extent": here.extents, "stack": here.stack}).merge(stacks, on="stack")
        mine, theirs = pairs["extent"].to_numpy(), pairs["other"].to_numpy()
        partner = there.first[theirs]
        partner = np.where(others.scenes[partner] == extents.scenes[mine], there.second[theirs], partner)
        found[mine[partner >= 0]] = partner[partner >= 0]
    return found


@dataclass(frozen=True, eq=False)
class _Stacks:
    """Extents grouped by equal footprints, of which scenes on one grid have thousands.

    Args:
        footprints: (S,) polygon of each stack.
        first: (S,) its first extent.
        second: (S,) its first extent of another scene, or -1.
        extents: (P,) extents that have a footprint.
        stack: (P,) stack of each of these.
        geographic: Whether the CRS is geographic.
    """

    footprints: np.ndarray
    first: np.ndarray
    second: np.ndarray
    extents: np.ndarray
    stack: np.ndarray
    geographic: bool

    @classmethod
    def of(cls, extents: Extents) -> _Stacks:
        lying = np.flatnonzero(lie_somewhere(extents.footprints))
        stack, distinct = pandas.factorize(np.array(shapely.to_wkb(extents.footprints[lying]), dtype=object))
        frame = pandas.DataFrame({"stack": stack, "extent": lying, "scene": extents.scenes[lying]})
        heads = frame.drop_duplicates("stack").set_index("stack")
        foreign = frame[frame["scene"].to_numpy() != heads["scene"].reindex(stack).to_numpy()]
        second = (
            foreign.drop_duplicates("stack").set_index("stack")["extent"].reindex(range(len(distinct)), fill_value=-1)
        )
        first = heads["extent"].to_numpy(dtype=np.int64)
        return cls(extents.footprints[first], first, second.to_numpy(dtype=np.int64), lying, stack, extents.geographic)


def shared_ground(
    footprints: np.ndarray, others: np.ndarray, geographic: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the pairs of footprints that overlap, with the overlap as a fraction of the first one.

    In a geographic CRS, a pair across the equator is yielded twice.

    Args:
        footprints: (N,) polygons.
        others: (M,) polygons in the same CRS.
        geographic: Whether that CRS is geographic.
    """
    for mine, theirs in zip(*(_maps(part, geographic) for part in (footprints, others)), strict=True):
        tree = shapely.STRtree(theirs)
        for first in range(0, len(mine), _CHUNK):
            part = mine[first : first + _CHUNK]
            one, other = tree.query(part, predicate="intersects")
            shared = shapely.area(shapely.intersection(part[one], theirs[other]))
            yield first + one, other, shared / np.maximum(shapely.area(part[one]), np.finfo(float).tiny)


def covered(footprints: np.ndarray, others: np.ndarray, geographic: bool) -> dict[int, float]:
    """Return the fraction of each footprint that the others cover together, for those that they touch.

    Args:
        footprints: (N,) polygons, or None.
        others: (M,) polygons in the same CRS, or None.
        geographic: Whether that CRS is geographic.
    """
    found: dict[int, float] = {}
    for mine, theirs in zip(*(_maps(part, geographic) for part in (footprints, others)), strict=True):
        one, other = shapely.STRtree(theirs).query(mine, predicate="intersects")
        for number, touching in pandas.Series(other).groupby(one):
            shape = mine[number]
            shared = shapely.area(shapely.intersection(shape, shapely.union_all(theirs[touching.to_numpy()])))
            found[int(number)] = max(found.get(int(number), 0.0), float(shared / shapely.area(shape)))
    return found


def _maps(footprints: np.ndarray, geographic: bool) -> list[np.ndarray]:
    """Return footprints on equal-area maps; None for those without a location."""
    lying = footprints.copy()
    lying[~lie_somewhere(footprints)] = None
    return on_maps(lying) if geographic else [lying]


def lie_somewhere(footprints: np.ndarray) -> np.ndarray:
    """Tell which footprints exist and are finite."""
    return np.isfinite(shapely.bounds(footprints)).all(axis=1)


def _boxes(windows: np.ndarray, grow: float, shifts: np.ndarray) -> Any:
    top, left, height, width = windows.T
    left = left + shifts
    return shapely.box(left - grow, top - grow, left + width + grow, top + height + grow)


def _grown(footprints: np.ndarray, windows: np.ndarray, margin: int) -> np.ndarray:
    """Grow footprints by at least ``margin`` pixels, as if they were squares."""
    factors = 1 + 2 * margin / np.minimum(windows[:, 2], windows[:, 3])
    corners, number = shapely.get_coordinates(footprints, return_index=True)
    centres = shapely.get_coordinates(shapely.centroid(footprints))
    moved = centres[number] + factors[number, None] * (corners - centres[number])
    grown: np.ndarray = shapely.set_coordinates(footprints.copy(), moved)
    return grown


def group_by_overlap(extents: Extents, *, least: float = 0.1) -> np.ndarray:
    """Group extents of different scenes by the ground that they share.

    Args:
        extents: N extents; each joins the earlier one of another scene that it overlaps most.
        least: Smallest fraction of its area that must overlap.

    Returns:
        (N,) int64 group of each: the number of an earlier extent, or its own.
    """
    groups = np.arange(len(extents))
    if len(set(extents.scenes)) < 2:
        return groups
    stacks = _Stacks.of(extents)
    foreign = extents.scenes[stacks.extents] != extents.scenes[stacks.first[stacks.stack]]
    groups[stacks.extents[foreign]] = stacks.first[stacks.stack[foreign]]
    best = np.full(len(extents), least)
    for one, other, share in shared_ground(stacks.footprints, stacks.footprints, stacks.geographic):
        mine, theirs = stacks.first[one], stacks.first[other]
        earlier = (theirs < mine) & (extents.scenes[mine] != extents.scenes[theirs])
        for i, j, part in sorted(zip(mine[earlier].tolist(), theirs[earlier].tolist(), share[earlier], strict=True)):
            if part > best[i] or (part == best[i] == least):
                best[i], groups[i] = part, j
    return groups
