"""Map one scene: join the pipeline, the work rasters, the tracer and the files."""

from __future__ import annotations

import hashlib
import logging
import math
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch

from satseg import __version__
from satseg.backend.device import available_cores, release_freed_memory
from satseg.classes import IGNORE_INDEX
from satseg.errors import SceneError
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, Conditions, join_cells, predict_cells, rows_to_repeat
from satseg.inference.ray_engine import RayEngine
from satseg.inference.timing import Stage, Stopwatch
from satseg.raster.area import AreaOfInterest, SceneArea
from satseg.raster.gdal import gdal_environment
from satseg.raster.rawrows import RawRows
from satseg.raster.room import require_space
from satseg.raster.scales import Conversion
from satseg.raster.source import SceneSource
from satseg.raster.work import MapWork, stored_identity
from satseg.raster.writer import write_map
from satseg.records import (
    BandSpec,
    MapLayer,
    Plan,
    PredictionSummary,
    Progress,
    ProgressEvent,
    Rehearsal,
    SceneInfo,
    VectorSummary,
    as_json,
    no_progress,
)
from satseg.staging import staged, work_folder
from satseg.vectorization import PolygonSink
from satseg.workflows.following import Follower
from satseg.workflows.planning import Planner
from satseg.workflows.predict_settings import PredictionSettings
from satseg.workflows.refining import refined_cells
from satseg.workflows.rehearsal import needed_space, rehearse

log = logging.getLogger("satseg")

_GSD_TOLERANCE = 1.1  # pixels larger or smaller than in training by that factor are let through
Cells = Callable[[int], Generator[Cell, None, None]]
"""Gives the cells of a map from a number of finished rows on."""

_RELEASE_SECONDS = 0.25
_COMMIT_SECONDS = 2.0  # finished rows are noted in the journal at most that often


