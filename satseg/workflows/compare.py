"""Compare maps with labels: on the grid of a raster, on one made for both, or polygon by polygon."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import LabelError, UsageError
from satseg.evaluation.assessment import Assessment
from satseg.evaluation.confusion import report
from satseg.evaluation.maps import MapComparison, beside_labels, read_labels, read_rows
from satseg.evaluation.measures import Measures
from satseg.evaluation.objects import FeatureObjects, ObjectMatcher, Regions, Side
from satseg.evaluation.polygons import PolygonSet, match_polygons
from satseg.raster.class_map import ClassMap
from satseg.raster.features import VectorLayer
from satseg.raster.labels import LabelSource, open_labels
from satseg.raster.names import open_raster
from satseg.raster.raster_labels import RasterLabels
from satseg.raster.scene import Scene
from satseg.raster.writer import read_class_table
from satseg.records import EvaluationReport, Progress, Rows, SceneInfo
from satseg.workflows.grid import common_grid, parse_gsd

log = logging.getLogger("satseg")

OWN_FIELD = "class_name"
"""Attribute in which satseg writes the class of its polygons."""

_NAMELESS = "class {}"


@dataclass(frozen=True)
class LabelReading:
    """How labels are read.

    Args:
        path: Vector features or a class raster.
        class_field: Attribute that names the class of each feature; None puts all of them into one.
        class_map: Class by value, as text; None makes a class of each value.
        where: Condition in SQL that features must meet.
    """

    path: str | Path
    class_field: str | None = None
    class_map: str | None = None
    where: str | None = None

    def open(self, classes: ClassTable | None = None) -> LabelSource:
        """Open them; their classes must be found in ``classes``, if that is given.

        Raises:
            LabelError: They cannot be used.
            UsageError: The class map is none.
        """
        return open_labels(
            self.path,
            class_field=self.class_field,
            class_map=None if self.class_map is None else ClassMap.parse(self.class_map),
            where=self.where,
            classes=classes,
        )


@dataclass(frozen=True)
class Comparison:
    """Maps that are compared with labels, scene by scene.

    Args:
        source: The labels.
        measures: What is measured.
        assessment: What takes the counts.
    """

    source: LabelSource
    measures: Measures
    assessment: Assessment

    @classmethod
    def start(cls, source: LabelSource, measures: Measures) -> Comparison:
        """Begin with counts of nothing."""
        return cls(source, measures, measures.assessment(len(source.classes)))

    def add(self, number: int, grid: SceneInfo, rows: Iterable[Rows], mapped: LabelSource | None = None) -> None:
        """Compare one map.

        Args:
            number: Number of the map among all.
            grid: Its grid.
            rows: All its rows, in order from the top.
            mapped: The polygons that it was burnt from, if any: they are its objects then.
        """
        side = self.measures.block
        with closing(self.source.on(grid)) as on_grid:
            comparison = MapComparison(
                grid,
                number,
                side,
                len(self.source.classes),
                self.measures.boundaries(side, grid.gsd),
                None
                if self.measures.pixels_only
                else ObjectMatcher(*(self._side(s, grid) for s in (self.source, mapped))),
            )
            comparison.run(beside_labels(rows, on_grid), self.assessment)

    def report(self) -> EvaluationReport:
        """Return the scores of all maps.

        Raises:
            LabelError: No pixel has a class in both, so that there is nothing to say.
        """
        side = self.measures.block
        found = self.assessment.report(self.source.classes.names, self.measures.settings(f"block of {side} px", side))
        if not found.pixels:
            raise LabelError(
                f"No pixel was compared: the map has no class for any of the {found.left_out:,} labelled pixels."
                if found.left_out
                else f"No pixel was compared: the labels {self.source.path} say nothing where the map lies.",
                hint="Check that both cover the same place, and that their CRS and nodata values are stated rightly.",
            )
        if found.left_out:
            log.warning("The map has no class for %d labelled px (nodata); they count as missed.", found.left_out)
        return found

    def _side(self, source: LabelSource | None, grid: SceneInfo) -> Side:
        background = self.source.classes.background
        if source is None or source.polygons is None:
            return Regions(background)
        layer, ids = source.polygons
        return FeatureObjects(layer.on(grid), ids, background)


def compare_raster(path: str, labels: LabelReading, measures: Measures, progress: Progress) -> EvaluationReport:
    """Compare a class raster with labels.

    Args:
        path: The class raster.
        labels: The labels.
        measures: What is measured.
        progress: Told how far it is.
    """
    with Scene.open(path, expand_palette=False) as raster:
        if raster.info.doubt:
            log.warning("%s %s.", path, raster.info.doubt)
        source = _labels_for(raster, labels)
        comparison = Comparison.start(source, measures)
        comparison.add(0, raster.info, read_rows(raster, progress=progress))
    return _without_unused(comparison.report()) if _is_nameless(source) else comparison.report()


def _labels_for(raster: Scene, labels: LabelReading) -> LabelSource:
    """Open labels with the classes of the map where it names them, else with their own."""
    with open_raster(raster.info.path) as dataset:
        stored = read_class_table(dataset)
    source = labels.open(stored)
    (layer,) = source.layers
    if stored is not None or labels.class_map is not None or not isinstance(layer, RasterLabels):
        return source
    largest = max(_largest_id(raster), layer.values[-1])  # ids as they are, not numbered anew
    return labels.open(ClassTable.from_names(_NAMELESS.format(i) for i in range(largest + 1)))


def _is_nameless(source: LabelSource) -> bool:
    return source.classes.names[0] == _NAMELESS.format(0)


def _largest_id(raster: Scene) -> int:
    return max(int(rows.classes.max(where=rows.classes != IGNORE_INDEX, initial=0)) for rows in read_rows(raster))


def _without_unused(found: EvaluationReport) -> EvaluationReport:
    """Leave out the classes that neither labels nor map hold."""
    counts = np.array(found.confusion)
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    return replace(
        found,
        classes=tuple(found.classes[i] for i in used),
        confusion=tuple(map(tuple, counts[np.ix_(used, used)].tolist())),
        worst=tuple(replace(place, iou=tuple(place.iou[i] for i in used)) for place in found.worst),
    )


def compare_polygons(
    path: str, labels: LabelReading, gsd: str | None, measures: Measures, progress: Progress
) -> EvaluationReport:
    """Compare polygons with labels.

    Args:
        path: The polygons.
        labels: The labels.
        gsd: Ground metres per pixel of a grid for both, as text, where both are polygons; None matches objects alone.
        measures: What is measured.
        progress: Told how far it is.
    """
    source = labels.open()
    if source.classes.background is None:  # what no polygon covers must be some class: the lowest value
        source = labels.open(replace(source.classes, background=0))
    mapped = open_labels(path, class_field=_field_of(path, labels.class_field), classes=source.classes)
    if source.polygons is None and gsd is not None:
        raise UsageError(f"--gsd is for polygons that are compared with polygons; {labels.path} is a raster.")
    if source.polygons is not None and gsd is None:
        return _match_polygons(source, mapped, measures, progress)
    comparison = Comparison.start(source, measures)
    grid = _grid_of(source, mapped, gsd)
    with closing(mapped.on(grid)) as on_grid:
        comparison.add(0, grid, read_labels(on_grid, grid, progress=progress), mapped)
    return comparison.report()


def _grid_of(source: LabelSource, mapped: LabelSource, gsd: str | None) -> SceneInfo:
    """Return the grid of the labels, or one for both where labels and map are polygons."""
    if source.polygons is not None and mapped.polygons is not None and gsd is not None:
        return common_grid(source.polygons[0], mapped.polygons[0], parse_gsd(gsd))
    with Scene.open(source.path, expand_palette=False) as raster:
        return raster.info


def _field_of(path: str, class_field: str | None) -> str | None:
    """Return the attribute in which polygons that are evaluated name their class."""
    if class_field is None:
        return None
    fields = VectorLayer.open(path).fields
    return class_field if class_field in fields or OWN_FIELD not in fields else OWN_FIELD


def _match_polygons(
    source: LabelSource, mapped: LabelSource, measures: Measures, progress: Progress
) -> EvaluationReport:
    assert source.polygons is not None
    assert mapped.polygons is not None
    names, background = source.classes.names, source.classes.background
    right, judged = (PolygonSet(*polygons, background) for polygons in (source.polygons, mapped.polygons))
    tally = match_polygons(right, judged, len(names), progress=progress)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    return report(counts, tally, names, settings=measures.settings("polygon"))
