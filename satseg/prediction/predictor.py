"""A network ready for scenes: it plans, maps, and measures them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from satseg.backend.cores import available_cores
from satseg.checkpoint import Checkpoint
from satseg.files.atomic_write import locked, work_folder
from satseg.inference.network import Network
from satseg.inference.pipeline import predict_rows
from satseg.inference.planning import Planner
from satseg.inference.reading import ReadOptions
from satseg.prediction.fitting import FittedScene, fit_network, fit_scene
from satseg.prediction.map_layers import MapLayers
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.provenance import Provenance
from satseg.prediction.scene_run import ScenePrediction
from satseg.prediction.settings import PredictionSettings
from satseg.prediction.shared_layer import SharedLayer
from satseg.raster.area import AreaOfInterest
from satseg.raster.source import SceneSource
from satseg.raster.values import OutOfRange
from satseg.records import DryRun, PredictionSummary, Progress, Rows, SceneInfo, no_progress
from satseg.vectorization.formats import require_transformation
from satseg.vectorization.sink import PolygonSink

if TYPE_CHECKING:
    from satseg.inference.ray_engine import RayEngine

log = logging.getLogger("satseg")

_REMOTE_READERS = 8  # threads that wait for the network connection, and take no core
_MOST_READERS = 4


@dataclass(frozen=True)
class Predictor:
    """A network and how to run it, ready for any number of scenes.

    Args:
        network: What classifies.
        provenance: What outputs store about their origin.
        settings: How scenes are mapped.
        checkpoint: What scenes have to fit; None takes them as they are.
        engine: Workers that have the network; None runs it in this process.
    """

    network: Network
    provenance: Provenance
    settings: PredictionSettings
    checkpoint: Checkpoint | None = None
    engine: RayEngine | None = None

    @cached_property
    def planner(self) -> Planner:
        """Makes plans for scenes; what it measures serves all of them."""
        settings = self.settings
        return Planner(
            self.network,
            window=settings.window,
            overlap=settings.overlap,
            batch_size=settings.batch_size,
            memory=settings.memory,
            tile_size=self.checkpoint.card.tile_size if self.checkpoint else None,
            cores=self.engine.cores if self.engine else settings.threads or available_cores(),
            ask=self.engine.ask if self.engine else None,
        )

    def predict(
        self,
        source: SceneSource,
        outputs: OutputPaths,
        *,
        layer: SharedLayer | None = None,
        passing: bool = False,
        progress: Progress = no_progress,
    ) -> PredictionSummary:
        """Map one scene; files appear under their names when all of them are complete.

        Args:
            source: The scene.
            outputs: Where its map goes.
            layer: Takes the polygons of several scenes, this one among them.
            passing: Whether the outputs are removed with their folder, so that nobody is told to resume them.
            progress: Called as cells are finished, in pixels.

        Raises:
            SceneError: The scene cannot be read.
            CheckpointError: The scene does not hold what the network was trained on.
            OutputError: An output cannot be written, another run makes it at this moment, or what is to be resumed
                belongs to another map.
        """
        scene = fit_scene(source, self.checkpoint)
        with locked(*outputs.files), ExitStack() as stack:
            folder = layer.work_folder(source) if layer else stack.enter_context(_work_folder(outputs))
            return replace(self._prepare(scene, outputs, folder, layer, progress), passing=passing).run()

    def dry_run(self, source: SceneSource, outputs: OutputPaths) -> DryRun:
        """Estimate what mapping a scene takes, after a short probe; nothing is written."""
        scene = fit_scene(source, self.checkpoint)
        with _work_folder(outputs) as folder:
            return self._prepare(scene, outputs, folder, None, no_progress).dry_run()

    def rows(self, scene: FittedScene, *, progress: Progress = no_progress) -> Generator[Rows, None, None]:
        """Yield the classes of a scene strip by strip, those of the class raster that :meth:`predict` would write.

        Args:
            scene: The scene, fitted to the checkpoint.
            progress: Called after each strip, in pixels.

        Raises:
            SceneError: The scene cannot be read.
        """
        network = self._fitted_network(scene.info)
        plan = self.planner.plan(scene.info, network)
        out_of_range: set[OutOfRange] = set()
        read_options = ReadOptions(
            scratch=Path(tempfile.gettempdir()),
            readers=_readers(scene),
            budget=self.settings.row_budget,
            values=network.values,
            on_out_of_range=out_of_range.add,
        )
        with closing(predict_rows(scene.source.open, network, plan, read_options, progress=progress)) as rows:
            yield from rows
        if found := OutOfRange.merge(out_of_range):
            log.warning("%s", found.message(scene.info.path, scene.info.bands.names, "The map has no class there"))

    def open_layer(self, outputs: OutputPaths, sources: Sequence[SceneSource] = ()) -> SharedLayer:
        """Open a layer for the polygons of several scenes; ``sources`` is empty where they are not known yet."""
        sink = PolygonSink(
            outputs.vectors,
            stream=outputs.stream,
            classes=self.network.classes,
            provenance=self.provenance.tags(sources, polygons=True),
            scenes=[source.name for source in sources],
            options=self.settings.polygons,
        )
        return SharedLayer(sink, outputs.vectors)

    def require_space(self, scenes: Iterable[tuple[SceneInfo, OutputPaths]], layer: SharedLayer) -> None:
        """Refuse scenes whose work rasters, kept until their shared layer is complete, do not fit on the disk.

        Args:
            scenes: All scenes, with what is written of each besides.
            layer: Their layer.

        Raises:
            OutputError: There is less space.
        """
        layer.require_space(sum(info.pixels * self._layers(outputs).bytes_per_pixel for info, outputs in scenes))

    def _layers(self, outputs: OutputPaths) -> MapLayers:
        return MapLayers.of(self.settings, self.network.classes, outputs.layers, self.network.objects)

    def _prepare(
        self, scene: FittedScene, outputs: OutputPaths, folder: Path, layer: SharedLayer | None, progress: Progress
    ) -> ScenePrediction:
        targets: list[Path | IO[str]] = [*outputs.vectors, *(layer.paths if layer else ())]
        if outputs.stream:
            targets.append(outputs.stream)
        require_transformation(scene.info, self.settings.polygons.crs, targets)
        division = self.checkpoint.card.division_on(scene.info.gsd) if self.checkpoint else {}
        return ScenePrediction(
            scene=scene,
            area=AreaOfInterest.read(self.settings.aoi).on(scene.info) if self.settings.aoi else None,
            network=self._fitted_network(scene.info),
            planner=self.planner,
            engine=self.engine,
            settings=self.settings.divided_as(division),
            division=division,
            provenance=self.provenance,
            outputs=outputs,
            layer=layer,
            folder=folder,
            readers=_readers(scene),
            progress=progress,
        )

    def _fitted_network(self, info: SceneInfo) -> Network:
        return fit_network(self.network, info, self.checkpoint, resample=self.settings.gsd == "model")


def _readers(scene: FittedScene) -> int:
    """Return the number of threads that read a scene."""
    return _REMOTE_READERS if scene.remote else max(1, min(_MOST_READERS, available_cores() // 2))


@contextmanager
def _work_folder(outputs: OutputPaths) -> Iterator[Path]:
    """Yield the hidden folder beside the first file, or a temporary one where there is none."""
    if outputs.files:
        yield work_folder(outputs.files[0])
    else:
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            yield Path(folder) / "work"
