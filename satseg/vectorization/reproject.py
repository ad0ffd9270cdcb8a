"""Reproject polygons from the CRS of their map so that they remain a coverage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from satseg.errors import OutputError, one_line
from satseg.geo.crs import (
    METRES_PER_DEGREE,
    full_turn,
    horizontal,
    is_geographic,
    metres_per_unit,
    parse_crs,
    require_map_crs,
    same_crs,
    short_name,
    transformer,
)
from satseg.vectorization.antimeridian import Outlines, on_one_turn, snapped
from satseg.vectorization.densify import AT_POLE, Densifier
from satseg.vectorization.validity import dissolve_touching, split_self_touching

if TYPE_CHECKING:
    from satseg.records import SceneInfo
    from satseg.vectorization.table import FeatureBatch

_SAMPLES = 65  # sampled points along each side of a scene
_ON_ANTIMERIDIAN = 1e-4  # pixels within which a vertex lies on it: grids are given to the centimetre
_SAME = 1e-3  # m between points that coincide
_TORN = 1e7  # m; an edge of this length has been torn apart
_CONTINENT = 1e12  # m2; rings turned inside out around the rest of the globe are larger


def transformer_between(src_crs: str, dst_crs: str) -> Transformer:
    """Return the transformer of (x, y) from the CRS of a map to that of polygons.

    Raises:
        UsageError: Polygons cannot be written in ``dst_crs``.
        OutputError: PROJ knows no transformation between the two.
    """
    require_map_crs(dst_crs)
    try:
        return transformer(src_crs, dst_crs)
    except ProjError as error:
        raise OutputError(
            f"PROJ cannot transform from the CRS of the map, {short_name(src_crs)}, to {short_name(dst_crs)}: "
            f"{one_line(error)}.",
            hint="Choose another CRS. GeoJSON needs longitude and latitude; the other formats do not.",
        ) from error


class Reprojection:
    """Reprojects batches of polygons from one CRS to another.

    A vertex gets the same coordinates, to the bit, in every polygon that has it. Long edges are densified, with the
    same vertices in both polygons beside them: a straight line in one CRS is a curve in another, and might cross a
    nearby vertex. No edge deviates by more than about a hundredth of a pixel.

    Longitudes are between -180 and 180 degrees. Polygons are cut at the antimeridian, or where a projection of the
    whole globe ends.

    Args:
        src_crs: CRS of the polygons.
        dst_crs: Target CRS.
        pixel: Side of a pixel of their map in units of ``src_crs``.
        metres: The same in metres on the ground.
        scene: Scene from which they come, if known.

    Raises:
        UsageError: Polygons cannot be written in ``dst_crs``.
        OutputError: PROJ knows no transformation between the two.
    """

    def __init__(
        self, src_crs: str, dst_crs: str, *, pixel: float, metres: float, scene: SceneInfo | None = None
    ) -> None:
        self._name = short_name(dst_crs)
        self._pixel = pixel
        self._unit = metres_per_unit(dst_crs)
        self._src_turn = full_turn(src_crs) if is_geographic(src_crs) else None
        self._transformer = transformer_between(src_crs, dst_crs)
        self._globe = _Globe.of(src_crs, dst_crs)
        crosses = scene is not None and self._globe is not None and self._crosses(scene, self._globe)
        if self._globe is not None and self._globe.onward is not None and not crosses:
            self._globe = None
        self._meets = scene is not None and self._globe is None and self._meets_itself(scene)
        self.makes_parts = crosses or self._meets
        """Whether polygons of the scene may be split into parts: it is near a limit of the CRS, or around a pole."""
        turn = self._globe.turn if self._globe else 0
        degree = turn / 360 * metres / METRES_PER_DEGREE  # a pixel, in units of longitude
        self._near, self._pole = _ON_ANTIMERIDIAN * degree, AT_POLE * degree
        poles = self._globe.poles(AT_POLE * pixel) if self._globe and self._src_turn is None else np.empty((0, 2))
        same = same_crs(src_crs, dst_crs)
        self._densifier = None if same else Densifier(pixel=pixel, metres=metres, poles=poles)

    def apply(self, batch: FeatureBatch) -> FeatureBatch:
        """Return the polygons with (x, y) in the target CRS; polygons that are cut have several parts.

        Raises:
            OutputError: The CRS is not defined at a vertex, or it tears a polygon apart.
        """
        points, rings = batch.points, batch.rings
        if self._src_turn is not None:  # grids referenced by cell centres extend beyond a pole
            y, limit = points[:, 1], self._src_turn / 4
            y = np.where(np.abs(y) < limit + self._pixel, y.clip(-limit, limit), y)
            points = np.column_stack([points[:, 0], y])
        if self._densifier is not None:
            points, rings = self._densifier.cut(points, rings)
        if self._globe is None:
            drawn = points
            if self._meets and self._src_turn is not None:  # so that both borders coincide, to the bit
                half = self._src_turn / 2
                points = np.column_stack([np.mod(points[:, 0] + half, self._src_turn) - half, points[:, 1]])
            found = self._transformed(self._transformer, points)
            self._check_whole(found[:, 0], rings)
            self._check_turned(drawn, found, rings)
            batch = replace(batch, points=found, rings=rings)
            return dissolve_touching(split_self_touching(batch)) if self._meets else batch
        globe = self._globe
        places = self._transformed(globe.transformer, points)
        places[:, 0] = snapped(places[:, 0], globe.turn, within=self._near)
        if globe.middle:
            places[:, 0] = snapped(places[:, 0] - globe.middle, globe.turn, within=self._near)
        near = points[:, 0] * (globe.turn / self._src_turn) - globe.middle if self._src_turn is not None else None
        outlines = Outlines(places, rings, batch.polygons, batch.features)
        cut = on_one_turn(outlines, turn=globe.turn, near=near, pole=self._pole)
        batch = replace(batch, points=cut.points, rings=cut.rings, polygons=cut.polygons, features=cut.features)
        if cut is not outlines and batch.multi:  # the borders of a map around the globe may touch
            batch = dissolve_touching(batch)
        if globe.onward is None:
            return batch
        batch = replace(batch, points=self._transformed(globe.onward, batch.points))
        return dissolve_touching(
            split_self_touching(batch)
        )  # near the limits of such projections, edges are strongly curved

    def _transformed(self, transformer: Transformer, points: np.ndarray) -> np.ndarray:
        found = np.column_stack(transformer.transform(points[:, 0], points[:, 1]))
        if not np.isfinite(found).all():
            raise OutputError(f"{self._name} is not defined in a part of the map.")
        return found

    def _crosses(self, scene: SceneInfo, globe: _Globe) -> bool:
        across, down = (np.linspace(0, size, _SAMPLES) for size in (scene.width, scene.height))
        x, y = scene.transform * tuple(np.meshgrid(across, down))
        longitudes, latitudes = globe.transformer.transform(x, y)
        longitudes = longitudes - globe.middle
        half = globe.turn / 2
        if self._src_turn is not None:
            near = x * (globe.turn / self._src_turn) - globe.middle
            longitudes = longitudes + globe.turn * np.rint((near - longitudes) / globe.turn)
            return bool(np.nanmax(np.abs(longitudes)) > (1 + 1e-9) * half)
        longitudes = longitudes - globe.turn * np.rint(longitudes / globe.turn)
        if not np.isfinite(longitudes).any():
            return False
        return _spread(np.abs(longitudes), half) >= half or _spread(np.abs(latitudes), half) >= half / 2

    def _meets_itself(self, scene: SceneInfo) -> bool:
        """Tell whether both borders of a map in longitude and latitude coincide in the target, or one is a point."""
        if self._src_turn is None:
            return False
        rows, columns = np.linspace(0, scene.height, _SAMPLES), np.linspace(0, scene.width, _SAMPLES)
        limit = self._src_turn / 4
        places = []
        for border in ((0, rows), (scene.width, rows), (columns, 0), (columns, scene.height)):
            x, y = scene.transform * tuple(map(np.ravel, np.broadcast_arrays(*border)))
            places.append(np.column_stack(self._transformer.transform(x, y.clip(-limit, limit))))
        apart = np.abs(places[0] - places[1])[1:-1] * self._unit
        sizes = [np.ptp(side, axis=0) * self._unit for side in places[2:]]
        return bool((apart < _SAME).all() or any((size < _SAME).all() for size in sizes))

    def _check_whole(self, x: np.ndarray, rings: np.ndarray) -> None:
        steps = np.abs(np.diff(x))
        steps[rings[1:-1] - 1] = 0  # from one ring to the next
        if steps.max(initial=0) * self._unit > _TORN:
            raise OutputError(
                f"Part of the map crosses the limit of {self._name}, which would tear polygons apart.",
                hint="Choose another CRS, such as EPSG:4326.",
            )

    def _check_turned(self, points: np.ndarray, found: np.ndarray, rings: np.ndarray) -> None:
        """Refuse rings whose orientation differs from most: they have been turned inside out."""
        before, after = _areas(points, rings), _areas(found, rings)
        way = np.sign(before) * np.sign(after)
        if ((way * way.sum() < 0) & (np.abs(after) * self._unit**2 > _CONTINENT)).any():
            raise OutputError(
                f"Part of the map contains the antipode of the centre of {self._name}, which would turn a polygon "
                "inside out.",
                hint="Choose another CRS, such as EPSG:4326.",
            )


def _areas(points: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Return twice the signed area of each ring, positive if counterclockwise."""
    x, y = (points - np.repeat(points[rings[:-1]], np.diff(rings), axis=0)).T
    steps = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)  # 0 from one ring to the next, which begins at (0, 0)
    return np.add.reduceat(steps, rings[:-1])


