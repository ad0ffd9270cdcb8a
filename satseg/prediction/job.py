"""A prediction over scenes: everything is checked first, then one scene follows the other."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import IO

from satseg.arguments import PathLike, Paths, is_one
from satseg.backend.cores import available_cores, torch_threads
from satseg.checkpoint import shared_outputs
from satseg.errors import SatsegError, UsageError, as_failure, naming
from satseg.files.gdal import gdal_environment
from satseg.geo.crs import same_crs, short_name
from satseg.inference.decision import Decision
from satseg.objects import ObjectOutputs
from satseg.prediction.finished_maps import check_finished
from satseg.prediction.map_warnings import warn_of_map
from satseg.prediction.models import Models
from satseg.prediction.onnx_limits import refuse_certainty, refuse_what_onnx_lacks
from satseg.prediction.outputs import OutputPaths, Outputs
from satseg.prediction.predictor import Predictor
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.prediction.shared_layer import SharedLayer
from satseg.progress import scene_progress
from satseg.raster.source import SceneSource
from satseg.records import DryRun, FinishedMap, MapLayer, PredictionSummary, Progress, SceneInfo

log = logging.getLogger("satseg")

Scenes = PathLike | SceneSource | Iterable[PathLike | SceneSource]
"""One scene or several."""

OnError = Callable[[SatsegError], None]
OnFinished = Callable[[FinishedMap], None]
OnMap = Callable[[SceneSource, OutputPaths], None]


@dataclass(frozen=True)
class PredictionJob:
    """Scenes to map with the same models, their outputs, and how they are mapped; all of it checked.

    Args:
        scenes: A tuple where all scenes are known; else they are taken as they come.
        models: Trained networks.
        outputs: Where maps go.
        provenance: What outputs store about their origin.
        settings: How scenes are mapped.
        infos: Grids of the scenes that share a layer, where they are known and could be opened.
    """

    scenes: Iterable[PathLike | SceneSource]
    models: Models
    outputs: Outputs
    provenance: Provenance
    settings: PredictionSettings
    infos: dict[SceneSource, SceneInfo]

    @classmethod
    def check(
        cls,
        scenes: Scenes,
        output: Paths | OutputNames,
        *,
        model: Paths | None,
        arch: str | None,
        settings: PredictionSettings | None,
        stream: IO[str] | None = None,
    ) -> PredictionJob:
        """Check arguments, before any scene is mapped.

        Args:
            scenes: One scene or several.
            output: Names of outputs.
            model: Checkpoints; None takes the best one of the newest finished run.
            arch: File and function of a custom architecture.
            settings: How scenes are mapped.
            stream: Text stream for the output ``-``.

        Raises:
            UsageError: Arguments contradict each other; an output is an input or is written twice; scenes of several
                CRSs would go into one layer; a threshold makes no sense.
            CheckpointError: There is no checkpoint, or it cannot be used.
            OutputError: An output cannot be written.
        """
        settings = settings or PredictionSettings()
        listed, names = _listed(scenes, settings), _names(output)
        models = Models.named(model, arch)
        sources = listed if isinstance(listed, tuple) else None
        raster = MapLayer.OBJECTS if settings.objects else MapLayer.CLASSES
        outputs = Outputs(names, sources, inputs=[*models.files, settings.aoi], stream=stream, raster=raster)
        if outputs.layer.has_polygons and settings.skip_existing:
            raise UsageError(
                "With `skip_existing`, polygons of several scenes cannot go into one layer: it is written anew.",
                hint="Put {stem} into the output's name: `output='maps/{stem}.gpkg'`.",
            )
        infos = _describe(sources) if sources and outputs.shares_layer else {}
        if settings.polygons.crs is None:
            _require_one_crs(list(infos.values()))
        refuse_what_onnx_lacks(models.checkpoints, settings)
        refuse_certainty(models.checkpoints, settings, names.rasters)
        card = models.checkpoints[0].card
        Decision.parse(card.classes, settings.threshold, frozenset())
        learnt = all(checkpoint.card.objects for checkpoint in models.checkpoints)
        asked = settings.objects or outputs.tell_of_objects
        if asked and shared_outputs(models.checkpoints) is ObjectOutputs.CENTRES:
            _refuse_edges(settings, names)
        if learnt and not settings.objects and names.has_polygons:
            log.info("The network has learnt objects: `objects=True` makes one polygon of each.")
        divided = settings.divided_as(card.division)
        provenance = Provenance(models.origin, divided, card.labels, (*models.words, *names.words()))
        return cls(listed, models, outputs, provenance, settings, infos)

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes; none where they are not known yet."""
        return self.scenes if isinstance(self.scenes, tuple) else ()

    def run(
        self,
        *,
        on_error: OnError | None,
        on_finished: OnFinished | None,
        on_map: OnMap | None = None,
        progress: Progress,
    ) -> Iterator[PredictionSummary]:
        """Map each scene when the iterator reaches it.

        Args:
            on_error: Called for a scene that fails, and the next one follows; None raises.
            on_finished: Called for a scene whose map is finished already, where maps are resumed; None logs it.
            on_map: Called with each scene whose map is there, made now or before, and the files of its own.
            progress: Called as rows are finished: in pixels of one scene, in scenes of several.
        """
        on_finished, on_map = on_finished or _log_finished, on_map or _ignore_map
        if self._is_layer_finished(on_finished, on_map):
            return
        with ExitStack() as stack:
            predictor = cache(partial(self.open_predictor, stack))  # only where there is something to map
            layer = self._open_layer(stack, predictor()) if self.outputs.layer.has_polygons else None
            mapped = failed = 0
            for number, scene in enumerate(self.scenes):
                try:
                    advance = scene_progress(progress, number, self.scenes)
                    summary = self._map(scene, predictor, layer, on_finished, advance)
                except Exception as error:  # of any kind: the other scenes go on
                    if on_error is None:
                        raise
                    failed += 1
                    on_error(as_failure(error, f"Mapping {SceneSource.of(scene).name}"))
                    continue
                source = self._source(scene)
                on_map(source, self.outputs.paths_of(source))
                if summary is not None:
                    mapped += 1
                    yield summary
            if layer is not None and mapped:
                layer.close(complete=not failed)

    def dry_run(self, *, on_error: OnError | None) -> Iterator[DryRun]:
        """Estimate what each scene takes, when the iterator reaches it; always in this process."""
        with ExitStack() as stack:
            predictor = self.open_predictor(stack, distributed=False)
            for scene in self.scenes:
                try:
                    source = self._source(scene)
                    paths = self.outputs.check(source)
                    paths = replace(paths, vectors=(*paths.vectors, *self.outputs.layer.vectors))
                    with gdal_environment():
                        estimate = predictor.dry_run(source, paths)
                except Exception as error:
                    if on_error is None:
                        raise
                    on_error(as_failure(error, f"The dry run of {SceneSource.of(scene).name}"))
                    continue
                yield estimate

    def _source(self, scene: PathLike | SceneSource) -> SceneSource:
        return SceneSource.of(scene, bands=self.settings.bands, extra=self.settings.extra)

    def _map(
        self,
        scene: PathLike | SceneSource,
        predictor: Callable[[], Predictor],
        layer: SharedLayer | None,
        on_finished: OnFinished,
        progress: Progress,
    ) -> PredictionSummary | None:
        """Map one scene; return None where its outputs are kept as they are."""
        source = self._source(scene)
        paths = self.outputs.check(source)
        if self.settings.skip_existing and paths.exist:
            log.info("Skipping %s: its outputs exist.", source.name)
            return None
        with gdal_environment(), naming(source.name) if self.outputs.several else nullcontext():
            if layer is None and self._is_finished(source, paths):
                on_finished(_finished(source, paths.files))
                return None
            summary = predictor().predict(source, paths, layer=layer, progress=progress)
            warn_of_map(summary, self.models.checkpoints[0].card)
        return summary

    def _is_finished(self, source: SceneSource, paths: OutputPaths) -> bool:
        """Tell whether a map that is to be resumed needs no work.

        Raises:
            OutputError: There is a map, made from something else.
        """
        resumes = self.settings.resume and paths.stream is None
        return resumes and check_finished(paths.files, [source], self.provenance)

    def _is_layer_finished(self, on_finished: OnFinished, on_map: OnMap) -> bool:
        """Tell whether a layer that is to be resumed needs no work, and report its scenes.

        Raises:
            OutputError: There is a layer, or a map of a scene, made from something else.
        """
        layer, sources = self.outputs.layer, self.sources
        if not (self.settings.resume and sources) or layer.stream is not None or not layer.exist:
            return False
        own = [(source, self.outputs.paths_of(source).files) for source in sources]
        with gdal_environment():
            finished = check_finished(layer.files, sources, self.provenance) and all(
                check_finished(files, [source], self.provenance) for source, files in own if files
            )
        for source, files in own if finished else []:
            on_finished(_finished(source, (*files, *layer.files)))
            on_map(source, self.outputs.paths_of(source))
        return finished

    def open_predictor(self, stack: ExitStack, *, distributed: bool = True) -> Predictor:
        """Build the network, until the stack closes: on the workers of an engine if the settings say so, or here."""
        settings, engine = self.settings, None
        if distributed and settings.spreads:
            from satseg.inference.ray_engine import RayEngine

            engine = stack.enter_context(
                RayEngine(
                    devices=settings.devices,
                    alone=settings.engine == "local",
                    device=settings.device,
                    precision=settings.precision,
                    threads=settings.threads,
                )
            )
        stack.enter_context(torch_threads(settings.threads or available_cores()))
        network = self.models.network(settings, engine, objects=settings.objects or self.outputs.tell_of_objects)
        return Predictor(network, self.provenance, settings, self.models.checkpoints[0], engine)

    def _open_layer(self, stack: ExitStack, predictor: Predictor) -> SharedLayer:
        """Open the layer of several scenes, and make sure that their work rasters fit on the disk."""
        layer = stack.enter_context(predictor.open_layer(self.outputs.layer, self.sources))
        predictor.require_space([(info, self.outputs.paths_of(source)) for source, info in self.infos.items()], layer)
        return layer


