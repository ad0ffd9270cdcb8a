"""Cut polygons in longitude and latitude at the antimeridian (RFC 7946, section 3.1.9), and open them at poles.

Rings are unwrapped to longitudes without jumps. A ring that stays within one turn (-180 to 180, or the next one) is
only shifted by whole turns. Polygons that cross the antimeridian, and those with a pole inside or on their outline,
are laid out in the plane of longitude and latitude, once per turn, and the turn from -180 to 180 is cut out of it.
Edges get a vertex where they cross, computed from the edge alone, so that neighbours still match there; a pole becomes
the line along latitude 90 that it is in that plane.

Longitudes are multiples of 2**-43, a hundred-millionth of a metre on the ground, so that adding and subtracting whole
turns is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_GRID = 2.0**43


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons of features as ragged arrays, in longitude and latitude.

    Args:
        points: (V, 2) float64 (longitude, latitude).
        rings: (R + 1,) first point of each ring, and the end; the last point of a ring is its first.
        polygons: (P + 1,) first ring of each polygon, and the end.
        features: (F + 1,) first polygon of each feature, and the end.
    """

    points: np.ndarray
    rings: np.ndarray
    polygons: np.ndarray
    features: np.ndarray


def snapped(longitudes: np.ndarray, turn: float, *, within: float) -> np.ndarray:
    """Round longitudes to multiples of 2**-43, and snap them to the antimeridian.

    Args:
        longitudes: In the unit of ``turn``.
        turn: 360 degrees.
        within: Distance from the antimeridian within which a longitude is snapped to it.
    """
    found = np.rint(longitudes * _GRID) / _GRID
    on_it = np.abs(np.abs(found) - turn / 2) <= within
    return np.where(on_it, np.copysign(turn / 2, found), found)


def on_one_turn(outlines: Outlines, *, turn: float, near: np.ndarray | None, pole: float) -> Outlines:
    """Return polygons with longitudes in -180..180, cut where they cross the antimeridian.

    Args:
        outlines: Polygons whose longitudes come from :func:`snapped`.
        turn: 360 degrees in their units.
        near: (V,) longitudes without jumps, from which those of ``outlines`` differ by whole turns and less than half a
            turn, if the polygons come from longitudes and latitudes; None unwraps rings, whose outer ones must then run
            counterclockwise on the ground.
        pole: Distance from a pole, in their units, within which a vertex lies on it; unused with ``near``.
    """
    longitudes, latitudes = outlines.points.T
    if near is not None:
        turns = np.rint((near - longitudes) / turn)
        if not turns.any() and (np.abs(longitudes) <= turn / 2).all():
            return outlines
    else:
        turns = _followed(longitudes, outlines.rings, turn)
    starts = outlines.rings[:-1]
    lifted = longitudes + turn * turns
    low, high = np.minimum.reduceat(lifted, starts), np.maximum.reduceat(lifted, starts)
    first = np.floor((low + turn / 2) / turn)
    odd = (high > first * turn + turn / 2) | (turns[outlines.rings[1:] - 1] != turns[starts])
    if near is None:
        odd |= np.maximum.reduceat(np.abs(latitudes), starts) >= turn / 4 - pole
    points = np.column_stack([lifted - turn * np.repeat(first, np.diff(outlines.rings)), latitudes])
    if not odd.any():
        return Outlines(points, outlines.rings, outlines.polygons, outlines.features)
    plane = _Plane(turn, pole if near is None else -1.0)
    crossing = np.logical_or.reduceat(odd, outlines.polygons[:-1])
    return _with_cut(outlines, points, np.column_stack([lifted, latitudes]), crossing, plane)


def _followed(longitudes: np.ndarray, rings: np.ndarray, turn: float) -> np.ndarray:
    """Return the whole turns to add to longitudes so that rings have no jumps."""
    steps = np.zeros(len(longitudes))
    steps[1:] = -np.rint(np.diff(longitudes) / turn)
    steps[rings[:-1]] = 0
    turns = np.cumsum(steps)
    return turns - np.repeat(turns[rings[:-1]], np.diff(rings))


def _with_cut(
    outlines: Outlines, points: np.ndarray, lifted: np.ndarray, crossing: np.ndarray, plane: _Plane
) -> Outlines:
    """Replace the polygons that cross the antimeridian by their parts."""
    rings: list[np.ndarray] = []
    polygons, features = [0], [0]
    for feature in range(len(outlines.features) - 1):
        for polygon in range(outlines.features[feature], outlines.features[feature + 1]):
            source = lifted if crossing[polygon] else points
            numbers = range(outlines.polygons[polygon], outlines.polygons[polygon + 1])
            own = [source[outlines.rings[i] : outlines.rings[i + 1]] for i in numbers]
            for part in plane.cut(own) if crossing[polygon] else [own]:
                rings += part
                polygons.append(len(rings))
        features.append(len(polygons) - 1)
    ends = np.cumsum([0, *map(len, rings)])
    return Outlines(np.concatenate(rings), ends, np.array(polygons), np.array(features))


