"""Where tiles and blocks lie, in the pixels of their scene and on the ground, and which of them overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import shapely
from pyproj import CRS, Transformer
from rasterio.windows import Window

from satseg.records import SceneInfo

_NEGLIGIBLE = 1e-3  # share of a tile: edges that were bent by a change of CRS cross by less


@dataclass(frozen=True, eq=False)
class Places:
    """Rectangles of scenes.

    Args:
        scenes: (N,) name of the scene of each.
        windows: (N, 4) int64: first row, first column, rows, columns.
        footprints: (N,) polygons in one CRS.
        comparable: Whether footprints of different scenes lie in one CRS.
    """

    scenes: np.ndarray
    windows: np.ndarray
    footprints: np.ndarray
    comparable: bool

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, chosen: np.ndarray) -> Places:
        return Places(self.scenes[chosen], self.windows[chosen], self.footprints[chosen], self.comparable)

    @classmethod
    def of(
        cls, infos: Sequence[SceneInfo], numbers: Sequence[int], windows: Sequence[Window], crs: str | None
    ) -> Places:
        """Describe windows of scenes.

        Args:
            infos: The scenes.
            numbers: Scene of each window.
            windows: The windows.
            crs: CRS of the footprints, or None where coordinates are left as they are.
        """
        rows = np.array(
            [(int(w.row_off), int(w.col_off), int(w.height), int(w.width)) for w in windows], dtype=np.int64
        ).reshape(-1, 4)
        names = np.array([info.path for info in infos], dtype=object)[np.array(numbers, dtype=np.int64)]
        return cls(names, rows, footprints_of(infos, names, rows, crs), crs is not None)


def footprints_of(infos: Sequence[SceneInfo], scenes: np.ndarray, windows: np.ndarray, crs: str | None) -> np.ndarray:
    """Return windows (N, 4) of scenes, given by their paths (N,), as polygons in a CRS; None leaves those of scenes."""
    found = np.empty(len(windows), dtype=object)
    by_path = {info.path: info for info in infos}
    for path, mine in pandas.Series(scenes).groupby(scenes).indices.items():
        found[mine] = outlines(by_path[path], windows[mine], crs)
    return found


def outlines(info: SceneInfo, windows: np.ndarray, crs: str | None) -> np.ndarray:
    """Return windows (N, 4) of a scene as polygons of four corners in a CRS; None leaves that of the scene."""
    top, left, height, width = windows.T.astype(float)
    columns = np.stack([left, left + width, left + width, left], axis=1)
    rows = np.stack([top, top, top + height, top + height], axis=1)
    x, y = info.transform * (columns, rows)
    if crs is not None and info.crs is not None and CRS.from_user_input(crs) != CRS.from_user_input(info.crs):
        x, y = Transformer.from_crs(info.crs, crs, always_xy=True).transform(x, y)
    found: np.ndarray = shapely.polygons(np.stack([x, y], axis=-1))
    return found


def overlapping(places: Places, others: Places, *, margin: int = 0) -> np.ndarray:
    """Find the places that overlap any of the others.

    Within a scene windows are compared pixel by pixel; between scenes footprints are, where a crossing of less than
    a thousandth of a place does not count.

    Args:
        places: N places to look at.
        others: What they are compared with.
        margin: Pixels by which the others are grown on all sides.

    Returns:
        (N,) bool.
    """
    if not len(places) or not len(others):
        return np.zeros(len(places), dtype=bool)
    return _within_scenes(places, others, margin) | _between_scenes(places, others, margin)


def _within_scenes(places: Places, others: Places, margin: int) -> np.ndarray:
    """Compare windows in one plane, in which every scene has a strip of its own."""
    codes = pandas.factorize(np.concatenate([places.scenes, others.scenes]))[0]
    shifts = codes * (int(max(places.windows.max(), others.windows.max())) * 2 + 2 * margin + 2)
    mine = _boxes(places.windows, -0.25, shifts[: len(places)])
    tree = shapely.STRtree(_boxes(others.windows, margin - 0.25, shifts[len(places) :]))
    found = np.zeros(len(places), dtype=bool)
    found[tree.query(mine, predicate="intersects")[0]] = True
    return found


def _between_scenes(places: Places, others: Places, margin: int) -> np.ndarray:
    found = np.zeros(len(places), dtype=bool)
    if not (places.comparable and others.comparable):
        return found
    grown = others.footprints if not margin else _grown(others, margin)
    tree = shapely.STRtree(grown)
    for first in range(0, len(places), 4096):
        part = places.footprints[first : first + 4096]
        mine, theirs = tree.query(part, predicate="intersects")
        foreign = places.scenes[first + mine] != others.scenes[theirs]
        mine, theirs = mine[foreign], theirs[foreign]
        shared = shapely.area(shapely.intersection(part[mine], grown[theirs]))
        found[first + mine[shared > _NEGLIGIBLE * shapely.area(part[mine])]] = True
    return found


def _boxes(windows: np.ndarray, grow: float, shifts: np.ndarray) -> Any:
    top, left, height, width = windows.T
    left = left + shifts
    return shapely.box(left - grow, top - grow, left + width + grow, top + height + grow)


def _grown(places: Places, margin: int) -> np.ndarray:
    """Grow footprints by pixels, as if they were rectangles."""
    size = np.sqrt(shapely.area(places.footprints) / (places.windows[:, 2] * places.windows[:, 3]))
    grown: np.ndarray = shapely.buffer(places.footprints, margin * size, join_style="mitre")
    return grown


def follow(places: Places, *, least: float = 0.1) -> np.ndarray:
    """Group places of different scenes that show the same ground.

    Args:
        places: N places; a place follows an earlier one of another scene with which it shares most ground.
        least: Share of its ground that it must share at least.

    Returns:
        (N,) int64 group of each: the number of its first place.
    """
    groups = np.arange(len(places))
    if not places.comparable or len(set(places.scenes)) < 2:
        return groups
    mine, theirs = shapely.STRtree(places.footprints).query(places.footprints, predicate="intersects")
    earlier = (theirs < mine) & (places.scenes[mine] != places.scenes[theirs])
    mine, theirs = mine[earlier], theirs[earlier]
    shared = shapely.area(shapely.intersection(places.footprints[mine], places.footprints[theirs]))
    best = np.zeros(len(places))
    for i, j, area in sorted(zip(mine.tolist(), theirs.tolist(), shared.tolist(), strict=True)):
        if area > best[i] and area >= least * shapely.area(places.footprints[i]):
            best[i], groups[i] = area, groups[j]
    return groups