@dataclass(frozen=True)
class MapOutputs:
    """Where a map of one scene goes.

    Args:
        rasters: Files by layer, each a COG.
        vectors: Files of polygons of this scene alone.
        stream: Text stream that takes polygons as GeoJSONSeq, or None.
    """

    rasters: tuple[tuple[MapLayer, Path], ...] = ()
    vectors: tuple[Path, ...] = ()
    stream: IO[str] | None = None

    @classmethod
    def of_files(cls, *files: Path, stream: IO[str] | None = None) -> MapOutputs:
        """Sort files by suffix: ``.tif`` is the class raster, all others are polygons."""
        rasters = tuple((MapLayer.CLASSES, path) for path in files if path.suffix.lower() == ".tif")
        return cls(rasters, tuple(path for path in files if path.suffix.lower() != ".tif"), stream)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the class rasters first."""
        return tuple(path for _, path in self.rasters) + self.vectors

    @property
    def layers(self) -> frozenset[MapLayer]:
        """Layers that are written, and classes."""
        return frozenset({MapLayer.CLASSES, *(layer for layer, _ in self.rasters)})


@dataclass(frozen=True)
class Mapper:
    """A network and how to run it, ready for any number of scenes.

    Args:
        network: What classifies.
        origin: Where it comes from, as outputs name it.
        settings: How scenes are mapped.
        gsd: Ground metres per pixel of the training scenes along x and y; None where they are unknown.
        tile_size: Side of the training tiles; None where it is unknown.
        bands: What raw values of the training scenes mean; None takes those of scenes as they are.
        engine: Workers that have the network; None runs it in this process.
    """

    network: Network
    origin: str
    settings: PredictionSettings = field(default_factory=PredictionSettings)
    gsd: tuple[float, float] | None = None
    tile_size: int | None = None
    bands: BandSpec | None = None
    engine: RayEngine | None = None

    @cached_property
    def planner(self) -> Planner:
        """Makes plans for scenes; what it measures serves all of them."""
        cores, ask = (None, None) if self.engine is None else (self.engine.cores, self.engine.ask)
        return Planner(self.network, self.settings, tile_size=self.tile_size, cores=cores, ask=ask)

    def map_scene(
        self,
        source: SceneSource,
        outputs: MapOutputs,
        *,
        shared: SharedLayer | None = None,
        progress: Progress = no_progress,
    ) -> PredictionSummary:
        """Map one scene; files appear under their names when all of them are complete.

        Args:
            source: Scene with the bands that the network was trained on.
            outputs: Where the map goes.
            shared: Layer that takes the polygons of several scenes, this one among them.
            progress: Called as cells are finished, in pixels.

        Raises:
            SceneError: The scene cannot be read.
            OutputError: An output cannot be written, or what is to be resumed belongs to another map.
        """
        with ExitStack() as stack:
            folder = shared.work_folder(source) if shared else stack.enter_context(_work_folder(outputs))
            return self._prepare(source, outputs, folder, shared, progress).run()

    def rehearse(self, source: SceneSource, outputs: MapOutputs) -> Rehearsal:
        """Tell what mapping a scene will take, after a short probe; nothing is written."""
        with _work_folder(outputs) as folder:
            return self._prepare(source, outputs, folder, None, no_progress).rehearse()

    def _prepare(
        self, source: SceneSource, outputs: MapOutputs, folder: Path, shared: SharedLayer | None, progress: Progress
    ) -> _Mapping:
        with source.open() as scene:
            info = scene.info
        area = AreaOfInterest.read(self.settings.aoi).on(info) if self.settings.aoi else None
        return _Mapping(self, self.network_for(info), source, info, area, outputs, folder, shared, progress)

    def network_for(self, info: SceneInfo) -> Network:
        """Return the network, made to look at the scene in values and pixels like those it was trained on."""
        network = self._converted(info)
        if info.gsd is None or self.gsd is None or self.settings.gsd == "scene":
            return network
        columns, rows = (here / trained for here, trained in zip(info.gsd, self.gsd, strict=True))
        if max(abs(math.log(rows)), abs(math.log(columns))) <= math.log(_GSD_TOLERANCE):
            return network
        log.warning(
            "%s has %.3g m per pixel and the network was trained at %.3g m: it is shown the scene resampled to that.",
            info.path,
            info.gsd[0],
            self.gsd[0],
        )
        return network.resampled(rows, columns)

    def _converted(self, info: SceneInfo) -> Network:
        conversion = Conversion.between(info.bands, self.bands) if self.bands else None
        if conversion is None or conversion.changes_nothing:
            return self.network
        log.info("%s has another scale or offset than the training scenes: its values are converted.", info.path)
        return self.network.converted(conversion)

    def share_layer(self, outputs: MapOutputs) -> SharedLayer:
        """Open a layer for the polygons of several scenes."""
        sink = PolygonSink(
            outputs.vectors,
            stream=outputs.stream,
            classes=self.network.classes,
            provenance=self.provenance(),
            options=self.settings.polygons,
        )
        return SharedLayer(sink, outputs.vectors)

    def provenance(self, plan: Plan | None = None) -> dict[str, str]:
        """Return what outputs tell of where they come from; no dates, so that equal runs give equal bytes."""
        words = [] if plan is None else _plan_words(plan)
        words += ["--precision", self.network.precision, *self.settings.words()]
        return {
            "SATSEG_VERSION": __version__,
            "SATSEG_COMMAND": f"satseg predict {' '.join(words)}",
            "SATSEG_MODEL": self.origin,
        }


class SharedLayer:
    """One layer with the polygons of several scenes.

    A scene's polygons are traced when its map is complete, so that one that fails leaves nothing in the layer. The work
    rasters of all scenes are kept until the layer is complete, to resume from.

    Args:
        sink: Takes the rows of one scene after the other.
        paths: Files of the layer; none where polygons go to a stream alone.
    """

    def __init__(self, sink: PolygonSink, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._sink = sink
        self._scratch = None if paths else tempfile.TemporaryDirectory(prefix="satseg-")
        self._folder = Path(self._scratch.name) if self._scratch else work_folder(paths[0])

    def work_folder(self, source: SceneSource) -> Path:
        """Return the folder in which a scene's map grows."""
        digest = hashlib.sha256("\n".join(source.paths).encode()).hexdigest()[:8]
        return self._folder / f"{source.stem}-{digest}"

    def add(self, info: SceneInfo, rasters: dict[MapLayer, RawRows], watch: Stopwatch) -> VectorSummary:
        """Trace a complete map and return what became of it."""
        self._sink.begin(info, confidence=MapLayer.CONFIDENCE in rasters)
        follower = Follower(rasters, [self._sink], stopwatch=watch)
        try:
            follower.advance(info.height)
            follower.finish()
        finally:
            follower.stop()
        return self._sink.end()

    def close(self) -> VectorSummary:
        """Complete the layer and give it its name."""
        summary = self._sink.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        return summary

    def __enter__(self) -> SharedLayer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.abort()
        if self._scratch is not None:
            self._scratch.cleanup()


