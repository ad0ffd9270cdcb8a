"""Settings of polygons, and of ``vectorize``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Self

from satseg.arguments import Crs, Given, Paths, Words, crs_name, paths, pixels, words
from satseg.errors import UsageError
from satseg.geo.units import Area, Gsd, Length, Quantity, parse_area, parse_length
from satseg.labels.settings import ClassMapOption, class_map_sources
from satseg.objects.stored_division import StoredDivision
from satseg.settings import OBJECTS, POLYGONS, Option, Settings

ATTRIBUTES = (
    "class_id",
    "class_name",
    "object_id",
    "score",
    "area_m2",
    "perimeter_m",
    "pixels",
    "confidence_mean",
    "confidence_min",
    "confidence_p05",
    "region_id",
    "scene",
)
"""Attributes of polygons, in the order of their columns."""

CONFIDENCE = frozenset(name for name in ATTRIBUTES if name.startswith("confidence"))
"""Attributes that need a map with confidence."""

OF_OBJECTS = frozenset({"object_id", "score"})
"""Attributes that need a map with objects."""

MIN_AREA, FILL_HOLES, SIMPLIFY = "8px", "7px", "1px"
"""Defaults for maps of classes.

Most regions in the maps of networks have less than 8 px, and their pixels are wrong as often as pixels at random. A
tolerance of 1 px removes two thirds of the vertices and keeps outlines as accurate as the edges of pixels; with less,
the staircases of pixels remain, with more, small objects lose their shape.
"""

_OFF = "0px"


class InPixels(NamedTuple):
    """Settings of outlines in pixels of one map.

    Args:
        min_area: Pixels of the smallest region to keep.
        fill_holes: Pixels of the largest hole to fill.
        simplify: Columns and rows by which a boundary may move; None keeps the pixels' edges.
    """

    min_area: float
    fill_holes: float
    simplify: tuple[float, float] | None


class PolygonSettings(Settings):
    """How class maps become polygons.

    ``min_area``, ``fill_holes`` and ``simplify`` have defaults for maps of classes; maps of ids, such as instances, are
    traced as with ``raw``.

    Raises:
        UsageError: An attribute or the CRS is unknown, a length or an area is invalid, or settings exclude each other.
    """

    classes: Annotated[
        Given[Words | None, tuple[str, ...] | None],
        Option(
            "Classes to trace, by name, separated by commas; put a name that contains a comma in double quotes. "
            "Default: all but the background.",
            metavar="NAMES",
        ),
    ] = Given(words)
    keep_background: Annotated[bool, Option("Trace the background class as well.", panel=POLYGONS)] = False
    raw: Annotated[
        bool,
        Option(
            "Keep all edges of pixels, all regions and all holes, unless `simplify`, `min_area` or `fill_holes` is "
            "given as well.",
            panel=POLYGONS,
        ),
    ] = False
    min_area: Annotated[
        Quantity | None,
        Option(
            "Smallest region to keep: 25px, 10m2, 0.01ha, or 0 for all; a plain number is square metres. A smaller "
            "region is merged into the neighbour with the longest shared boundary, or dropped if nodata or background "
            "surrounds it; a smaller object is dropped. Default: 8px; for objects, the area that 95 % of those in "
            "training exceed.",
            metavar="AREA",
        ),
    ] = None
    fill_holes: Annotated[
        Quantity | None,
        Option(
            "Largest hole to fill: 25px, 5m2, or 0 for none; a plain number is square metres. Holes that contain "
            "polygons are kept. Default: 7px.",
            metavar="AREA",
            panel=POLYGONS,
        ),
    ] = None
    connectivity: Annotated[
        Literal[4, 8],
        Option(
            "Whether pixels of one region share an edge (4) or at least a corner (8). With 8, all geometries are "
            "multipolygons.",
            panel=POLYGONS,
        ),
    ] = 4
    max_vertices: Annotated[
        int,
        Option(
            "Largest number of vertices of a region, before simplification. A region with more is cut at the next "
            "128th row of the map; its pieces share their region_id.",
            metavar="N",
            panel=POLYGONS,
            minimum=1,
        ),
    ] = 1_000_000
    simplify: Annotated[
        Quantity | None,
        Option(
            "Largest distance by which simplification moves a boundary: 1px, 0.5m, 50cm, or 0 for none; a plain number "
            "is metres. Polygons still share their boundaries. Default: 1px, or 0 with `raw` or `regularize`.",
            metavar="LENGTH",
            panel=POLYGONS,
        ),
    ] = None
    smooth: Annotated[
        bool,
        Option(
            "Round the corners of boundaries, by at most the length of `simplify`, or half a pixel without it. This "
            "roughly triples the vertices; polygons still share their boundaries.",
            panel=POLYGONS,
        ),
    ] = False
    regularize: Annotated[
        Quantity | None,
        Option(
            "Make outlines right-angled, with sides of at least this length: 10px, 2m; a plain number is metres. For a "
            "single class such as buildings. Polygons still share their boundaries; between neighbours, shorter sides "
            "may remain. All outlines are kept in memory until the end of the map.",
            metavar="LENGTH",
            panel=POLYGONS,
        ),
    ] = None
    marker_depth: Annotated[
        float,
        Option(
            "How deep a dip divides two objects, from 0 to 1: less divides more.",
            metavar="SHARE",
            panel=OBJECTS,
        ),
    ] = 0.35
    max_object: Annotated[
        Given[str | int, int],
        Option(
            "Extent of the largest object in pixels of the training; larger ones may be divided.",
            metavar="PX",
            panel=OBJECTS,
            minimum=1,
            maximum=2048,
        ),
    ] = Given(pixels, 512)
    attributes: Annotated[
        Given[Words | None, tuple[str, ...] | None],
        Option(
            f"Attributes to write, separated by commas: {', '.join(ATTRIBUTES)}. Default: all; "
            "confidence attributes only if the confidence is known, object_id and score only of objects.",
            metavar="NAMES",
            panel=POLYGONS,
        ),
    ] = Given(words)
    crs: Annotated[
        Given[Crs | None, str | None],
        Option(
            "CRS of the polygons, such as EPSG:4326. Default: the CRS of the map. GeoJSON is always in longitude and "
            "latitude. Reprojected polygons are cut at the antimeridian.",
            metavar="CRS",
            panel=POLYGONS,
        ),
    ] = Given(crs_name)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.marker_depth <= 1:
            raise UsageError(f"`marker_depth` is {self.marker_depth:g}; it must be above 0 and at most 1.")
        if self.classes == ():
            raise UsageError("`classes` is empty, so there would be no polygons.", hint="None takes all classes.")
        self._drop_zero("regularize", parse_length, None)
        self._drop_zero("simplify", parse_length, _OFF)
        for name in ("min_area", "fill_holes"):
            self._drop_zero(name, parse_area, _OFF)
        if self.regularize and (self.connectivity == 8 or self.simplify not in (None, _OFF) or self.smooth):
            raise UsageError(
                "`regularize` replaces simplified and smoothed outlines.",
                hint="Leave out `simplify`, `smooth` and `connectivity=8`.",
            )
        if self.crs is not None:
            from satseg.geo.crs import require_map_crs  # with pyproj, which the help of the command line does not need

            require_map_crs(self.crs)
        for name in self.attributes or ():
            if name not in ATTRIBUTES:
                raise UsageError(f"There is no attribute {name!r}.", hint=f"Choose from {', '.join(ATTRIBUTES)}.")

    def _drop_zero(self, name: str, parse: Callable[[Quantity, str], Length | Area], off: str | None) -> None:
        """Write a length or an area of 0 in one way, and refuse one that is invalid before there is a map."""
        given = getattr(self, name)
        if given is not None and not parse(given, name).value:
            object.__setattr__(self, name, off)

    def divided_as(self, division: StoredDivision) -> Self:
        """Return these settings with the ``marker_depth`` and ``min_area`` of a network, unless they are given."""
        given = self.given | ({"min_area"} if self.raw else set())
        wanted = {name: value for name, value in division.items() if name not in given}
        return self.changed(**wanted) if wanted else self

    def in_pixels(self, gsd: Gsd, *, ids: bool) -> InPixels:
        """Return the settings of outlines in pixels, with defaults filled in.

        Args:
            gsd: Ground metres per pixel of the map.
            ids: Whether the values of the map are ids instead of classes.

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


