"""Compare polygons with labels: polygon by polygon, or on the grid of a raster or a common one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from satseg.errors import LabelError, UsageError
from satseg.evaluation.maps import read_labels, telling
from satseg.evaluation.measures import Measures
from satseg.evaluation.polygon_ground import SQUARES
from satseg.evaluation.polygons import PolygonSet, match_polygons, unit_of_areas
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.class_map import ClassMap
from satseg.labels.label_files import open_labels
from satseg.labels.label_source import LabelSource
from satseg.labels.settings import LabelSettings
from satseg.labels.vector_labels import SCORE, VectorLabels
from satseg.raster.area import AreaOfInterest
from satseg.raster.scene import Scene
from satseg.records import EvaluationReport, Progress, SceneInfo
from satseg.vectorization.footprint import read_footprint
from satseg.workflows.compare import Comparison, meaning_of, with_background
from satseg.workflows.grid import common_grid
from satseg.workflows.label_reading import LabelReading

log = logging.getLogger("satseg")

OWN_FIELD = "class_name"
"""Class attribute of polygons written by satseg."""


def compare_polygons(
    path: str,
    labels: LabelReading,
    gsd: float | None,
    aoi: AreaOfInterest | None,
    measures: Measures,
    progress: Progress,
) -> EvaluationReport:
    """Compare polygons with labels within the area that was mapped.

    The mapped area is the footprint that satseg stores in GeoPackage and GeoParquet files. Without a footprint it is
    ``aoi``, or else the bounding box of the polygons, with a warning.

    Args:
        path: The polygons.
        labels: The labels.
        gsd: Resolution in metres per pixel of a common grid if both are polygons; None compares objects only.
        aoi: Area of interest; None is the mapped area.
        measures: The scores to compute.
        progress: Progress callback.
    """
    labels = labels.like(meaning_of(path, VectorLayer.open(path).metadata()), path)
    source = labels.open()
    if source.polygons is not None:
        source = with_background(source)
    elif source.classes.background is None:  # what no polygon covers must be some class: the lowest value
        source = source.among(replace(source.classes, background=0))
    mapping = None if labels.mapping is None else replace(labels.mapping, keeps_others=True)
    field = _field_of(path, labels.settings.class_field)
    order = SCORE if VectorLayer.open(path).has_numbers(SCORE) else "file"
    mapped = open_labels(path, LabelSettings(class_field=field), class_map=mapping, burn_order=order, may_be_empty=True)
    mapped = mapped.among(source.classes, extend=True)
    source = source.among(mapped.classes)
    if source.polygons is None and gsd is not None:
        raise UsageError(f"`gsd` applies if polygons are compared with polygons; {source.path} is a raster.")
    assert mapped.polygons is not None
    areas = [*([] if aoi is None else [aoi]), *_ground_of(mapped.polygons[0], given=aoi is not None)]
    if source.polygons is not None and gsd is None:
        if labels.settings.labelled_area is not None:
            areas.append(AreaOfInterest.read(labels.settings.labelled_area))
        return _match_polygons(source, mapped, areas, measures, progress)
    grid = _grid_of(source, mapped, gsd, areas)
    comparison = Comparison.start(source, measures, [_beside(area, grid) for area in areas])
    with closing(mapped.on(grid)) as on_grid:
        comparison.add(0, grid, telling(read_labels(on_grid, grid), grid, progress), mapped)
    return comparison.report()


def read_objects(path: str | Path, field: str | None = OWN_FIELD, class_map: ClassMap | None = None) -> LabelSource:
    """Read the polygons of a map, which may have scores.

    Args:
        path: File of the polygons.
        field: Attribute with the class, or None.
        class_map: Class by value of the attribute, or None.
    """
    order = SCORE if VectorLayer.open(str(path)).has_numbers(SCORE) else "file"
    settings = LabelSettings(class_field=field)
    return open_labels(path, settings, class_map=class_map, burn_order=order, may_be_empty=True)


def _ground_of(mapped: VectorLabels, *, given: bool) -> list[AreaOfInterest]:
    """Return the mapped area of a layer of polygons; ``given`` tells whether the user passed an area of interest."""
    found = read_footprint(VectorLayer.open(mapped.path))
    if found is not None:
        return [found]
    if given:
        return []
    if not mapped.store.count:
        log.warning(
            "%s contains no polygons and does not record the mapped area: all labels are scored. Restrict them with "
            "`aoi`.",
            mapped.path,
        )
        return []
    log.warning(
        "%s does not record the mapped area: labels are scored within the bounding box of its polygons. Pass the "
        "area as `aoi`.",
        mapped.path,
    )
    box = shapely.box(*mapped.store.extent)
    return [AreaOfInterest(f"the bounding box of {mapped.path}", np.array([box], dtype=object), mapped.crs)]


def _beside(area: AreaOfInterest, grid: SceneInfo) -> AreaOfInterest:
    """Return an area in the CRS of the grid; if only one of them declares a CRS, coordinates are used unchanged."""
    return area if area.crs is not None and grid.crs is not None else replace(area, crs=grid.crs)


def _grid_of(source: LabelSource, mapped: LabelSource, gsd: float | None, areas: Sequence[AreaOfInterest]) -> SceneInfo:
    """Return the grid of the labels, or a common grid if labels and map are polygons."""
    if source.polygons is not None and mapped.polygons is not None and gsd is not None:
        judged = source.polygons if mapped.empty else mapped.polygons  # a map without features has no extent
        return common_grid(source.polygons[0], judged[0], gsd, areas)
    with Scene.open(source.path, expand_palette=False) as raster:
        return raster.info


def _field_of(path: str, class_field: str | None) -> str | None:
    """Return the class attribute of the polygons that are evaluated."""
    if class_field is None:
        return None
    fields = VectorLayer.open(path).fields
    return class_field if class_field in fields or OWN_FIELD not in fields else OWN_FIELD


def _match_polygons(
    source: LabelSource,
    mapped: LabelSource,
    areas: Sequence[AreaOfInterest],
    measures: Measures,
    progress: Progress,
) -> EvaluationReport:
    assert source.polygons is not None
    assert mapped.polygons is not None
    names, background = source.classes.names, source.classes.background
    right, judged = (PolygonSet(*polygons, background) for polygons in (source.polygons, mapped.polygons))
    accumulator = measures.accumulator(len(names))
    outcome = match_polygons(right, judged, accumulator, areas=areas, progress=progress)
    if not len(outcome.labels.classes) and not source.empty:
        raise LabelError(
            f"No polygon of the labels {source.path} intersects the mapped area of {mapped.path}.",
            hint="Check that both cover the same ground and that their CRSs are right.",
        )
    unit = f"square, {SQUARES} along the longer side of the labels"
    return accumulator.report(names, measures.record(unit, areas=unit_of_areas(right.layer.crs)))
