"""Compare maps with labels: pixel by pixel on the grid of a raster or on a common grid, or polygon by polygon."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import shapely
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import BACKGROUND, ClassTable
from satseg.errors import AreaError, LabelError, SatsegError, UsageError
from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.maps import MapComparison, beside_labels, read_labels, telling
from satseg.evaluation.measures import Measures
from satseg.evaluation.object_counts import area_unit
from satseg.evaluation.object_sides import ConnectedRegions, FeatureObjects, Side
from satseg.evaluation.objects import ObjectMatcher
from satseg.evaluation.tally import Count
from satseg.files.names import open_raster
from satseg.labels.class_found import Reading, Use, example_map, list_values
from satseg.labels.class_map import ClassMap
from satseg.labels.class_raster import class_rows
from satseg.labels.class_values import ClassValues, Translation, own_name
from satseg.labels.id_raster import IdRaster
from satseg.labels.label_files import open_labels
from satseg.labels.label_meaning import LABELS_TAG, LabelMeaning
from satseg.labels.label_source import LabelSource
from satseg.labels.labels import Labels
from satseg.labels.map_classes import table_of
from satseg.labels.raster_labels import RasterLabels
from satseg.labels.vector_labels import VectorLabels, window_outline
from satseg.raster.area import AreaOfInterest, SceneArea
from satseg.raster.scene import Scene
from satseg.records import EvaluationReport, Progress, Rows, SceneInfo
from satseg.workflows.label_reading import LabelReading
from satseg.workflows.scored_pairs import on_scene, refuse_apart, together

log = logging.getLogger("satseg")

_CHECK_GRIDS = "Check that both cover the same place and declare the right CRS and nodata values."


@dataclass(frozen=True)
class Comparison:
    """Comparison of maps with labels, scene by scene.

    Args:
        source: The labels.
        measures: The scores to compute.
        accumulator: Accumulator of the counts.
        areas: Areas of interest; maps are scored in their intersection.
        passed_over: Errors of the maps that were skipped.
        units: Units of the areas of objects.
    """

    source: LabelSource
    measures: Measures
    accumulator: ScoreAccumulator
    areas: Sequence[AreaOfInterest] = ()
    passed_over: list[SatsegError] = field(default_factory=list)
    units: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, source: LabelSource, measures: Measures, areas: Sequence[AreaOfInterest] = ()) -> Comparison:
        """Return a comparison with all counts at 0."""
        return cls(source, measures, measures.accumulator(len(source.classes)), areas)

    def add(
        self,
        number: int,
        grid: SceneInfo,
        rows: Iterable[Rows],
        mapped: LabelSource | None = None,
        *,
        alone: bool = True,
    ) -> None:
        """Compare one map.

        Args:
            number: Index of the map.
            grid: Its grid.
            rows: All its rows from top to bottom.
            mapped: The polygons that it was rasterized from, or its ids, if any; they are its objects then.
            alone: Whether it is the only map. Of several maps, those without labels or outside the areas are skipped.

        Raises:
            LabelError: No labels intersect the map.
            AreaError: The map lies outside the areas.
        """
        found = self._bring(grid, alone=alone)
        if found is None:
            return
        labels, areas = found
        side = self.measures.settings.block
        self.units.add(area_unit(grid.gsd))
        before = self.accumulator.tally[:, Count.LABELLED].sum()
        with ExitStack() as stack:
            stack.callback(labels.close)
            matcher = None
            if not self.measures.settings.pixels_only:
                matcher = ObjectMatcher(*(self._side(s, grid, areas, stack) for s in (self.source, mapped)))
            boundaries = self.measures.boundaries(side, grid.gsd)
            comparison = MapComparison(grid, number, side, len(self.source.classes), boundaries, matcher)
            comparison.run(beside_labels(rows, labels, areas), self.accumulator)
        if self.accumulator.tally[:, Count.LABELLED].sum() == before:
            hint = _CHECK_GRIDS
            paths = ", ".join(layer.path for layer in self.source.layers_of(grid))
            told = f"No pixel was compared: the labels {paths} have no labelled pixels within {grid.path}."
            self.passed_over.append(LabelError(told, hint=hint))

    def passes_over(self, grid: SceneInfo, *, alone: bool) -> bool:
        """Tell, before a map is made, whether :meth:`add` would skip it; it then counts as skipped."""
        found = self._bring(grid, alone=alone)
        if found is not None:
            found[0].close()
        return found is None

    def _bring(self, grid: SceneInfo, *, alone: bool) -> tuple[Labels, list[SceneArea]] | None:
        """Return labels and areas on the grid of a map; None if one of several maps has none."""
        try:
            areas = [area.on(grid) for area in self.areas]
            return on_scene(self.source, grid), areas
        except (LabelError, AreaError) as error:
            if alone:
                raise
            self.passed_over.append(error)
            return None

    def report(self) -> EvaluationReport:
        """Return the scores of all maps.

        Raises:
            LabelError: No pixel has a class in both the map and the labels.
        """
        side = self.measures.settings.block
        areas = " or ".join(sorted(self.units))
        record = self.measures.record(f"block of {side} px", side, areas=areas)
        found = self.accumulator.report(self.source.classes.names, record)
        if not found.pixels and self.passed_over and not found.left_out:
            raise self.passed_over[0]
        if self.passed_over:
            log.warning(
                "%s not scored. First error: %s",
                _count(len(self.passed_over), "scene is", "scenes are"),
                self.passed_over[0].message,
            )
        if not found.pixels:
            raise LabelError(
                f"No pixel was compared: the map is nodata at all {found.left_out:,} labelled pixels.",
                hint=_CHECK_GRIDS,
            )
        if found.left_out:
            log.warning("The map is nodata at %s labelled px; they count as missed.", f"{found.left_out:,}")
        return found

    def _side(self, source: LabelSource | None, grid: SceneInfo, areas: Sequence[SceneArea], stack: ExitStack) -> Side:
        background = self.source.classes.background
        objects = None if source is None else source.objects_of(grid)
        if objects is None:
            return ConnectedRegions(background)
        layer, ids = objects
        if isinstance(layer, IdRaster):
            warped = layer.on(grid)
            stack.callback(warped.close)
            return FeatureObjects(warped, ids, background)
        ground = window_outline(grid, Window(0, 0, grid.width, grid.height))
        for area in areas:
            ground = shapely.intersection(ground, area.on_ground(grid.transform))
        return FeatureObjects(layer.on(grid, ground), ids, background, layer.scores)


def compare_rasters(
    paths: Sequence[str], labels: LabelReading, aoi: AreaOfInterest | None, measures: Measures, progress: Progress
) -> EvaluationReport:
    """Compare class rasters with labels, class by class of the same name.

    Args:
        paths: Class rasters.
        labels: The labels.
        aoi: Area of interest; None scores everything.
        measures: The scores to compute.
        progress: Progress callback.

    Raises:
        LabelError: The values of maps or labels have no class names, or both have no class in common.
    """
    for_both = labels.settings.class_map is not None  # not remembered
    first = paths[0]
    with suppress(RasterioError), open_raster(first) as dataset:  # what is wrong with it is told below
        labels = labels.like(meaning_of(first, dataset.tags()), first)
    values = ClassValues(paths, Reading(labels.mapping, use=Use.MAP))
    source = labels.open(values if for_both else None)
    source, named = _common_classes(first, values, source, labels.mapping)
    ids = {entry.name: entry.id for entry in source.classes}
    infos = []
    for path in paths:
        with values.open(path) as raster:
            infos.append(raster.info)
    if len(paths) > 1:
        refuse_apart(source, infos)
    tell_of = together(progress, infos)
    comparison = Comparison.start(source, measures, () if aoi is None else (aoi,))
    for number, path in enumerate(paths):
        with values.open(path) as raster:
            if raster.info.doubt:
                log.warning("%s %s.", path, raster.info.doubt)
            classes = {code: named.get(code, name) for code, name in values.classes_of(path).items()}
            rows = telling(class_rows(raster, Translation(classes, ids)), raster.info, tell_of(number))
            comparison.add(number, raster.info, rows, alone=len(paths) == 1)
    return comparison.report()


def compare_ids(
    paths: Sequence[str], labels: LabelReading, aoi: AreaOfInterest | None, measures: Measures, progress: Progress
) -> EvaluationReport:
    """Compare rasters of the ids of objects with labels that have one class beside the background.

    Args:
        paths: Rasters in which each object has a number of its own, from 1; 0 is none.
        labels: The labels.
        aoi: Area of interest; None scores everything.
        measures: The scores to compute.
        progress: Progress callback.

    Raises:
        LabelError: A raster holds no ids, or the labels have several classes.
    """
    with suppress(RasterioError), open_raster(paths[0]) as dataset:  # what is wrong with it is told below
        labels = labels.like(meaning_of(paths[0], dataset.tags()), paths[0])
    source = with_background(labels.open())
    grids = []
    for path in paths:
        with Scene.open(path, expand_palette=False) as raster:
            grids.append(raster.info)
    refuse_layers(source, grids)
    if len(paths) > 1:
        refuse_apart(source, grids)
    tell_of = together(progress, grids)
    comparison = Comparison.start(source, measures, () if aoi is None else (aoi,))
    for number, (path, grid) in enumerate(zip(paths, grids, strict=True)):
        mapped = open_labels(path, ids=True, may_be_empty=True).among(source.classes)
        with closing(mapped.on(grid)) as on_grid:
            rows = telling(read_labels(on_grid, grid), grid, tell_of(number))
            comparison.add(number, grid, rows, mapped, alone=len(paths) == 1)
    return comparison.report()


def with_background(source: LabelSource) -> LabelSource:
    """Return labels of objects with a class for where there is none, even if the labels do not say where that is."""
    if source.classes.background is not None:
        return source
    return source.among(ClassTable.from_names([BACKGROUND, *source.classes.names]))


def refuse_layers(source: LabelSource, grids: Sequence[SceneInfo]) -> None:
    """Refuse labels of objects that lie over each other: numbers of several files are not told apart.

    Raises:
        UsageError: A scene has several.
    """
    for grid in grids:
        layers = source.layers_of(grid)
        if len(layers) > 1:
            raise UsageError(
                f"Objects of {grid.path} are compared with a single file of labels; there are {len(layers)}: "
                f"{', '.join(layer.path for layer in layers)}.",
                hint="Merge them into one layer.",
            )


def meaning_of(path: str, told: Mapping[str, str]) -> LabelMeaning:
    """Return the label mapping of the network that made a map, if the map records it."""
    return LabelMeaning.from_json(told[LABELS_TAG], path) if LABELS_TAG in told else LabelMeaning()


def _common_classes(
    path: str, values: ClassValues, source: LabelSource, class_map: ClassMap | None
) -> tuple[LabelSource, Mapping[int, str]]:
    """Return the labels with the classes of the maps, and the class names of values that the maps do not name.

    Classes are matched by name, or by value if neither the maps nor the labels have names.

    Args:
        path: One of the maps, for messages.
        values: Values and class names of all maps.
        source: The labels.
        class_map: Class map for the values of both.
    """
    layer = source.layers[0]  # the rasters among them share what their values mean
    by_value = isinstance(layer, RasterLabels) and layer.values.nameless
    if not values.pairs:  # nothing but nodata: whatever the labels hold is left out
        return source, {}
    if not values.nameless:
        return source.among(table_of(values, class_map), extend=True), {}
    if by_value:
        assert isinstance(layer, RasterLabels)
        codes = sorted({*values.codes, *layer.values.codes})
        return source.among(ClassTable.from_names(map(own_name, codes))), {}
    names = source.classes.names
    if isinstance(layer, VectorLabels) and len(names) == 2 and names[0] == BACKGROUND and set(values.codes) <= {0, 1}:
        return source, dict(enumerate(names))
    known = dict(layer.values.pairs) if isinstance(layer, RasterLabels) else {}
    raise LabelError(
        f"{path} does not name its values, {list_values(values.codes)}; the labels have {', '.join(names)}.",
        hint="If they are ids of objects, set `objects=True`. Else map them to classes, for example with "
        f"`class_map={example_map(values.codes, known)!r}`",
    )


@contextmanager
def map_rows(path: Path, classes: ClassTable) -> Iterator[Iterator[Rows]]:
    """Read a class raster that satseg wrote, by the names of its classes, as ids of a table."""
    values = ClassValues([str(path)], Reading(None, use=Use.MAP))
    ids = {entry.name: entry.id for entry in classes}
    with values.open(str(path)) as raster:
        yield class_rows(raster, Translation(values.classes_of(str(path)), ids))


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
