"""What users can ask of polygons, in one record that every command passes on as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

from satseg.arguments import Crs, Given, Words, crs_name, join_names, words
from satseg.errors import UsageError
from satseg.geo.crs import require_map_crs
from satseg.geo.units import Area, Gsd, Length, Quantity, parse_area, parse_length
from satseg.signatures import check_fields, options

ATTRIBUTES = (
    "class_id",
    "class_name",
    "area_m2",
    "perimeter_m",
    "pixels",
    "confidence_mean",
    "confidence_min",
    "confidence_p05",
    "region_id",
    "scene",
)
"""Attributes of a polygon, in the order of their columns."""

CONFIDENCE = frozenset(name for name in ATTRIBUTES if name.startswith("confidence"))
"""Those that need a map with confidence."""

MIN_AREA, FILL_HOLES, SIMPLIFY = "8px", "7px", "1px"
"""What becomes of a map of classes unless something else is asked for.

Of what a network says, regions below 8 px are as often wrong as pixels taken at random, and most of all regions. Moved
by up to 1 px, outlines are as near to the true ones as the pixels' edges are, with a third of their vertices; with less
the staircases of pixels stay, with more, small objects lose their shape.
"""

_OFF = "0px"


class InPixels(NamedTuple):
    """What is asked of outlines, on the grid of one map.

    Args:
        min_area: Pixels of the smallest region to keep.
        fill_holes: Pixels of the largest hole to fill.
        simplify: Columns and rows by which a boundary may move; None keeps the pixels' edges.
    """

    min_area: float
    fill_holes: float
    simplify: tuple[float, float] | None


@options
@dataclass(frozen=True)
class PolygonOptions:
    """How a map becomes polygons. Plain values, as they are typed; ``dataclasses.asdict`` gives JSON.

    Lengths and areas are texts such as ``1px``, ``0.5m``, ``10m2`` or ``0.01ha``, or plain numbers of metres and square
    metres (:mod:`satseg.geo.units`). One of 0 is none: what it belongs to is off.

    Where ``min_area``, ``fill_holes`` and ``simplify`` are None, a map of classes becomes a layer to work with: regions
    and holes below 8 px go, and outlines are simplified by 1 px. With ``raw`` they are off, as they are for ids (of
    instances, say), of which each stands for itself.

    Args:
        raw: Whether every pixel's edge is kept, and every region and hole, as far as nothing else is asked for.
        classes: Names of the classes to emit, or None for all. A background that is named here is kept. In one text,
            a name that holds a comma stands in double quotes.
        keep_background: Whether the background class becomes polygons too.
        min_area: Smallest region to keep, as ``10m2`` or ``25px``. Smaller ones dissolve into the neighbour with which
            they share the longest boundary; those with no neighbour that is emitted go.
        fill_holes: Largest hole to fill, as ``5m2`` or ``25px``; only holes in which nothing is emitted.
        connectivity: Whether pixels of one region share an edge (4), or a corner is enough (8). With 8 every geometry
            is a multipolygon: its polygons are those of 4, so nothing overlaps where two regions cross at a corner.
        max_vertices: A region that has more vertices is cut at the next 128th row of the map, so that no piece has more
            than these and those of 129 rows of corners, two a corner. Pieces have the same ``region_id``. Vertices are
            counted before ``simplify`` takes some away; what ``smooth`` adds is counted.
        simplify: How far a boundary may move to get along with fewer vertices, as ``1px`` or ``0.5m``; neighbours keep
            fitting exactly. Not used by default with ``regularize``.
        smooth: Whether corners of boundaries are rounded, by half a pixel, or by the length of ``simplify``, at most;
            neighbours keep fitting exactly.
        regularize: Shortest side, as ``2m`` or ``10px``, of right-angled outlines for one class, of buildings say. They
            no longer fit their neighbours; overlaps are cut from the smaller one. All outlines of a map are held until
            its end.
        attributes: Columns to write, of ``ATTRIBUTES``; None writes all that the map can fill.
        crs: CRS of the polygons, as ``EPSG:4326``; None keeps that of the (first) map. GeoJSON is always in longitude
            and latitude. On their way to another CRS polygons are cut at the antimeridian (or where else it ends), and
            longitudes are -180..180.

    Raises:
        UsageError: An attribute or the CRS is unknown, or a number, a length or an area makes no sense.
    """

    classes: Given[Words | None, tuple[str, ...] | None] = Given(words)
    keep_background: bool = False
    raw: bool = False
    min_area: Quantity | None = None
    fill_holes: Quantity | None = None
    connectivity: int = 4
    max_vertices: int = 1_000_000
    simplify: Quantity | None = None
    smooth: bool = False
    regularize: Quantity | None = None
    attributes: Given[Words | None, tuple[str, ...] | None] = Given(words)
    crs: Given[Crs | None, str | None] = Given(crs_name)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.classes == ():
            raise UsageError("classes is empty, so there would be no polygons.", hint="None takes all classes.")
        if self.connectivity not in (4, 8):
            raise UsageError(f"A connectivity of {self.connectivity} is unknown.", hint="Choose 4 or 8.")
        self._drop_zero("regularize", parse_length, None)
        self._drop_zero("simplify", parse_length, _OFF)
        for name in ("min_area", "fill_holes"):
            self._drop_zero(name, parse_area, _OFF)
        if self.regularize and (self.connectivity == 8 or self.simplify not in (None, _OFF) or self.smooth):
            raise UsageError(
                "--regularize makes outlines of its own.", hint="Drop --simplify, --smooth and --connectivity 8."
            )
        if self.max_vertices < 1:
            raise UsageError(f"Polygons cannot have {self.max_vertices} vertices.")
        if self.crs is not None:
            require_map_crs(self.crs)
        for name in self.attributes or ():
            if name not in ATTRIBUTES:
                raise UsageError(f"There is no attribute {name!r}.", hint=f"Choose from {', '.join(ATTRIBUTES)}.")

    def _drop_zero(self, name: str, parse: Callable[[Quantity, str], Length | Area], off: str | None) -> None:
        """Write a length or an area of 0 in one way; it is looked at before there is a map."""
        given = getattr(self, name)
        if given is not None and not parse(given, name).value:
            object.__setattr__(self, name, off)

    def in_pixels(self, gsd: Gsd, *, ids: bool) -> InPixels:
        """Return what is asked of outlines in pixels, defaults filled in.

        Args:
            gsd: Ground metres per pixel of the map.
            ids: Whether its values are ids, and no classes.

        Raises:
            UsageError: A value is in metres where pixels have no size on the ground.
        """
        plain = self.raw or ids
        simplify = self.simplify or (_OFF if plain or self.regularize else SIMPLIFY)
        tolerance = parse_length(simplify, "simplify").in_pixels(gsd)
        return InPixels(
            parse_area(self.min_area or (_OFF if plain else MIN_AREA), "min_area").in_pixels(gsd),
            parse_area(self.fill_holes or (_OFF if plain else FILL_HOLES), "fill_holes").in_pixels(gsd),
            tolerance if any(tolerance) else None,
        )

    def words(self) -> list[str]:
        """Return the options that are not at their defaults, as words of a command line."""
        words = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value != entry.default:
                words.append("--" + entry.name.replace("_", "-"))
                words += [] if value is True else [join_names(value) if isinstance(value, tuple) else str(value)]
        return words
