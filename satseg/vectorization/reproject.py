"""Bring polygons from the CRS of their map into another one, so that they stay a coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from satseg.errors import OutputError, one_line
from satseg.geo.crs import (
    full_turn,
    horizontal,
    is_geographic,
    metres_per_unit,
    parse_crs,
    parse_map_crs,
    same_crs,
    short_name,
)
from satseg.vectorization.antimeridian import Outlines, on_one_turn, snapped
from satseg.vectorization.densify import AT_POLE, Densifier

if TYPE_CHECKING:
    from satseg.records import SceneInfo
    from satseg.vectorization.table import Batch

_SAMPLES = 65  # places along each side of a scene that are looked at
_ON_ANTIMERIDIAN = 1e-4  # pixels from it, within which a vertex lies on it: grids are given to the centimetre
_TORN = 1e7  # m; no edge is as long, so that it has been torn apart
_DEGREE = 111_000.0  # m along a meridian


def transformer_between(src_crs: str, dst_crs: str) -> Transformer:
    """Return the way of a map's coordinates (x, y) to another CRS.

    Raises:
        UsageError: ``dst_crs`` is no CRS that polygons can be in.
        OutputError: There is none.
    """
    target = parse_map_crs(dst_crs)
    try:
        return Transformer.from_crs(horizontal(parse_crs(src_crs)), horizontal(target), always_xy=True)
    except ProjError as error:
        raise OutputError(
            f"There is no way from the map's CRS, {short_name(src_crs)}, to {short_name(dst_crs)}: {one_line(error)}.",
            hint="Choose another CRS. GeoJSON needs longitude and latitude; the other formats do not.",
        ) from error


class Reprojection:
    """The way from one CRS to another, for vertices.

    A vertex comes out the same, to the bit, in every polygon that has it. Long edges get vertices on the way, the same
    ones in both polygons beside them: a straight line of one CRS is a curve in another, and might run over a vertex
    beside it. No edge bends by more than about a hundredth of a pixel.

    Longitudes are between -180 and 180 degrees, and polygons that cross the antimeridian are cut there.

    Args:
        src_crs: CRS of the polygons as they come.
        dst_crs: CRS to bring them to.
        pixel: Side of a pixel of their map in units of ``src_crs``.
        metres: The same in metres on the ground.

    Raises:
        UsageError: ``dst_crs`` is no CRS that polygons can be in.
        OutputError: There is no way between the two.
    """

    def __init__(self, src_crs: str, dst_crs: str, *, pixel: float, metres: float) -> None:
        self._name = short_name(dst_crs)
        self._turn = full_turn(dst_crs) if is_geographic(dst_crs) else None
        self._src_turn = full_turn(src_crs) if is_geographic(src_crs) else None
        self._transformer = transformer_between(src_crs, dst_crs)
        self._unit = metres_per_unit(dst_crs)
        self._near = _ON_ANTIMERIDIAN * metres / _DEGREE * (self._turn or 0) / 360
        self._pole = AT_POLE * metres / _DEGREE * (self._turn or 0) / 360
        self._densifier = (
            None if same_crs(src_crs, dst_crs) else Densifier(pixel=pixel, metres=metres, poles=self._poles(pixel))
        )

    def apply(self, batch: Batch) -> Batch:
        """Return the polygons with (x, y) in the other CRS; those that are cut have several parts.

        Raises:
            OutputError: A vertex lies where the CRS is not defined, or the CRS tears a polygon apart.
        """
        points, rings = batch.points, batch.rings
        if self._densifier is not None:
            points, rings = self._densifier.cut(points, rings)
        x, y = self._transformer.transform(points[:, 0], points[:, 1])
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise OutputError(f"Part of the map lies outside the area where {self._name} is defined.")
        if self._turn is None:
            self._check_whole(x, rings)
            return replace(batch, points=np.column_stack([x, y]), rings=rings)
        near = points[:, 0] * (self._turn / self._src_turn) if self._src_turn is not None else None
        outlines = Outlines(
            np.column_stack([snapped(x, self._turn, within=self._near), y]), rings, batch.polygons, batch.features
        )
        found = on_one_turn(outlines, turn=self._turn, near=near, pole=self._pole)
        return replace(batch, points=found.points, rings=found.rings, polygons=found.polygons, features=found.features)

    def crosses(self, scene: SceneInfo) -> bool:
        """Tell whether polygons of a scene may be cut at the antimeridian: it lies there, or all but."""
        if self._turn is None:
            return False
        across, down = (np.linspace(0, size, _SAMPLES) for size in (scene.width, scene.height))
        x, y = scene.transform * tuple(np.meshgrid(across, down))
        longitudes, latitudes = self._transformer.transform(x, y)
        if self._src_turn is not None:
            near = x * (self._turn / self._src_turn)
            longitudes = longitudes + self._turn * np.rint((near - longitudes) / self._turn)
            return bool(np.nanmax(np.abs(longitudes)) > (0.5 + 1e-9) * self._turn)
        if not np.isfinite(longitudes).any():
            return False
        return bool(
            _spread(np.abs(longitudes), self._turn) >= self._turn / 2
            or _spread(np.abs(latitudes), self._turn) >= self._turn / 4
        )

    def _check_whole(self, x: np.ndarray, rings: np.ndarray) -> None:
        steps = np.abs(np.diff(x))
        steps[rings[1:-1] - 1] = 0  # from one ring to the next
        if steps.max(initial=0) * self._unit > _TORN:
            raise OutputError(
                f"Part of the map lies where {self._name} ends on one side and begins on the other, which would tear "
                "polygons apart.",
                hint="Choose another CRS. In longitude and latitude (EPSG:4326) they are cut at the antimeridian.",
            )

    def _poles(self, pixel: float) -> np.ndarray:
        """Return (K, 2) places of the poles in the CRS of the polygons, where each is one point."""
        if self._turn is None or self._src_turn is not None:
            return np.empty((0, 2))
        found = []
        for latitude in (-self._turn / 4, self._turn / 4):
            x, y = self._transformer.transform(
                np.linspace(-0.4, 0.4, 5) * self._turn, np.full(5, latitude), direction=TransformDirection.INVERSE
            )
            places = np.column_stack([x, y])
            if np.isfinite(places).all() and np.ptp(places, axis=0).max() < AT_POLE * pixel:
                found.append(places.mean(axis=0))
        return np.array(found).reshape(-1, 2)


def _spread(values: np.ndarray, turn: float) -> float:
    """Return the largest value that lies between samples, or on one."""
    finite = np.where(np.isfinite(values) & (values <= turn), values, np.nan)
    steps = [np.nanmax(np.abs(np.diff(finite, axis=axis)), initial=0) for axis in (0, 1)]
    return float(np.nanmax(finite) + max(steps))
