"""Footprints of windows of scenes: in the CRS of the scene, in longitude and latitude, and on equal-area maps."""

from __future__ import annotations

import numpy as np
import shapely
from pyproj.exceptions import ProjError

from satseg.geo.crs import full_turn, is_geographic, same_crs, transformer
from satseg.records import SceneInfo

GLOBE = "OGC:CRS84"
"""Longitude and latitude: where scenes of several CRSs are compared."""

_STEPS = 8  # parts of an edge that is bent by a change of CRS
_STRAIGHT = 0.25  # units of longitude and latitude along which a parallel is nearly straight on the maps


def in_degrees(crs: str) -> bool:
    """Tell whether a CRS is geographic with degrees as its unit, and not grads."""
    return is_geographic(crs) and full_turn(crs) == 360


def outlines(info: SceneInfo, windows: np.ndarray, crs: str | None) -> np.ndarray:
    """Return windows (N, 4) of a scene as polygons in a CRS.

    Edges are densified before they are transformed. Longitudes continue beyond 180 across the antimeridian, so that
    polygons stay in one piece.

    Args:
        info: The scene.
        windows: First row, first column, rows, columns of each.
        crs: CRS of the polygons; None leaves that of the scene.

    Returns:
        (N,) polygons; None where the scene has no CRS, or it cannot be transformed to ``crs``.
    """
    bent = crs is not None and (info.crs is None or not same_crs(info.crs, crs))
    edge = np.arange(_STEPS) / _STEPS if bent else np.zeros(1)
    along = np.concatenate([edge, np.ones_like(edge), 1 - edge, np.zeros_like(edge)])
    down = np.roll(along, len(edge))
    top, left, height, width = windows.T.astype(float)[..., None]
    x, y = info.transform * (left + width * along, top + height * down)
    if not bent:
        plain: np.ndarray = shapely.polygons(np.stack([x, y], axis=-1))
        return plain
    found = np.full(len(windows), None, dtype=object)
    if info.crs is None or crs is None:
        return found
    try:
        x, y = transformer(info.crs, crs).transform(x, y)
    except ProjError:
        return found
    geographic = is_geographic(crs)
    plain_ones = (np.ptp(x, axis=1) < 180) | (not geographic)  # false too where it is not finite
    plain_ones &= np.isfinite(x + y).all(axis=1)
    found[plain_ones] = shapely.polygons(np.stack([x[plain_ones], y[plain_ones]], axis=-1))
    for number in np.flatnonzero(~plain_ones):
        found[number] = _polygon(x[number], y[number], geographic=geographic)
    return found


def _polygon(x: np.ndarray, y: np.ndarray, *, geographic: bool) -> shapely.Polygon | None:
    """Return a ring as a polygon, without points off the globe; None if fewer than three are left."""
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if len(x) < 3:
        return None
    if geographic:
        x = np.unwrap(np.append(x, x[0]), period=360)
        around, x = x[-1] - x[0], x[:-1]
        if abs(around) > 180:  # it goes around a pole, and is closed there
            pole = np.copysign(90, y.mean())
            x, y = np.append(x, [x[0] + around, x[0] + around, x[0]]), np.append(y, [y[0], pole, pole])
        x -= 360 * np.floor((x.mean() + 180) / 360)
    return shapely.Polygon(np.column_stack([x, y]))


def on_maps(footprints: np.ndarray) -> list[np.ndarray]:
    """Project polygons in longitude and latitude onto two equal-area maps, one around each pole.

    The maps have no seam at the antimeridian; polygons that overlap do so on at least one of the maps.

    Args:
        footprints: (N,) polygons in degrees; None is left out.

    Returns:
        For each map (N,) polygons, on a sphere of radius 1; None where a polygon lies wholly on the other.
    """
    fine = shapely.segmentize(footprints, _STRAIGHT)
    degrees, number = shapely.get_coordinates(fine, return_index=True)
    lon, lat = np.radians(degrees).T
    maps = []
    for pole in (1, -1):
        radius = 2 * np.sin((np.pi / 2 - pole * lat) / 2)  # Lambert's azimuthal equal-area projection
        reaching = np.zeros(len(footprints), dtype=bool)
        reaching[number[pole * lat >= 0]] = True
        moved = np.column_stack([radius * np.sin(lon), radius * np.cos(lon)])
        drawn = np.full(len(footprints), None, dtype=object)
        if reaching.any():
            drawn[reaching] = shapely.set_coordinates(fine[reaching], moved[reaching[number]])
            broken = reaching.copy()
            broken[reaching] = ~shapely.is_valid(drawn[reaching])
            drawn[broken] = shapely.make_valid(drawn[broken])
        maps.append(drawn)
    return maps