@dataclass(frozen=True)
class _Mapping:
    """One scene on its way to its map."""

    mapper: Mapper
    network: Network
    source: SceneSource
    info: SceneInfo
    area: SceneArea | None
    outputs: MapOutputs
    folder: Path
    shared: SharedLayer | None
    progress: Progress
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def settings(self) -> PredictionSettings:
        return self.mapper.settings

    @property
    def _kept(self) -> frozenset[MapLayer]:
        """Layers that are written, or that attributes of polygons are taken from."""
        wanted = self.settings.polygons.attributes or ()
        sure = any(name.startswith("confidence") for name in wanted)
        return self.outputs.layers | ({MapLayer.CONFIDENCE} if sure else frozenset())

    def run(self) -> PredictionSummary:
        began = time.perf_counter()
        settings = self.settings
        plan = self._plan()
        decision = Decision.parse(self.network.classes, settings.threshold, self._kept)
        layers = self._layers(decision)
        if not settings.resume:
            bands = {path: layers[layer] for layer, path in self.outputs.rasters}
            require_space(needed_space(self.info, layers, bands, self.folder))
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
            stack.enter_context(_kept_for_resuming(work))
            polygons = self._open_polygons(stack, plan)
            sieved = stack.enter_context(self._sieved()) if settings.sieve else None
            follower = Follower(
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
            follower.finish()
            rasters = dict(work.rasters) | ({MapLayer.CLASSES: sieved} if sieved else {})
            vectors = self._write(rasters, plan, polygons)
            if self.shared is None:
                work.remove()
            else:
                vectors = self.shared.add(self.info, rasters, self.watch)
        return self._summary(plan, follower, vectors, time.perf_counter() - began)

    def _plan(self) -> Plan:
        """Return the plan of the map that is to be continued, or make one."""
        stored = stored_identity(self.folder) if self.settings.resume else None
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
            readers=_readers(self.info),
            budget=self.settings.row_budget,
            area=self.area,
            on_failure=self._read_failed if self.settings.on_read_error == "nodata" else None,
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
        kept = decision.layers - {MapLayer.CONFIDENCE} | {MapLayer.PROBABILITIES}
        plain = replace(decision, thresholds={}, layers=kept)
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
        return refined_cells(work.rasters, scene, decision, statistics=statistics, device=self.network.device)

    def _fill(self, work: MapWork, plan: Plan, cells_after: Cells, follower: Follower | None) -> None:
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

    def _read_failed(self, window: Any, error: SceneError) -> None:
        log.warning("%s It becomes nodata.", error.message)

    def _open_polygons(self, stack: ExitStack, plan: Plan) -> PolygonSink | None:
        if not self.outputs.vectors and self.outputs.stream is None:
            return None
        sink = stack.enter_context(
            PolygonSink(
                self.outputs.vectors,
                stream=self.outputs.stream,
                classes=self.network.classes,
                provenance=self.mapper.provenance(plan),
                options=self.settings.polygons,
            )
        )
        sink.begin(self.info, confidence=MapLayer.CONFIDENCE in self._kept)
        return sink

    def _sieved(self) -> RawRows:
        return RawRows(self.folder / "sieved.raw", height=self.info.height, width=self.info.width)

    def _write(
        self, rasters: Mapping[MapLayer, RawRows], plan: Plan, polygons: PolygonSink | None
    ) -> VectorSummary | None:
        """Complete all outputs; they take their names one right after the other."""
        tags = self.mapper.provenance(plan)
        threads = plan.streams * plan.threads
        with ExitStack() as stack:
            for layer, path in self.outputs.rasters:
                work = stack.enter_context(staged(path))
                with self.watch.time(Stage.WRITE), gdal_environment():
                    classes = self.network.classes
                    write_map(rasters[layer], work, self.info, classes, tags, layer=layer, threads=threads)
            with self.watch.time(Stage.TRACE):
                return polygons.close() if polygons else None

    def rehearse(self) -> Rehearsal:
        """Tell what :meth:`run` would take."""
        plan = self.mapper.planner.plan(self.info, self.network)
        layers = self._layers(Decision.parse(self.network.classes, self.settings.threshold, self._kept))
        with self.source.open() as scene:
            return rehearse(
                scene,
                self.network,
                plan,
                self.settings,
                layers=layers,
                rasters=len(self.outputs.rasters),
                vectors=len(self.outputs.vectors),
            )

    def _layers(self, decision: Decision) -> dict[MapLayer, int]:
        return {layer: decision.bands(layer) for layer in sorted(decision.layers)}

    def _summary(
        self, plan: Plan, follower: Follower, vectors: VectorSummary | None, seconds: float
    ) -> PredictionSummary:
        counts = {entry.name: int(follower.counts[entry.id]) for entry in self.network.classes}
        engine = self.mapper.engine
        stages = self.watch.seconds(streams=engine.streams(plan) if engine else plan.streams)
        together = max(sum(stages.values()), 1e-9)
        return PredictionSummary(
            scene=self.info.path,
            outputs=tuple(map(str, (*self.outputs.files, *(self.shared.paths if self.shared else ())))),
            pixels={**counts, "nodata": int(follower.counts[IGNORE_INDEX])},
            polygons=vectors.polygons if vectors else None,
            seconds=seconds,
            forwarded=plan.forwarded,
            plan=plan,
            stages=stages,
            shares={stage: seconds / together for stage, seconds in stages.items()},
            peak_memory=peak_memory(),
        )


def _fingerprint(source: SceneSource, info: SceneInfo) -> dict[str, Any]:
    """Return what tells a scene from another one, or from itself after a change, without reading its pixels."""
    files = [Path(path).stat() for path in source.paths if Path(path).exists()]
    return {
        "paths": list(source.paths),
        "bands": as_json(info.bands),
        "size": [info.height, info.width],
        "transform": list(info.transform)[:6],
        "bytes": [found.st_size for found in files],
        "changed": [found.st_mtime_ns for found in files],
    }


def _plan_words(plan: Plan) -> list[str]:
    window, overlap = ("x".join(map(str, sorted(set(pair)))) for pair in (plan.window, plan.overlap))
    return ["--window", window, "--overlap", overlap, "--batch-size", str(plan.batch_size)]


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _readers(info: SceneInfo) -> int:
    """Return how many threads read: decoding takes a core, and waiting for a network takes none."""
    remote = "://" in info.path or info.path.startswith("/vsi")
    return 8 if remote else max(1, min(4, available_cores() // 2))


@contextmanager
def _work_folder(outputs: MapOutputs) -> Iterator[Path]:
    """Yield the hidden folder beside the first file, or a temporary one where there is none."""
    if outputs.files:
        yield work_folder(outputs.files[0])
    else:
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            yield Path(folder) / "work"


@contextmanager
def _kept_for_resuming(work: MapWork) -> Iterator[None]:
    """Keep what is finished when the block fails, and say so; with nothing finished, leave nothing."""
    try:
        yield
    except BaseException:
        if work.finished:
            log.warning("The rows finished so far are kept in %s: continue with --resume.", work.folder)
        else:
            work.remove()
        raise
