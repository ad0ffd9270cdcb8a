"""Where and when the scenes of a training were taken, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from satseg.tiles.globe import GLOBE
from satseg.tiles.tileset import TileSet

_DIGITS = 7  # of degrees: centimetres


@dataclass(frozen=True)
class Ground:
    """Where and when training scenes were taken.

    Args:
        outline: Of the training tiles of each scene, in longitude and latitude, which may run beyond 180; None if it is
            not known.
        dates: First and last day, both included, or None if they are not known.
    """

    outline: MultiPolygon | None = None
    dates: tuple[date, date] | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known."""
        return ("footprint",) * (self.outline is None) + ("dates",) * (self.dates is None)

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north in degrees; west is larger than east where it crosses the antimeridian."""
        if self.outline is None:
            return None
        west, south, east, north = self.outline.bounds
        if east - west >= 360:
            return -180.0, south, 180.0, north
        return _on_turn(west), south, _on_turn(east), north

    @property
    def footprint(self) -> MultiPolygon | None:
        """The outline with longitudes from -180 to 180, cut at the antimeridian."""
        if self.outline is None:
            return None
        west, _, east, _ = self.outline.bounds
        if west >= -180 and east <= 180:
            return self.outline
        turns = range(int((west + 180) // 360), int((east + 180) // 360) + 1)
        parts = [
            _moved(self.outline.intersection(shapely.box(360 * t - 180, -90, 360 * t + 180, 90)), t) for t in turns
        ]
        return _polygons(part for geometry in parts for part in shapely.get_parts(geometry))


def _on_turn(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else round((longitude + 180) % 360 - 180, _DIGITS)


def _moved(geometry: shapely.Geometry, turns: int) -> shapely.Geometry:
    return shapely.transform(geometry, lambda points: np.round(points - [360 * turns, 0], _DIGITS))


def _polygons(parts: Iterable[shapely.Geometry]) -> MultiPolygon:
    return MultiPolygon([part for part in parts if isinstance(part, Polygon) and part.area > 0])


def training_outline(tile_set: TileSet) -> MultiPolygon | None:
    """Return the convex hulls of the training tiles of each scene; None if no tile is georeferenced.

    Returns:
        Polygons in longitude and latitude, those of scenes that overlap united.
    """
    index = tile_set.index
    if index.crs is None:
        return None
    used = index[(index["split"] == "train") & (index["weight"] > 0)]
    placed = used[used.geometry.notna().to_numpy()].to_crs(GLOBE)
    hulls = [shapely.convex_hull(shapely.union_all(tiles.geometry.to_numpy())) for _, tiles in placed.groupby("scene")]
    return _united(hulls)


def _united(hulls: Sequence[Polygon]) -> MultiPolygon | None:
    if not hulls:
        return None
    united = shapely.normalize(shapely.transform(shapely.union_all(hulls), lambda points: np.round(points, _DIGITS)))
    return _polygons(shapely.get_parts(united))