class _Plane:
    """The plane of longitude and latitude, in which the globe repeats with every turn.

    Args:
        turn: 360 degrees.
        pole: Distance from a pole within which a vertex lies on it; negative if poles are lines already.
    """

    def __init__(self, turn: float, pole: float) -> None:
        self._turn = turn
        self._pole = pole

    def cut(self, rings: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Return the parts of one polygon on the turn from -180 to 180 degrees, each as its rings.

        Args:
            rings: (n, 2) each, the outer one first; longitudes without jumps.
        """
        import shapely

        outer, *holes = (self._laid_out(ring, hole=i > 0) for i, ring in enumerate(rings))
        found = shapely.union_all(outer)
        if holes:
            found = shapely.difference(found, shapely.union_all([part for hole in holes for part in hole]))
        parts = shapely.get_parts(found)
        parts = shapely.orient_polygons(parts[shapely.area(parts) > 0])
        return [[shapely.get_coordinates(ring) for ring in (part.exterior, *part.interiors)] for part in parts]

    def _laid_out(self, ring: np.ndarray, *, hole: bool) -> list[object]:
        """Return the inside of a ring on the turn from -180 to 180 degrees, as shapely geometries."""
        import shapely

        ring = self._crossed(self._opened(ring))
        around = round((ring[-1, 0] - ring[0, 0]) / self._turn)
        if around:
            ring = self._closed_by_pole(ring[::-1] if hole else ring, -around if hole else around)
        polygon = shapely.Polygon(ring)
        if not polygon.is_valid:  # a curved edge crosses another one
            polygon = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
        half, top = self._turn / 2, self._turn / 4
        window = shapely.box(-half, -top, half, top)
        low, high = ring[:, 0].min(), ring[:, 0].max()
        turns = range(int(np.floor((low + half) / self._turn)), int(np.ceil((high - half) / self._turn)) + 1)
        moved = [shapely.transform(polygon, lambda xy, k=k: xy - [k * self._turn, 0]) for k in turns]
        return [shapely.intersection(part, window) for part in moved]

    def _opened(self, ring: np.ndarray) -> np.ndarray:
        """Replace a vertex on a pole by two, at the longitudes of the edges to and from it.

        The polygon is on the left: west of an edge that goes north to the pole, east of one that goes south.
        """
        on_pole = np.abs(ring[:-1, 1]) >= self._turn / 4 - self._pole
        if self._pole < 0 or not on_pole.any():
            return ring
        open_ring = np.roll(ring[:-1], -int(np.argmin(on_pole)), axis=0)  # begins beside the pole
        on_pole = np.abs(open_ring[:, 1]) >= self._turn / 4 - self._pole
        longitudes = np.mod(open_ring[:, 0], self._turn)
        out = [(longitudes[0], open_ring[0, 1])]
        for i in range(1, len(open_ring) + 1):
            at = i % len(open_ring)
            longitude, latitude = longitudes[at], open_ring[at, 1]
            before = out[-1][0]
            if on_pole[at]:
                out.append((before, np.copysign(self._turn / 4, latitude)))
                continue
            if on_pole[i - 1]:
                north = out[-1][1] > 0
                step = -np.mod(before - longitude, self._turn) if north else np.mod(longitude - before, self._turn)
                out.append((before + step, out[-1][1]))
            else:
                step = longitude - before - self._turn * np.rint((longitude - before) / self._turn)
            out.append((before + step, latitude))
        return np.array(out)

    def _crossed(self, ring: np.ndarray) -> np.ndarray:
        """Insert a vertex where an edge crosses the antimeridian."""
        half = self._turn / 2
        low, high = np.minimum(ring[:-1, 0], ring[1:, 0]), np.maximum(ring[:-1, 0], ring[1:, 0])
        first = np.floor((low + half) / self._turn).astype(int) + 1
        end = np.ceil((high + half) / self._turn).astype(int)
        out, done = [], 0
        for i in np.flatnonzero(first < end).tolist():
            goes_east = bool(ring[i, 0] < ring[i + 1, 0])
            west, east = (ring[i], ring[i + 1]) if goes_east else (ring[i + 1], ring[i])
            places = np.arange(first[i], end[i]) * self._turn - half
            heights = west[1] + (places - west[0]) / (east[0] - west[0]) * (east[1] - west[1])
            found = np.column_stack([places, heights])
            out += [ring[done : i + 1], found if goes_east else found[::-1]]
            done = i + 1
        return np.concatenate([*out, ring[done:]])

    def _closed_by_pole(self, ring: np.ndarray, around: int) -> np.ndarray:
        """Lay out a ring around a pole over three turns, and close it along the pole on its left.

        Args:
            ring: Ring whose end is a turn from its beginning.
            around: 1 if it goes east, with the north pole on its left; -1 if it goes west.
        """
        far = around * self._turn / 4
        path, step = ring[:-1], np.array([around * self._turn, 0.0])
        nearest = int(np.argmax(path[:, 1] * around))  # nothing lies between it and the pole
        one = np.concatenate([path[nearest:], path[:nearest] + step])
        one = one - [self._turn * np.rint(one[0, 0] / self._turn), 0]
        three = np.concatenate([one - step, one, one + step, one[:1] + 2 * step])
        ends = np.array([[three[-1, 0], far], [three[0, 0], far], three[0]])
        return np.concatenate([three, ends])
