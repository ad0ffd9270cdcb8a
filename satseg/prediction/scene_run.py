"""Map one scene: join the network's pipeline, the work rasters, the tracer and the output files."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.backend.device import release_freed_memory
from satseg.backend.memory import peak_memory
from satseg.classes import IGNORE_INDEX
from satseg.files.atomic_write import atomic_write
from satseg.files.disk_space import require_space, rows_in
from satseg.files.fingerprint import fingerprint
from satseg.files.gdal import gdal_environment
from satseg.files.names import is_remote
from satseg.inference.decision import OF_OBJECTS, Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, join_cells, predict_cells, rows_to_repeat
from satseg.inference.planning import Planner
from satseg.inference.reading import ReadOptions
from satseg.inference.timing import Stage, Stopwatch
from satseg.mapfile.map_work import MapWork, has_finished_rows, stored_identity
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import write_map
from satseg.objects.division import Division
from satseg.objects.stored_division import DIVISION_TAG, StoredDivision
from satseg.objects.watershed import Block
from satseg.prediction.dry_run import estimate, needed_space, spilled_bytes
from satseg.prediction.fitting import FittedScene
from satseg.prediction.map_layers import MapLayers
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import PredictionSettings
from satseg.prediction.shared_layer import SharedLayer
from satseg.prediction.streaming import RowStream
from satseg.raster.area import SceneArea
from satseg.raster.block_reader import ReadFailure
from satseg.raster.values import OutOfRange
from satseg.records import (
    DryRun,
    MapLayer,
    Plan,
    PredictionSummary,
    Progress,
    ProgressEvent,
    SceneInfo,
    VectorSummary,
    as_json,
)
from satseg.vectorization.object_division import Maps, object_margin, open_division
from satseg.vectorization.sink import PolygonSink
from satseg.version import __version__

if TYPE_CHECKING:
    from satseg.inference.ray_engine import RayEngine

log = logging.getLogger("satseg")

Cells = Callable[[int], Generator[Cell, None, None]]
"""Gives the cells of a map from a number of finished rows on."""

_RELEASE_SECONDS = 0.05  # memory that was freed is handed back at most that often
COMMIT_SECONDS = 2.0  # and finished rows are noted in the journal


@dataclass(frozen=True)
class ScenePrediction:
    """One scene on its way to its map.

    Args:
        scene: The scene, with the bands of the training.
        area: Where to map; None is everywhere.
        network: The network, fitted to the scene.
        planner: Decides how the scene is cut.
        engine: Workers that run the network; None runs it in this process.
        settings: How the scene is mapped.
        division: How the network says that its maps are divided into objects; empty if it does not.
        provenance: What outputs store about their origin.
        outputs: Where the map goes.
        layer: Takes the polygons of several scenes, or None.
        folder: Work folder.
        readers: Threads that read the scene.
        progress: Called as cells are finished, in pixels.
        passing: Whether the folder goes with the run, so that there is nothing to resume.
        watch: Takes the time of each stage.
        out_of_range: Values that cannot have been measured, as they are met; workers may meet the same ones.
    """

    scene: FittedScene
    area: SceneArea | None
    network: Network
    planner: Planner
    engine: RayEngine | None
    settings: PredictionSettings
    division: StoredDivision
    provenance: Provenance
    outputs: OutputPaths
    layer: SharedLayer | None
    folder: Path
    readers: int
    progress: Progress
    passing: bool = False
    watch: Stopwatch = field(default_factory=Stopwatch)
    out_of_range: set[OutOfRange] = field(default_factory=set)

    @property
    def info(self) -> SceneInfo:
        """Grid and bands of the scene."""
        return self.scene.info

    def run(self) -> PredictionSummary:
        """Make the map."""
        began = time.perf_counter()
        settings, layers = self.settings, self._layers()
        plan = self._plan()
        self._require_space(plan, layers)
        with ExitStack() as stack:
            work = stack.enter_context(self._open_work(self.folder, plan, layers.bands))
            # A shared layer logs which folder is kept, for all of its scenes.
            announced = bool(self.outputs.files) and self.layer is None and not self.passing
            stack.enter_context(_kept_for_resuming(work, announced=announced))
            polygons = self._open_polygons(stack, plan, layers)
            sieved, objects = self._open_sieved(stack, layers), self._open_objects(stack, layers)
            kept = work.rasters | objects
            stream = RowStream(
                kept,
                [polygons] if polygons else [],
                sieved=sieved,
                sieve=settings.sieve or 0,
                division=stack.enter_context(self._divide(kept)) if objects else None,
                stopwatch=self.watch,
            )
            stack.callback(stream.stop)
            if layers.refines:
                cells = self._refined_cells(stack, plan, layers)
            else:
                cells = self._network_cells(plan, layers.decision)
            self._fill(work, plan, cells, stream)
            self._warn_of_odd_values()
            if sieved or objects:
                stream.finish()
            rasters = kept | sieved
            vectors = self._write(rasters, plan, polygons, stream)
            if self.layer is None:
                work.remove()
            else:
                vectors = self.layer.add(self.scene.source, self.info, rasters, self.watch)
        return self._summary(plan, stream, vectors, time.perf_counter() - began)

    def dry_run(self) -> DryRun:
        """Estimate what :meth:`run` takes."""
        plan, layers = self.planner.plan(self.info, self.network), self._layers()
        with self.scene.source.open() as scene:
            return estimate(
                scene,
                self.network,
                plan,
                row_budget=self.settings.row_budget,
                work=self._work_bytes(plan, layers),
                rasters=[layers.bands_of(layer) for layer, _ in self.outputs.rasters],
                vectors=len(self.outputs.vectors),
            )

    def _layers(self) -> MapLayers:
        if self.settings.objects:
            object_margin(self.settings.polygons, self.network.views.resample)  # refuses too large ones
        return MapLayers.of(self.settings, self.network.classes, self.outputs.layers, self.network.objects)

    def _plan(self) -> Plan:
        """Return the plan of the map that is to be continued, or make one."""
        stored = stored_identity(self.folder) if self.settings.resume else None
        if self.settings.resume and stored is None:
            log.info("There is no unfinished map of %s to resume: it begins anew.", self.info.path)
        if stored is not None and stored.get("settings") == as_json(self.settings.deciding()):
            return Plan.from_dict(stored["plan"])
        return self.planner.plan(self.info, self.network)

    def _require_space(self, plan: Plan, layers: MapLayers) -> None:
        """Refuse a map that does not fit on the disk; what is there already, to be resumed, is taken off."""
        missing = self._work_bytes(plan, layers) - (rows_in(self.folder) if self.settings.resume else 0)
        bands = {path: layers.bands_of(layer) for layer, path in self.outputs.rasters}
        require_space(needed_space(self.info, bands, self.folder, max(0, missing)))

    def _work_bytes(self, plan: Plan, layers: MapLayers) -> int:
        """Return the bytes that the work folder will hold at most."""
        spilled = spilled_bytes(self.info, plan, self.network.outputs, self.settings.row_budget)
        return self.info.pixels * layers.bytes_per_pixel + spilled

    def _open_work(self, folder: Path, plan: Plan, bands: dict[MapLayer, int]) -> MapWork:
        return MapWork(
            folder,
            self._identity(plan, bands),
            height=plan.height,
            width=plan.width,
            layers=bands,
            resume=self.settings.resume,
        )

    def _identity(self, plan: Plan, bands: Mapping[MapLayer, int]) -> dict[str, Any]:
        """Return what the pixels of the map follow from."""
        return {
            "scene": self._scene_identity(),
            "model": self.provenance.model,
            "settings": as_json(self.settings.deciding()),
            "plan": as_json(plan),
            "resample": list(self.network.views.resample),
            "area": self.area.digest if self.area else None,
            "precision": self.network.precision,
            "device": self.network.device.type,
            "layers": {layer.value: count for layer, count in sorted(bands.items())},
            "versions": {"satseg": __version__, **self.network.libraries},
        }

    def _scene_identity(self) -> dict[str, Any]:
        """Return what identifies the scene and its state, without reading its pixels."""
        paths, info = self.scene.source.files, self.info
        return {
            "paths": [path.partition("?")[0] if is_remote(path) else path for path in paths],  # signed anew each day
            "bands": info.bands.to_dict(),
            "size": [info.height, info.width],
            "transform": list(info.transform)[:6],
            "changed": fingerprint(paths, dated=True),
        }

    def _network_cells(self, plan: Plan, decision: Decision) -> Cells:
        """Return what gives the cells of the map from a number of finished rows on."""
        read_options = ReadOptions(
            scratch=self.folder,
            readers=self.readers,
            budget=self.settings.row_budget,
            area=self.area,
            on_failure=self._on_failure,
            values=self.network.values,
            on_out_of_range=self.out_of_range.add,
            stopwatch=self.watch,
        )
        predict = self.engine.predict_cells if self.engine else predict_cells

        def cells(finished: int) -> Generator[Cell, None, None]:
            row = next(i for i, start in enumerate((*plan.row_starts[1:], plan.height)) if start > finished)
            first = row - rows_to_repeat(plan, row)
            return predict(self.scene.source.open, self.network, plan, decision, read_options, first_row=first)

        return cells

    def _refined_cells(self, stack: ExitStack, plan: Plan, layers: MapLayers) -> Cells:
        """Map the whole scene first; return what gives the cells of the refined map."""
        from satseg.inference.crf_pass import refined_cells

        work = stack.enter_context(self._open_work(self.folder / "network", plan, layers.first_bands))
        self._fill(work, plan, self._network_cells(plan, layers.first_decision), None)
        return refined_cells(
            work.rasters,
            stack.enter_context(closing(self.scene.source.open())),
            layers.decision,
            statistics=self.network.members[0].normalise.statistics,
            device=self.network.device,
            on_failure=self._on_failure,
        )

    def _fill(self, work: MapWork, plan: Plan, cells_after: Cells, stream: RowStream | None) -> None:
        """Compute what is missing of the work rasters, and pass rows on as they are finished."""
        if stream:
            stream.advance(work.finished)
        if work.finished == plan.height:
            return
        done = work.finished * plan.width
        noted = released = time.monotonic()
        with closing(cells_after(work.finished)) as cells:
            for cell in join_cells(cells):
                if cell.top < work.finished:  # it was run again for what it leaves to the rows below
                    continue
                with self.watch.time(Stage.WRITE):
                    work.write(cell.top, cell.left, cell.layers)
                done += cell.pixels
                self.progress(ProgressEvent("Predicting", done, self.info.pixels, "px"))
                if time.monotonic() - released > _RELEASE_SECONDS:
                    release_freed_memory()
                    released = time.monotonic()
                if not cell.ends_row:
                    continue
                if stream:
                    stream.advance(cell.bottom)
                if cell.bottom == plan.height or time.monotonic() - noted > COMMIT_SECONDS:
                    work.commit(cell.bottom)
                    noted = time.monotonic()

    @property
    def _on_failure(self) -> ReadFailure | None:
        """What is called for stretches that cannot be read; None where they end the map."""
        if self.settings.on_read_error == "fail":
            return None
        return lambda window, error: log.warning("%s It becomes nodata.", error.message)

    def _warn_of_odd_values(self) -> None:
        found = OutOfRange.merge(self.out_of_range)
        if found is not None:
            log.warning("%s", found.message(self.info.path, self.info.bands.names, "They become nodata"))

    def _open_polygons(self, stack: ExitStack, plan: Plan, layers: MapLayers) -> PolygonSink | None:
        if not self.outputs.has_polygons:
            return None
        sink = stack.enter_context(
            PolygonSink(
                self.outputs.vectors,
                stream=self.outputs.stream,
                classes=self.network.classes,
                provenance=self._tags(plan, polygons=True),
                options=self.settings.polygons,
            )
        )
        sink.begin(self.info, confidence=layers.has_confidence, objects=layers.divides)
        return sink

    def _tags(self, plan: Plan, *, polygons: bool) -> dict[str, str]:
        source, precision = self.scene.source, self.network.precision
        tags = self.provenance.tags([source], polygons=polygons, plan=plan, precision=precision)
        return tags if polygons or not self.division else {**tags, DIVISION_TAG: json.dumps(dict(self.division))}

    def _open_sieved(self, stack: ExitStack, layers: MapLayers) -> dict[MapLayer, WorkRaster]:
        """Open work rasters for the layers that a sieve changes."""
        height, width = self.info.height, self.info.width
        return {
            layer: stack.enter_context(
                WorkRaster(self.folder / f"sieved-{layer.value}.raw", height=height, width=width)
            )
            for layer in layers.sieved
        }

    def _open_objects(self, stack: ExitStack, layers: MapLayers) -> dict[MapLayer, WorkRaster]:
        """Open a work raster for the ids of objects, if classes are divided into objects."""
        if not layers.divides:
            return {}
        height, width = self.info.height, self.info.width
        layer = MapLayer.OBJECTS
        raster = WorkRaster(self.folder / "objects.raw", height=height, width=width, dtype=layer.dtype)
        return {layer: stack.enter_context(raster)}

    def _divide(self, rasters: Mapping[MapLayer, WorkRaster]) -> Division:
        said = self.network.objects
        assert said is not None, "it is divided by what the network says"

        def read(block: Block) -> Maps:
            rows, columns = block.window
            found = (
                rasters[layer].read(rows.start, rows.stop, columns.start, columns.stop)
                for layer in (MapLayer.CLASSES, *OF_OBJECTS[said])
            )
            classes, first, second = (maps if len(maps) > 1 else maps[0] for maps in found)
            return classes, first, second

        return open_division(
            read,
            self.info.height,
            self.info.width,
            self.settings.polygons,
            classes=self.network.classes,
            gsd=self.info.gsd,
            scratch=self.folder,
            said=said,
            resample=self.network.views.resample,
        )

    def _write(
        self, rasters: Mapping[MapLayer, WorkRaster], plan: Plan, polygons: PolygonSink | None, stream: RowStream
    ) -> VectorSummary | None:
        """Complete all outputs; they take their names one right after the other.

        Rasters are written while polygons are still traced: a fast GPU is far ahead of the tracer by now.
        """
        tags = self._tags(plan, polygons=False)
        classes, threads = self.network.classes, plan.streams * plan.threads
        release_freed_memory()
        with ExitStack() as stack:
            for layer, path in self.outputs.rasters:
                stream.check()
                work = stack.enter_context(atomic_write(path))
                with self.watch.time(Stage.WRITE), gdal_environment():
                    write_map(rasters[layer], work, self.info, classes, tags, layer=layer, threads=threads)
            stream.finish()
            with self.watch.time(Stage.TRACE):
                return polygons.close() if polygons else None

    def _summary(
        self, plan: Plan, stream: RowStream, vectors: VectorSummary | None, seconds: float
    ) -> PredictionSummary:
        counts = {entry.name: int(stream.counts[entry.id]) for entry in self.network.classes}
        void = "nodata" if "nodata" not in counts else "no data"  # a class of that name keeps its count
        stages = self.watch.seconds(streams=self.engine.streams(plan) if self.engine else plan.streams)
        together = max(sum(stages.values()), 1e-9)
        return PredictionSummary(
            scene=self.info.path,
            outputs=tuple(map(str, (*self.outputs.files, *(self.layer.paths if self.layer else ())))),
            pixels={**counts, void: int(stream.counts[IGNORE_INDEX])},
            polygons=vectors.polygons if vectors else None,
            specks=vectors.specks + stream.left_out if vectors else None,
            holes=vectors.holes if vectors else None,
            seconds=seconds,
            forwarded=plan.forwarded,
            plan=plan,
            stages=stages,
            shares={stage: seconds / together for stage, seconds in stages.items()},
            peak_memory=peak_memory(),
        )


@contextmanager
def _kept_for_resuming(work: MapWork, *, announced: bool) -> Iterator[None]:
    """Keep what is finished when the block fails, and log where; with nothing finished, leave nothing."""
    try:
        yield
    except BaseException:
        if not has_finished_rows(work.folder):
            work.remove()
        elif announced:
            log.warning("The rows finished so far are kept in %s: continue with `resume=True`.", work.folder)
        raise