@dataclass(frozen=True)
class _Globe:
    """Longitude and latitude as an intermediate step to a CRS, where polygons are cut.

    Args:
        transformer: To longitude and latitude.
        turn: 360 degrees in their units.
        middle: Central longitude of the CRS, half a turn from its limit.
        onward: From longitude relative to it, and latitude, to the CRS; None if the CRS is geographic.
    """

    transformer: Transformer
    turn: float
    middle: float
    onward: Transformer | None

    @classmethod
    def of(cls, src_crs: str, dst_crs: str) -> _Globe | None:
        """Return it for a geographic CRS, or a projection whose limit is a meridian; else None."""
        if is_geographic(dst_crs):
            return cls(transformer_between(src_crs, dst_crs), full_turn(dst_crs), 0.0, None)
        plane = horizontal(parse_crs(dst_crs))
        base = plane.geodetic_crs
        if base is None or plane.coordinate_operation is None:
            return None
        middle = [entry for entry in plane.coordinate_operation.params if "longitude" in entry.name.lower()]
        turn = full_turn(base.to_wkt())
        if len(middle) != 1 or abs(middle[0].unit_conversion_factor * turn - 2 * np.pi) > 1e-6:
            return None
        onward = transformer(base, _from_greenwich(plane, middle[0].name))
        latitudes = np.array([-0.1, 0.0, 0.1]) * turn
        ends = [onward.transform(np.full(3, side * turn / 2), latitudes) for side in (-1, 1)]
        apart = np.hypot(*np.subtract(*ends)) * metres_per_unit(dst_crs)
        if not (np.isfinite(apart).all() and apart.max() > _TORN):
            return None
        return cls(transformer_between(src_crs, base.to_wkt()), turn, float(middle[0].value), onward)

    def poles(self, tolerance: float) -> np.ndarray:
        """Return (K, 2) positions of the poles in the source CRS, as far as each is a single point."""
        found = []
        for latitude in (-self.turn / 4, self.turn / 4):
            x, y = self.transformer.transform(
                np.linspace(-0.4, 0.4, 5) * self.turn, np.full(5, latitude), direction=TransformDirection.INVERSE
            )
            places = np.column_stack([x, y])
            if np.isfinite(places).all() and np.ptp(places, axis=0).max() < tolerance:
                found.append(places.mean(axis=0))
        return np.array(found).reshape(-1, 2)


def _from_greenwich(plane: CRS, parameter: str) -> CRS:
    """Return a projection with a central longitude of 0: PROJ would map both of its limits to one."""
    described = plane.to_json_dict()
    described.pop("id", None)
    for entry in described["conversion"]["parameters"]:
        if entry["name"] == parameter:
            entry["value"] = 0
    return CRS.from_json_dict(described)


def _spread(values: np.ndarray, most: float) -> float:
    """Return an upper bound of the values at and between samples."""
    finite = np.where(np.isfinite(values) & (values <= most), values, np.nan)
    steps = [np.nanmax(np.abs(np.diff(finite, axis=axis)), initial=0) for axis in (0, 1)]
    return float(np.nanmax(finite) + max(steps))