class VectorizeSettings(PolygonSettings):
    """How class rasters become polygons: what they hold, beside the settings of polygons.

    Raises:
        UsageError: As :class:`PolygonSettings`.
    """

    band: Annotated[int | None, Option("Band to trace if rasters have several, counted from 1.", metavar="N")] = None
    class_map: ClassMapOption = Given(class_map_sources)
    threshold: Annotated[
        float | None,
        Option(
            "Trace one class: the pixels with at least this value, after the scale and offset of the band. For "
            "probabilities.",
            metavar="VALUE",
        ),
    ] = None
    confidence: Annotated[
        Given[Paths | None, tuple[str, ...] | None],
        Option(
            "Raster of the same size with the confidence of each pixel's class: probabilities of 0 to 1, or uint8 "
            "where 254 is certain. Give one for each raster.",
            metavar="FILE",
            repeated=True,
        ),
    ] = Given(paths)

    boundary: Annotated[
        Given[Paths | None, tuple[str, ...] | None],
        Option(
            "Raster of the same size with the probability of the inner boundary of objects, as `predict` writes it. "
            "With `distance`, classes are divided into objects, one polygon each. Give one for each raster.",
            metavar="FILE",
            panel=OBJECTS,
            repeated=True,
        ),
    ] = Given(paths)
    distance: Annotated[
        Given[Paths | None, tuple[str, ...] | None],
        Option(
            "Raster of the same size with the distance to the edge of the object, as `predict` writes it. Give one for "
            "each raster.",
            metavar="FILE",
            panel=OBJECTS,
            repeated=True,
        ),
    ] = Given(paths)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, other in (("boundary", "distance"), ("distance", "boundary")):
            given: tuple[str, ...] | None = getattr(self, name)
            if given and getattr(self, other) is None:
                raise UsageError(
                    f"{', '.join(given)} is given as `{name}` without `{other}`; objects need both.",
                    hint=f"Give `{other}`, too.",
                )
        for name in ("marker_depth", "max_object"):
            if name in self.given and self.boundary is None:
                raise UsageError(
                    f"`{name}` has no effect on classes without objects.",
                    hint="Give `boundary` and `distance`, which `predict` writes.",
                )
        if self.threshold is not None and self.class_map is not None:
            raise UsageError("`threshold` makes classes of its own.", hint="Leave out `class_map`.")
