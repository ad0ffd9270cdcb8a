"""Map one scene: join the pipeline, the work rasters, the tracer and the files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from satseg import __version__
from satseg.backend.device import release_freed_memory
from satseg.backend.memory import peak_memory
from satseg.classes import IGNORE_INDEX
from satseg.files.atomic_write import staged
from satseg.files.disk_space import require_space, rows_in
from satseg.files.fingerprint import fingerprint
from satseg.files.gdal import gdal_environment
from satseg.files.names import is_remote
from satseg.inference.crf_pass import refined_cells
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, join_cells, predict_cells, rows_to_repeat
from satseg.inference.reading import Conditions
from satseg.inference.timing import Stage, Stopwatch
from satseg.mapfile.map_work import MapWork, has_finished_rows, stored_identity
from satseg.mapfile.work_raster import WorkRaster
from satseg.mapfile.writer import write_map
from satseg.prediction.dry_run import needed_space, rehearse, spilled_bytes
from satseg.prediction.settings import PredictionSettings
from satseg.prediction.shared_layer import SharedLayer
from satseg.prediction.streaming import RowStream
from satseg.raster.area import SceneArea
from satseg.raster.block_reader import ReadFailure
from satseg.raster.source import SceneSource
from satseg.raster.values import Oddity
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
from satseg.vectorization.sink import PolygonSink

if TYPE_CHECKING:
    from satseg.prediction.outputs import MapOutputs
    from satseg.prediction.predictor import Predictor

log = logging.getLogger("satseg")

Cells = Callable[[int], Generator[Cell, None, None]]
"""Gives the cells of a map from a number of finished rows on."""

_RELEASE_SECONDS = 0.05  # memory that was freed is handed back at most that often
_COMMIT_SECONDS = 2.0  # and finished rows are noted in the journal


@dataclass(frozen=True)
class ScenePrediction:
    """One scene on its way to its map.

    Args:
        mapper: The network's origin, its settings and its planner.
        network: The network as it looks at this scene.
        source: Opens the scene.
        info: What is known of it.
        area: Where to map; None is everywhere.
        outputs: Where the map goes.
        folder: Work folder.
        shared: Layer of several scenes that takes the polygons, or None.
        progress: Called as cells are finished, in pixels.
        readers: Threads that read the scene.
        watch: Takes the time of each stage.
        odd: Values that cannot have been measured, as they are met; workers may meet the same ones.
    """

    mapper: Predictor
    network: Network
    source: SceneSource
    info: SceneInfo
    area: SceneArea | None
    outputs: MapOutputs
    folder: Path
    shared: SharedLayer | None
    progress: Progress
    readers: int
    watch: Stopwatch = field(default_factory=Stopwatch)
    odd: set[Oddity] = field(default_factory=set)

    @property
    def settings(self) -> PredictionSettings:
        """What was asked for."""
        return self.mapper.settings

    @property
    def _kept(self) -> frozenset[MapLayer]:
        """Layers that are written, or that attributes of polygons are taken from."""
        wanted = self.settings.polygons.attributes or ()
        sure = any(name.startswith("confidence") for name in wanted)
        return self.outputs.layers | ({MapLayer.CONFIDENCE} if sure else frozenset())

    def run(self) -> PredictionSummary:
        """Make the map."""
        began = time.perf_counter()
        settings = self.settings
        plan = self._plan()
        decision = self._decision()
        layers = self._layers(decision)
        bands = {path: layers[layer] for layer, path in self.outputs.rasters}
        missing = self._work_bytes(plan) - (rows_in(self.folder) if settings.resume else 0)
        require_space(needed_space(self.info, bands, self.folder, max(0, missing)))
        with ExitStack() as stack:
            work = stack.enter_context(
                MapWork(
                    self.folder,
                    self._identity(plan, layers),
                    height=plan.height,
                    width=plan.width,
                    layers=layers,
                    resume=settings.resume,
                )
            )
            # A shared layer says for all of its scenes what is kept.
            stack.enter_context(_kept_for_resuming(work, named=bool(self.outputs.files) and self.shared is None))
            polygons = self._open_polygons(stack, plan)
            sieved = self._sieved(stack, layers)
            follower = RowStream(
                work.rasters,
                [polygons] if polygons else [],
                sieved=sieved,
                sieve=settings.sieve or 0,
                stopwatch=self.watch,
            )
            stack.callback(follower.stop)
            if settings.crf:
                self._fill(work, plan, self._refined_cells(stack, plan, decision), follower)
            else:
                self._fill(work, plan, self._network_cells(plan, decision), follower)
            self._tell_odd()
            if sieved:
                follower.finish()
            rasters = dict(work.rasters) | sieved
            vectors = self._write(rasters, plan, polygons, follower)
            if self.shared is None:
                work.remove()
            else:
                vectors = self.shared.add(self.source, self.info, rasters, self.watch)
        return self._summary(plan, follower, vectors, time.perf_counter() - began)

    def _plan(self) -> Plan:
        """Return the plan of the map that is to be continued, or make one."""
        stored = stored_identity(self.folder) if self.settings.resume else None
        if self.settings.resume and stored is None:
            log.info("There is nothing of %s to resume: its map begins.", self.info.path)
        if stored is not None and stored.get("settings") == as_json(self.settings.deciding()):
            return Plan.from_dict(stored["plan"])
        return self.mapper.planner.plan(self.info, self.network)

    def _identity(self, plan: Plan, layers: Mapping[MapLayer, int]) -> dict[str, Any]:
        """Return what the pixels of the map follow from."""
        return {
            "scene": _fingerprint(self.source, self.info),
            "model": self.mapper.origin,
            "settings": as_json(self.settings.deciding()),
            "plan": as_json(plan),
            "resample": list(self.network.views.resample),
            "area": self.area.digest if self.area else None,
            "precision": self.network.precision,
            "device": self.network.device.type,
            "layers": {layer.value: bands for layer, bands in sorted(layers.items())},
            "versions": {"satseg": __version__, "torch": torch.__version__},
        }

    def _network_cells(self, plan: Plan, decision: Decision) -> Cells:
        """Return what gives the cells of the map from a number of finished rows on."""
        conditions = Conditions(
            scratch=self.folder,
            readers=self.readers,
            budget=self.settings.row_budget,
            area=self.area,
            on_failure=self._on_failure,
            values=self.network.values,
            on_odd=self.odd.add,
            stopwatch=self.watch,
        )
        predict = self.mapper.engine.predict_cells if self.mapper.engine else predict_cells

        def cells(finished: int) -> Generator[Cell, None, None]:
            row = next(i for i, start in enumerate((*plan.row_starts[1:], plan.height)) if start > finished)
            first = row - rows_to_repeat(plan, row)
            return predict(self.source.open, self.network, plan, decision, conditions, first_row=first)

        return cells

    def _refined_cells(self, stack: ExitStack, plan: Plan, decision: Decision) -> Cells:
        """Map the whole scene first; return what gives the cells of the refined map."""
        plain = _unrefined(decision)
        layers = self._layers(plain)
        work = stack.enter_context(
            MapWork(
                self.folder / "network",
                self._identity(plan, layers),
                height=plan.height,
                width=plan.width,
                layers=layers,
                resume=self.settings.resume,
            )
        )
        self._fill(work, plan, self._network_cells(plan, plain), None)
        scene = stack.enter_context(closing(self.source.open()))
        statistics = self.network.members[0].normalise.statistics
        return refined_cells(
            work.rasters,
            scene,
            decision,
            statistics=statistics,
            device=self.network.device,
            on_failure=self._on_failure,
        )

    def _fill(self, work: MapWork, plan: Plan, cells_after: Cells, follower: RowStream | None) -> None:
        """Compute what is missing of the work rasters; the follower learns of rows as they are finished."""
        if follower:
            follower.advance(work.finished)
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
                if follower:
                    follower.advance(cell.bottom)
                if cell.bottom == plan.height or time.monotonic() - noted > _COMMIT_SECONDS:
                    work.commit(cell.bottom)
                    noted = time.monotonic()

    @property
    def _on_failure(self) -> ReadFailure | None:
        """What is told of stretches that cannot be read; None where they end the map."""
        if self.settings.on_read_error == "fail":
            return None
        return lambda window, error: log.warning("%s It becomes nodata.", error.message)

    def _tell_odd(self) -> None:
        found = Oddity.merge(self.odd)
        if found is not None:
            log.warning("%s", found.tell(self.info.path, self.info.bands.names, "They become nodata"))

    def _open_polygons(self, stack: ExitStack, plan: Plan) -> PolygonSink | None:
        if not self.outputs.vectors and self.outputs.stream is None:
            return None
        sink = stack.enter_context(
            PolygonSink(
                self.outputs.vectors,
                stream=self.outputs.stream,
                classes=self.network.classes,
                provenance=self._provenance(plan, polygons=True),
                options=self.settings.polygons,
            )
        )
        sink.begin(self.info, confidence=MapLayer.CONFIDENCE in self._kept)
        return sink

    def _provenance(self, plan: Plan, *, polygons: bool) -> dict[str, str]:
        return self.mapper.provenance([self.source], plan) | self.mapper.inputs.tag([self.source], polygons=polygons)

    def _sieved(self, stack: ExitStack, layers: Mapping[MapLayer, int]) -> dict[MapLayer, WorkRaster]:
        """Open work rasters for what a sieve changes; none where there is no sieve."""
        return {
            layer: stack.enter_context(
                WorkRaster(self.folder / f"sieved-{layer.value}.raw", height=self.info.height, width=self.info.width)
            )
            for layer in self._sieved_layers(layers)
        }

    def _sieved_layers(self, layers: Iterable[MapLayer]) -> list[MapLayer]:
        return [layer for layer in layers if self.settings.sieve and layer in (MapLayer.CLASSES, MapLayer.CONFIDENCE)]

    def kept_bytes(self) -> int:
        """Return the bytes of the work rasters, which stay until the outputs are complete."""
        layers = self._layers(self._decision())
        passes = [layers, dict.fromkeys(self._sieved_layers(layers), 1)]
        if self.settings.crf:
            passes.append(self._layers(_unrefined(self._decision())))
        return self.info.pixels * sum(sum(bands.values()) for bands in passes)

    def _work_bytes(self, plan: Plan) -> int:
        """Return the bytes that the work folder will hold at most."""
        spilled = spilled_bytes(self.info, plan, len(self.network.classes), self.settings.row_budget)
        return self.kept_bytes() + spilled

    def _decision(self) -> Decision:
        return Decision.parse(self.network.classes, self.settings.threshold, self._kept)

    def _write(
        self, rasters: Mapping[MapLayer, WorkRaster], plan: Plan, polygons: PolygonSink | None, follower: RowStream
    ) -> VectorSummary | None:
        """Complete all outputs; they take their names one right after the other.

        Rasters are written while polygons are still traced: a fast GPU is far ahead of the tracer by now.
        """
        tags = self._provenance(plan, polygons=False)
        threads = plan.streams * plan.threads
        release_freed_memory()
        with ExitStack() as stack:
            for layer, path in self.outputs.rasters:
                follower.check()
                work = stack.enter_context(staged(path))
                with self.watch.time(Stage.WRITE), gdal_environment():
                    classes = self.network.classes
                    write_map(rasters[layer], work, self.info, classes, tags, layer=layer, threads=threads)
            follower.finish()
            with self.watch.time(Stage.TRACE):
                return polygons.close() if polygons else None

    def rehearse(self) -> DryRun:
        """Tell what :meth:`run` would take."""
        plan = self.mapper.planner.plan(self.info, self.network)
        decision = self._decision()
        with self.source.open() as scene:
            return rehearse(
                scene,
                self.network,
                plan,
                self.settings,
                work=self._work_bytes(plan),
                rasters=[decision.bands(layer) for layer, _ in self.outputs.rasters],
                vectors=len(self.outputs.vectors),
            )

    def _layers(self, decision: Decision) -> dict[MapLayer, int]:
        return {layer: decision.bands(layer) for layer in sorted(decision.layers)}

    def _summary(
        self, plan: Plan, follower: RowStream, vectors: VectorSummary | None, seconds: float
    ) -> PredictionSummary:
        counts = {entry.name: int(follower.counts[entry.id]) for entry in self.network.classes}
        void = "nodata" if "nodata" not in counts else "no data"  # a class of that name keeps its count
        engine = self.mapper.engine
        stages = self.watch.seconds(streams=engine.streams(plan) if engine else plan.streams)
        together = max(sum(stages.values()), 1e-9)
        return PredictionSummary(
            scene=self.info.path,
            outputs=tuple(map(str, (*self.outputs.files, *(self.shared.paths if self.shared else ())))),
            pixels={**counts, void: int(follower.counts[IGNORE_INDEX])},
            polygons=vectors.polygons if vectors else None,
            specks=vectors.specks if vectors else None,
            holes=vectors.holes if vectors else None,
            seconds=seconds,
            forwarded=plan.forwarded,
            plan=plan,
            stages=stages,
            shares={stage: seconds / together for stage, seconds in stages.items()},
            peak_memory=peak_memory(),
        )


def _unrefined(decision: Decision) -> Decision:
    """Return what the network leaves to a second pass that refines it: plain classes, and the shares of all."""
    kept = decision.layers - {MapLayer.CONFIDENCE} | {MapLayer.PROBABILITIES}
    return replace(decision, thresholds={}, layers=kept)


def _fingerprint(source: SceneSource, info: SceneInfo) -> dict[str, Any]:
    """Return what tells a scene from another one, or from itself after a change, without reading its pixels."""
    return {
        "paths": [path.partition("?")[0] if is_remote(path) else path for path in source.paths],  # signed anew each day
        "bands": as_json(info.bands),
        "size": [info.height, info.width],
        "transform": list(info.transform)[:6],
        "changed": fingerprint(source.paths, dated=True),
    }


@contextmanager
def _kept_for_resuming(work: MapWork, *, named: bool) -> Iterator[None]:
    """Keep what is finished when the block fails, and say so; with nothing finished, or no name, leave nothing."""
    try:
        yield
    except BaseException:
        if not has_finished_rows(work.folder):
            work.remove()
        elif named:
            log.warning("The rows finished so far are kept in %s: continue with --resume.", work.folder)
        raise