def _names(output: Paths | OutputNames) -> OutputNames:
    return output if isinstance(output, OutputNames) else OutputNames(output=output)


def _listed(scenes: Scenes, settings: PredictionSettings) -> Iterable[PathLike | SceneSource]:
    """Return scenes as a tuple of sources where all are known, as the one source of their mosaic, or as they come."""
    if isinstance(scenes, SceneSource | str | os.PathLike) or is_one(scenes):
        scenes = (scenes,)  # type: ignore[assignment]  # not an iterable
    if settings.mosaic:
        sheets = SceneSource.from_sheets(scenes, bands=settings.bands)  # type: ignore[arg-type]  # an iterable now
        return (SceneSource.of(sheets, extra=settings.extra),)
    if not isinstance(scenes, Collection):
        return scenes  # type: ignore[return-value]  # likewise
    if not scenes:
        raise UsageError("There is no scene to map.")
    return tuple(SceneSource.of(scene, bands=settings.bands, extra=settings.extra) for scene in scenes)


def _refuse_edges(settings: PredictionSettings, names: OutputNames) -> None:
    """Refuse what belongs to the edges of objects, where they are found by their centres."""
    for name in ("boundary", "distance"):
        if name in names.rasters:
            raise UsageError(
                f"`{name}` is none of the outputs of this network, which finds objects by their centres.",
                hint="Leave it out: `objects=True` maps them at once.",
            )
    if settings.objects and "marker_depth" in settings.polygons.given:
        raise UsageError(
            "`marker_depth` divides objects at their edges, and this network finds them by their centres.",
            hint="Leave it out.",
        )


def _describe(sources: Iterable[SceneSource]) -> dict[SceneSource, SceneInfo]:
    """Open each scene once; those that cannot be opened are left out, and fail when their turn comes."""
    infos = {}
    with gdal_environment():
        for source in sources:
            try:
                with source.open() as scene:
                    infos[source] = scene.info
            except Exception:  # of any kind: reported when the scene is mapped
                continue
    return infos


def _require_one_crs(infos: Sequence[SceneInfo]) -> None:
    """Refuse scenes of several CRSs for one layer."""
    for info in infos:
        first = infos[0]
        if not same_crs(info.crs, first.crs):
            raise UsageError(
                f"{info.path} is in {short_name(info.crs)}, but {first.path} in {short_name(first.crs)}, and their "
                "polygons would go into one layer.",
                hint="Name the CRS of the layer (`crs`), or put {stem} into its name: `output='maps/{stem}.gpkg'`.",
            )


def _finished(source: SceneSource, files: Sequence[Path]) -> FinishedMap:
    return FinishedMap(source.name, tuple(map(str, files)))


def _ignore_map(source: SceneSource, paths: OutputPaths) -> None:
    pass


def _log_finished(found: FinishedMap) -> None:
    log.info("The map of %s is finished already.", found.scene)
