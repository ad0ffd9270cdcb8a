"""Reproject polygons onto a scene, and find the ones that may touch it.

Edges are straight in the CRS of the polygons: long ones are densified before they are reprojected. Longitudes may run
from -180 or from 0, in polygons and scenes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from pyproj.exceptions import ProjError

from satseg.errors import SatsegError, one_line
from satseg.geo.crs import full_turn, is_geographic, is_local, parse_crs, same_crs, transformer
from satseg.geo.grid import Grid
from satseg.geo.polygons import Bounds, clipped, padded, repair, reproject
from satseg.records import SceneInfo

_LATTICE = 16  # steps along each side of an area whose bounds in another CRS are computed from a lattice of points
_MARGIN = 0.01  # share of the area added around it: its edges are curved between the points of the lattice
_WIDE_MARGIN = 2 / _LATTICE  # if some points cannot be transformed, so that the limit runs between points
_SURROUNDINGS = 0.1  # share of a scene added around it: polygons are clipped there before they are reprojected
_BEND = 0.01  # px by which an edge may deviate from its true position
_MEASURED = 512  # px around the centre in which curvature is measured at least
_MOST_PIECES = 4096  # of an edge as long as the scene


class SceneProjection:
    """Reprojects polygons onto a scene.

    Coordinates are used as they are if both have the same CRS, or one of them has none.

    Args:
        crs: CRS of the polygons, or None.
        scene: Target scene.
        name: Name of the polygons in messages.
        error: Error class to raise.

    Raises:
        SatsegError: Only one of them has a local CRS, or PROJ knows no transformation between the two.
    """

    def __init__(self, crs: str | None, scene: SceneInfo, *, name: str, error: type[SatsegError]) -> None:
        self._name, self._error = name, error
        self._grid = Grid.of_scene(scene)
        self._transformer = _transformer_to(scene, crs, name, error)
        self._turn = full_turn(scene.crs) if scene.crs is not None and is_geographic(scene.crs) else None
        known = crs or scene.crs
        self._own_turn = full_turn(known) if known is not None and is_geographic(known) else None

    def boxes(self, outline: Any) -> list[Bounds] | None:
        """Return bounds, in the CRS of the polygons, of all polygons that may touch an area of the scene.

        Args:
            outline: The area: four corners, as a polygon in the CRS of the scene.

        Returns:
            Boxes, at least one of which meets each such polygon; None if they cannot be determined.
        """
        if self._transformer is None:
            return self._turned(outline.bounds)
        x, y = self._image(*lattice(outline))
        found = np.isfinite(x) & np.isfinite(y)
        if not found.any():
            return None
        margin = _MARGIN if found.all() else _WIDE_MARGIN
        if self._own_turn is None:
            return [padded((x[found].min(), y[found].min(), x[found].max(), y[found].max()), margin)]
        south, north = self._latitudes(outline, y[found])
        if max(abs(south), abs(north)) >= self._own_turn / 4:
            west, east = -self._own_turn / 2, self._own_turn / 2
        else:
            west, east = _arc(x[found], self._own_turn)
        return self._turned(padded((west, south, east, north), margin))

    def apply(self, geometries: np.ndarray, outline: Any) -> np.ndarray:
        """Reproject polygons onto the scene.

        Args:
            geometries: (N,) valid polygons in their own CRS.
            outline: An area of the scene, as a polygon in its CRS.

        Returns:
            (N,) valid polygons in the CRS of the scene; None for those that do not touch the area.
        """
        moved = geometries if self._transformer is None else self._moved(geometries)
        if self._turn is not None:
            return _on_any_turn(moved, outline, self._turn)
        touching = np.full(len(moved), None, dtype=object)
        found = shapely.intersects(outline, moved)
        touching[found] = moved[found]
        return touching

    def _moved(self, geometries: np.ndarray) -> np.ndarray:
        near = clipped(geometries, self._surroundings) if self._surroundings else geometries
        sides = shapely.bounds(near)
        long = np.hypot(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]) > self._longest
        if long.any():
            near = near.copy()
            near[long] = shapely.segmentize(near[long], self._longest)
        try:
            moved = reproject(near, self._forward)
        except shapely.errors.GEOSException as cause:  # a projection that is not deterministic
            raise self._error(f"{self._name} cannot be reprojected onto the scene: {one_line(cause)}.") from cause
        if self._turn is None or self._own_turn is not None:
            return moved
        return _unwrapped(moved, self._turn)

    def _forward(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self._transformer is not None
        there, north = self._transformer.transform(x, y)
        if self._turn is not None and self._own_turn is not None:  # keep the turn on which they were drawn
            turns = np.round(np.where(np.isfinite(there), x / self._own_turn - there / self._turn, 0))
            there = there + turns * self._turn
        return there, north

    def _image(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transform points from the CRS of the scene to that of the polygons; infinite where that is not defined."""
        assert self._transformer is not None
        found = self._transformer.transform(x, y, direction="INVERSE")
        return np.asarray(found[0]), np.asarray(found[1])

    def _latitudes(self, outline: Any, found: np.ndarray) -> tuple[float, float]:
        """Return the lowest and highest latitude of an area, which may contain a pole between its lattice points."""
        assert self._transformer is not None
        assert self._own_turn is not None
        pole = self._own_turn / 4
        south, north = float(found.min()), float(found.max())
        x, y = self._transformer.transform(np.zeros(2), np.array([-pole, pole]))
        holds = [
            bool(np.isfinite([a, b]).all() and outline.covers(shapely.Point(a, b))) for a, b in zip(x, y, strict=True)
        ]
        return (-pole if holds[0] else south), (pole if holds[1] else north)

    def _turned(self, bounds: Bounds) -> list[Bounds]:
        """Return bounds, for longitudes also shifted by a turn to either side."""
        if self._own_turn is None:
            return [bounds]
        west, south, east, north = bounds
        return [(west + turn, south, east + turn, north) for turn in (0.0, -self._own_turn, self._own_turn)]

    @cached_property
    def _outline(self) -> Any:
        return shapely.Polygon(np.stack(self._grid.corners(), axis=1))

    @cached_property
    def _surroundings(self) -> list[Bounds] | None:
        """Boxes to which polygons are clipped: far from a scene, its projection may bend, fold or end."""
        boxes = self.boxes(self._outline)
        return boxes and [padded(box, _SURROUNDINGS) for box in boxes]

    @cached_property
    def _longest(self) -> float:
        """Longest edge, in units of the polygons' CRS, that stays straight on the scene."""
        across, down = (max(side / 2, _MEASURED) for side in (self._grid.width, self._grid.height))
        centre = np.array([self._grid.width / 2, self._grid.height / 2])
        steps = np.linspace(-1, 1, _LATTICE + 1)
        columns, rows = np.meshgrid(centre[0] + across * steps, centre[1] + down * steps, indexing="ij")
        x, y = self._image(*(self._grid.transform * (columns, rows)))
        if self._own_turn is not None:
            x = np.where(np.isfinite(x), x, np.nan)
            x = x - self._own_turn * np.round((x - np.nanmedian(x)) / self._own_turn) if np.isfinite(x).any() else x
        longest = _straight(x, y, 2 * across / _LATTICE, 2 * down / _LATTICE)
        boxes = self.boxes(self._outline)
        extent = max((max(box[2] - box[0], box[3] - box[1]) for box in boxes or ()), default=0.0)
        return max(longest, extent / _MOST_PIECES)


