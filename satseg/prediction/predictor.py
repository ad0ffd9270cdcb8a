"""Map scenes with one network: what is the same for all of them."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from satseg import __version__
from satseg.backend.device import available_cores
from satseg.command_line import command_line, without_secrets
from satseg.errors import SceneError
from satseg.files.atomic_write import claimed, work_folder
from satseg.inference.network import Network
from satseg.inference.ray_engine import RayEngine
from satseg.inference.views import COARSEST, FINEST
from satseg.labels.label_meaning import LABELS_TAG, LabelMeaning
from satseg.prediction.finished_maps import Inputs
from satseg.prediction.outputs import MapOutputs
from satseg.prediction.planning import Planner
from satseg.prediction.scene_run import ScenePrediction
from satseg.prediction.settings import PredictionSettings
from satseg.prediction.shared_layer import SharedLayer
from satseg.raster.area import AreaOfInterest
from satseg.raster.scales import Conversion
from satseg.raster.source import SceneSource
from satseg.records import (
    BandSpec,
    DryRun,
    Plan,
    PredictionSummary,
    Progress,
    SceneInfo,
    no_progress,
)
from satseg.vectorization.formats import require_way
from satseg.vectorization.sink import PolygonSink

log = logging.getLogger("satseg")

STDIN = "-"
_GSD_TOLERANCE = 1.1  # pixels larger or smaller than in training by that factor are let through
_REMOTE_READERS = 8  # threads that wait for a network take no core
_MOST_READERS = 4


@dataclass(frozen=True)
class Predictor:
    """A network and how to run it, ready for any number of scenes.

    Args:
        network: What classifies.
        origin: Where it comes from, as outputs name it.
        settings: How scenes are mapped.
        gsd: Ground metres per pixel of the training scenes along x and y; None where they are unknown.
        tile_size: Side of the training tiles; None where it is unknown.
        bands: What raw values of the training scenes mean; None takes those of scenes as they are.
        engine: Workers that have the network; None runs it in this process.
        labels: What the labels of the training tiles meant.
        call: Words of the command that name models and outputs.
    """

    network: Network
    origin: str
    settings: PredictionSettings = field(default_factory=PredictionSettings)
    gsd: tuple[float, float] | None = None
    tile_size: int | None = None
    bands: BandSpec | None = None
    engine: RayEngine | None = None
    labels: LabelMeaning = field(default_factory=LabelMeaning)
    call: tuple[str, ...] = ()

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
            OutputError: An output cannot be written, another run makes it at this moment, or what is to be resumed
                belongs to another map.
        """
        with claimed(*outputs.files), ExitStack() as stack:
            folder = shared.work_folder(source) if shared else stack.enter_context(_work_folder(outputs))
            return self._prepare(source, outputs, folder, shared, progress).run()

    def rehearse(self, source: SceneSource, outputs: MapOutputs) -> DryRun:
        """Tell what mapping a scene will take, after a short probe; nothing is written."""
        with _work_folder(outputs) as folder:
            return self._prepare(source, outputs, folder, None, no_progress).rehearse()

    def _prepare(
        self, source: SceneSource, outputs: MapOutputs, folder: Path, shared: SharedLayer | None, progress: Progress
    ) -> ScenePrediction:
        with source.open() as scene:
            info = scene.info
            readers = _REMOTE_READERS if scene.remote else max(1, min(_MOST_READERS, available_cores() // 2))
        targets: list[Path | IO[str]] = [
            *outputs.vectors,
            *(shared.paths if shared else ()),
            *([outputs.stream] if outputs.stream else []),
        ]
        require_way(info, self.settings.polygons.crs, targets)
        area = AreaOfInterest.read(self.settings.aoi).on(info) if self.settings.aoi else None
        network = self.network_for(info)
        return ScenePrediction(self, network, source, info, area, outputs, folder, shared, progress, readers)

    def network_for(self, info: SceneInfo) -> Network:
        """Return the network, made to look at the scene in values and pixels like those it was trained on."""
        network = self._converted(info)
        if self.gsd is None or self.settings.gsd == "scene":
            return network
        if info.gsd is None:
            if info.doubt is None:  # which else says so already
                log.warning(
                    "%s does not tell how large its pixels are; the map is right only if they are about as large as "
                    "in training, %.3g m.",
                    info.path,
                    self.gsd[0],
                )
            return network
        columns, rows = (here / trained for here, trained in zip(info.gsd, self.gsd, strict=True))
        if max(abs(math.log(rows)), abs(math.log(columns))) <= math.log(_GSD_TOLERANCE):
            return network
        for here, trained in zip(info.gsd, self.gsd, strict=True):
            if not COARSEST <= here / trained <= FINEST:
                raise SceneError(
                    f"{info.path} has {here:.3g} m per pixel and the network was trained at {trained:.3g} m: "
                    f"too far apart to resample the scene, which goes up to a factor of {FINEST:g}.",
                    hint="Take a scene whose pixels are nearer to those, or show it as it is: --gsd scene.",
                )
        log.info(
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

    def share_layer(self, outputs: MapOutputs, sources: Sequence[SceneSource] = ()) -> SharedLayer:
        """Open a layer for the polygons of several scenes; of none, where they are not known yet."""
        sink = PolygonSink(
            outputs.vectors,
            stream=outputs.stream,
            classes=self.network.classes,
            provenance=self.provenance(sources) | (self.inputs.tag(sources, polygons=True) if sources else {}),
            scenes=[source.name for source in sources],
            options=self.settings.polygons,
        )
        return SharedLayer(sink, outputs.vectors)

    def require_room(self, scenes: Iterable[tuple[SceneSource, MapOutputs]], shared: SharedLayer) -> None:
        """Refuse scenes whose work rasters, kept until their shared layer is complete, do not fit on the disk.

        Args:
            scenes: All scenes, with what is written of each besides.
            shared: Their layer.

        Raises:
            OutputError: There is less room.
        """
        wanted = 0
        for source, outputs in scenes:
            try:
                with source.open() as scene:
                    info = scene.info
            except Exception:  # of whatever kind: that is said when its turn comes
                continue
            folder = shared.work_folder(source)
            made = ScenePrediction(
                self, self.network, source, info, None, outputs, folder, shared, no_progress, readers=1
            )
            wanted += made.kept_bytes()
        shared.require_room(wanted)

    @property
    def inputs(self) -> Inputs:
        """What maps are made from, besides their scenes."""
        return Inputs(self.origin, self.settings)

    def provenance(self, sources: Sequence[SceneSource], plan: Plan | None = None) -> dict[str, str]:
        """Return what outputs tell of where they come from; no dates, so that equal runs give equal bytes.

        Args:
            sources: The scenes of the output; none where they came from stdin.
            plan: How the only one was cut.
        """
        scenes = [word for source in sources for word in _words(source)] or [STDIN]
        told = {
            "SATSEG_SCENE": ", ".join(without_secrets(source.name) for source in sources) or STDIN,
            "SATSEG_VERSION": __version__,
            "SATSEG_COMMAND": command_line(["predict", *scenes, *self.call, *self.settings.words()]),
            "SATSEG_MODEL": self.origin,
            **({LABELS_TAG: self.labels.to_json()} if self.labels else {}),
        }
        if plan is not None:
            told["SATSEG_PLAN"] = (
                f"windows of {plan.window} px, overlaps of {plan.overlap} px, batches of {plan.batch_size}, "
                f"{self.network.precision}"
            )
        return told


def _words(source: SceneSource) -> tuple[str, ...]:
    """Return how a scene is named on the command line."""
    return source.paths if len(source.paths) == 1 else ("--stack", ",".join(source.paths))


@contextmanager
def _work_folder(outputs: MapOutputs) -> Iterator[Path]:
    """Yield the hidden folder beside the first file, or a temporary one where there is none."""
    if outputs.files:
        yield work_folder(outputs.files[0])
    else:
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            yield Path(folder) / "work"