def _transformer_to(scene: SceneInfo, crs: str | None, name: str, error: type[SatsegError]) -> Transformer | None:
    """Return the transformer from a CRS to that of a scene; None if coordinates are used as they are."""
    if crs is None or scene.crs is None or same_crs(crs, scene.crs):
        return None
    if is_local(crs) or is_local(scene.crs):
        local, other = (name, scene.path) if is_local(crs) else (scene.path, name)
        names = [parse_crs(code).name for code in ((crs, scene.crs) if is_local(crs) else (scene.crs, crs))]
        raise error(
            f"{local} has a local CRS ({names[0]}), which cannot be transformed to the CRS of {other} ({names[1]}).",
            hint="Assign both the same CRS, or remove the CRS of one: its coordinates are then used as they are.",
        )
    try:
        return transformer(crs, scene.crs)
    except ProjError as cause:
        raise error(f"{name} cannot be reprojected to the CRS of {scene.path}: {one_line(cause)}.") from cause


def lattice(outline: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a lattice of points in a parallelogram, edges included."""
    corners = shapely.get_coordinates(outline)
    across, down = np.meshgrid(*[np.linspace(0, 1, _LATTICE + 1)] * 2)
    first, along, aside = corners[0], corners[1] - corners[0], corners[3] - corners[0]
    points = first + across[..., None] * along + down[..., None] * aside
    return points[..., 0].ravel(), points[..., 1].ravel()


def _arc(longitudes: np.ndarray, turn: float) -> tuple[float, float]:
    """Return west and east of the shortest arc that contains some longitudes; east may exceed half a turn."""
    ordered = np.sort(longitudes % turn)
    gaps = np.diff(ordered, append=ordered[0] + turn)
    widest = int(gaps.argmax())
    west = float(ordered[(widest + 1) % len(ordered)])
    return west - turn * round(west / turn), west - turn * round(west / turn) + turn - float(gaps[widest])


def _on_any_turn(geometries: np.ndarray, outline: Any, turn: float) -> np.ndarray:
    """Return polygons in longitude and latitude, shifted by whole turns so that they touch an area; None for others."""
    left, _, right, _ = outline.bounds
    sides = shapely.bounds(geometries)
    found = np.full(len(geometries), None, dtype=object)
    for shift in (0.0, -turn, turn):
        close = np.flatnonzero((sides[:, 0] + shift <= right) & (sides[:, 2] + shift >= left))
        if not len(close):
            continue
        moved = geometries[close]
        if shift:
            moved = shapely.transform(moved, lambda points, by=(shift, 0.0): np.add(points, by))
        touching = shapely.intersects(outline, moved)
        close, moved = close[touching], moved[touching]
        again = ~shapely.is_missing(found[close])
        found[close[~again]] = moved[~again]
        if again.any():  # a polygon that lies at both edges of a scene of the whole globe
            found[close[again]] = repair(shapely.union(found[close[again]], moved[again]))
    return found


def _unwrapped(geometries: np.ndarray, turn: float) -> np.ndarray:
    """Return polygons whose longitudes continue where reprojection made them jump to the other side of the globe."""
    sides = shapely.bounds(geometries)
    torn = np.flatnonzero(sides[:, 2] - sides[:, 0] > turn / 2)
    if not len(torn):
        return geometries
    made = geometries.copy()
    for i in torn:
        ends = np.cumsum(shapely.get_num_coordinates(shapely.get_rings(geometries[i])))[:-1]
        made[i] = shapely.transform(geometries[i], lambda points, ends=ends: _without_jumps(points, ends, turn))
    made[torn] = repair(made[torn])
    return made


def _without_jumps(points: np.ndarray, ends: np.ndarray, turn: float) -> np.ndarray:
    """Return rings of (longitude, latitude), split at ``ends``, without jumps; a ring around a pole is unchanged."""
    whole = points.copy()
    for ring in np.split(whole, ends):  # views
        straight = np.unwrap(ring[:, 0], period=turn)
        if abs(straight[-1] - straight[0]) < turn / 2:
            ring[:, 0] = straight - turn * round((straight.mean() - whole[0, 0]) / turn)
    return whole


def _straight(x: np.ndarray, y: np.ndarray, across: float, down: float) -> float:
    """Return the length of the longest edge that reprojection does not bend visibly.

    Args:
        x: (columns, rows) of a lattice, in the CRS in which edges are straight.
        y: Likewise.
        across: Pixels between its columns.
        down: Pixels between its rows.

    Returns:
        Length in units of that CRS: an edge of L px deviates by L**2 / 8 times the curvature, the second derivative
        of the transformation, in pixels.
    """
    with np.errstate(all="ignore"):
        first = [np.stack(_slopes(part, across, down)) for part in (x, y)]
        second = [np.stack(_curves(part, across, down)) for part in (x, y)]
        (x_across, x_down), (y_across, y_down) = first
        area = x_across * y_down - x_down * y_across
        columns = (y_down * second[0] - x_down * second[1]) / area  # of the three second derivatives
        rows = (x_across * second[1] - y_across * second[0]) / area
        bends = np.hypot(columns, rows)
        curvature = np.maximum(bends[0], bends[1]) + bends[2]
        unit = np.minimum(np.hypot(x_across, y_across), np.hypot(x_down, y_down))
        lengths = np.sqrt(8 * _BEND / curvature) * unit
    lengths = lengths[np.isfinite(lengths)]
    return float(lengths.min()) if len(lengths) else np.inf


def _slopes(part: np.ndarray, across: float, down: float) -> Sequence[np.ndarray]:
    return (part[2:, 1:-1] - part[:-2, 1:-1]) / (2 * across), (part[1:-1, 2:] - part[1:-1, :-2]) / (2 * down)


def _curves(part: np.ndarray, across: float, down: float) -> Sequence[np.ndarray]:
    middle = 2 * part[1:-1, 1:-1]
    return (
        (part[2:, 1:-1] - middle + part[:-2, 1:-1]) / across**2,
        (part[1:-1, 2:] - middle + part[1:-1, :-2]) / down**2,
        (part[2:, 2:] - part[2:, :-2] - part[:-2, 2:] + part[:-2, :-2]) / (4 * across * down),
    )
