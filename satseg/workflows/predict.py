"""Map scenes with a trained network: class rasters and polygons, in one streaming pass."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO

import torch

from satseg.arguments import PathLike, Paths, file_and_name, is_one, paths
from satseg.backend import run_custom_file
from satseg.backend.device import available_cores, select_device, select_precision, share_heap
from satseg.checkpoint import Checkpoint
from satseg.errors import ReadError, SatsegError, UsageError, as_failure, naming
from satseg.files.gdal import gdal_environment
from satseg.inference.decision import Decision
from satseg.inference.domain_shift import unlike_training
from satseg.inference.network import Network
from satseg.inference.ray_engine import RayEngine
from satseg.inference.views import Views
from satseg.prediction.distributed import open_engine, send
from satseg.prediction.finished_maps import Inputs, check_finished
from satseg.prediction.output_checks import OutputChecks
from satseg.prediction.outputs import STDOUT, MapOutputs, OutputNames
from satseg.prediction.predictor import Predictor
from satseg.prediction.settings import PredictionSettings
from satseg.progress import automatic
from satseg.raster.scales import Conversion
from satseg.raster.selection import select_bands
from satseg.raster.source import SceneSource
from satseg.records import DryRun, FinishedMap, PredictionSummary, Progress
from satseg.runs import Run, newest_model
from satseg.signatures import checked, checked_with
from satseg.workflows.scene_progress import of_scene
from satseg.workflows.undertrained import warn_of_map

log = logging.getLogger("satseg")

Scenes = PathLike | SceneSource | Iterable[PathLike | SceneSource]
"""One scene or several."""


@checked_with(scene="satseg.predict_scenes maps several scenes.")
def predict(
    scene: PathLike | SceneSource,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    progress: Progress = automatic,
) -> PredictionSummary | None:
    """Map one scene with a trained network.

    Memory does not grow with the scene: windows are read, classified, blended, written and traced in one pass from
    the top.

    Args:
        scene: Any raster that GDAL opens, by its name or as an open dataset of rasterio, with the bands, dtype and
            scale of the training scenes; a :class:`~satseg.SceneSource` stacks several files, and
            ``SceneSource.from_array`` makes one of an array.
        output: File to write, or several, see :class:`OutputNames`.
        model: Checkpoint, or several that are averaged; None takes the best one of the newest finished run below
            ``runs/``.
        arch: ``path/to/file.py:function`` of a checkpoint that was trained with such a network; this runs the file.
        settings: How to map; see :class:`~satseg.prediction.settings.PredictionSettings`.
        progress: Called as rows are finished, in pixels.

    Returns:
        What was written, and pixels and polygons per class; None where the scene was passed over, since its outputs
        are all there and the settings say ``skip_existing``, or ``resume`` and they were made from the same.

    Raises:
        SceneError: The scene cannot be read.
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or the scene does not fit it.
        OutputError: An output cannot be written.
        UsageError: An argument makes no sense.
    """
    maps = predict_scenes([scene], output=output, model=model, arch=arch, settings=settings, progress=progress)
    return next(iter([*maps]), None)


@checked
def predict_scenes(
    scenes: Scenes,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    stream: IO[str] | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
    on_finished: Callable[[FinishedMap], None] | None = None,
    progress: Progress = automatic,
) -> Iterator[PredictionSummary]:
    """Map scenes one after the other, as they come, with a network that is loaded once.

    Arguments are checked at once; a scene is mapped when its summary is asked for:
    ``for summary in predict_scenes(...)``.

    Args:
        scenes: Rasters, or one alone; of what is no list, taken when their turn comes.
        output: As in :func:`predict`.
        model: As in :func:`predict`.
        arch: As in :func:`predict`.
        settings: As in :func:`predict`.
        stream: Text stream for the output ``-``.
        on_error: Called for a scene that fails for whatever reason, and the next one follows; None raises.
        on_finished: Called for a scene whose map is finished already, where maps are resumed; None logs it.
        progress: As in :func:`predict`; of several scenes, in scenes.

    Returns:
        Iterator over a summary per scene; none for those that are skipped.

    Raises:
        UsageError: An output has an unknown suffix, or several scenes would be written to one file.
        SatsegError: As :func:`predict`.
    """
    scenes, names = _one_or_several(scenes), _output_names(output)
    settings = settings or PredictionSettings()
    layer = names.of_layer(stream)
    shares = not _is_alone(scenes) and (bool(layer.vectors) or layer.stream is not None)
    if shares and settings.skip_existing:
        raise UsageError(
            "With --skip-existing, polygons of several scenes cannot go into one layer: it is written anew.",
            hint="Put {stem} into the output's name: -o 'maps/{stem}.gpkg'",
        )
    models = _model_paths(model)
    claims = _claims(scenes, names, models, arch, settings)
    told = on_finished or _log_finished
    return _map_all(scenes, names, models, arch, settings, claims, stream, on_error, told, progress, shares=shares)


def _map_all(
    scenes: Iterable[PathLike | SceneSource],
    names: OutputNames,
    models: Sequence[str],
    arch: str | None,
    settings: PredictionSettings,
    claims: OutputChecks,
    stream: IO[str] | None,
    on_error: Callable[[SatsegError], None] | None,
    on_finished: Callable[[FinishedMap], None],
    progress: Progress,
    *,
    shares: bool,
) -> Iterator[PredictionSummary]:
    """Map scenes when they are asked for; where it ``shares``, polygons go into one layer."""
    share_heap()
    alone, layer = _is_alone(scenes), names.of_layer(stream)
    sources = [SceneSource.of(scene, bands=settings.bands) for scene in scenes] if isinstance(scenes, Sequence) else []
    checkpoints, origin = _load(models, arch, settings)
    checkpoint, inputs = checkpoints[0], Inputs(origin, settings)
    if shares and settings.resume and _is_finished_layer(sources, names, inputs, on_finished):
        return
    with ExitStack() as stack:

        @cache
        def mapper() -> Predictor:  # only where there is something to map
            engine = open_engine(settings)
            if engine is not None:
                stack.enter_context(engine)
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            made = _mapper(checkpoints, origin, arch, settings, engine)
            return replace(made, call=_call(models, arch, names))

        shared = stack.enter_context(mapper().share_layer(layer, sources)) if shares else None
        if shared is not None and sources:
            with gdal_environment():
                mapper().require_room([(one, names.of_scene(one, None, alone=False)) for one in sources], shared)
        mapped = failed = 0
        for number, scene in enumerate(scenes):
            try:
                source = SceneSource.of(scene, bands=settings.bands)
                files = claims.take(source, stream)
                if settings.skip_existing and files.files and all(path.exists() for path in files.files):
                    log.info("Skipping %s: its outputs are there.", source.name)
                    continue
                with gdal_environment(), nullcontext() if alone else naming(source.name):
                    if settings.resume and shared is None and _is_finished(source, files, inputs, on_finished):
                        continue
                    told = of_scene(progress, number, scenes)
                    summary = mapper().map_scene(fitting(source, checkpoint), files, shared=shared, progress=told)
                    warn_of_map(summary, checkpoint.card)
            except Exception as error:  # of whatever kind: the other scenes are not to suffer
                if on_error is None:
                    raise
                failed += 1
                on_error(as_failure(error, f"Mapping {SceneSource.of(scene).name}"))
                continue
            mapped += 1
            yield summary
        if shared is not None and mapped:
            shared.close(complete=not failed)


def _log_finished(found: FinishedMap) -> None:
    log.info("The map of %s is finished already.", found.scene)


def _is_finished(
    source: SceneSource, files: MapOutputs, inputs: Inputs, on_finished: Callable[[FinishedMap], None]
) -> bool:
    """Tell whether nothing is left to do for a scene, and say so.

    Raises:
        OutputError: There is a map, made from something else.
    """
    finished = files.stream is None and check_finished(files.files, [source], inputs)
    if finished:
        on_finished(FinishedMap(source.name, tuple(map(str, files.files))))
    return finished


def _is_finished_layer(
    sources: Sequence[SceneSource], names: OutputNames, inputs: Inputs, on_finished: Callable[[FinishedMap], None]
) -> bool:
    """Tell the same of scenes whose polygons share a layer; of scenes that are not known yet, nobody can.

    Raises:
        OutputError: There is a layer, or a map of a scene, made from something else.
    """
    layer = names.of_layer(None).vectors
    if not sources or STDOUT in names.output or not all(path.exists() for path in layer):
        return False
    own = [(source, names.of_scene(source, None, alone=False).files) for source in sources]
    with gdal_environment():
        finished = check_finished(layer, sources, inputs) and all(
            check_finished(files, [source], inputs) for source, files in own if files
        )
    for source, files in own if finished else []:
        on_finished(FinishedMap(source.name, tuple(map(str, (*files, *layer)))))
    return finished


@checked
def dry_run_scenes(
    scenes: Scenes,
    *,
    output: Paths | OutputNames,
    model: Paths | None = None,
    arch: str | None = None,
    settings: PredictionSettings | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
) -> Iterator[DryRun]:
    """Tell what :func:`predict_scenes` would take for each scene, after a short probe; nothing is written.

    The probe runs in this process, and its time is that of this process alone, whatever engine was chosen.

    Args:
        scenes: As in :func:`predict_scenes`, as all the other arguments.
        output: What would be written.
        model: Checkpoints.
        arch: File and function of an own network.
        settings: How scenes would be mapped.
        on_error: As in :func:`predict_scenes`.

    Raises:
        SatsegError: As :func:`predict`.
    """
    scenes, names = _one_or_several(scenes), _output_names(output)
    settings = settings or PredictionSettings()
    models = _model_paths(model)
    claims = _claims(scenes, names, models, arch, settings)
    return _rehearse_all(scenes, names, models, arch, settings, claims, on_error)


def _rehearse_all(
    scenes: Iterable[PathLike | SceneSource],
    names: OutputNames,
    models: Sequence[str],
    arch: str | None,
    settings: PredictionSettings,
    claims: OutputChecks,
    on_error: Callable[[SatsegError], None] | None,
) -> Iterator[DryRun]:
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        checkpoints, origin = _load(models, arch, settings)
        mapper, checkpoint = _mapper(checkpoints, origin, arch, settings, None), checkpoints[0]
        for scene in scenes:
            try:
                source = SceneSource.of(scene, bands=settings.bands)
                claims.take(source, None)
                with gdal_environment():
                    told = mapper.rehearse(fitting(source, checkpoint), names.of_scene(source, None, alone=True))
            except Exception as error:
                if on_error is None:
                    raise
                on_error(as_failure(error, f"The dry run of {SceneSource.of(scene).name}"))
                continue
            yield told


def _claims(
    scenes: Iterable[PathLike | SceneSource],
    names: OutputNames,
    models: Sequence[str],
    arch: str | None,
    settings: PredictionSettings,
) -> OutputChecks:
    """Check all outputs against all that is read, as far as it is known before any work; return what checks the rest.

    Raises:
        UsageError: An output is read, too, or written twice; or scenes of several CRSs would go into one layer.
        OutputError: An output cannot be written.
    """
    alone = _is_alone(scenes)
    weights = [Run(Path(path)).best if Path(path).is_dir() else path for path in models]
    inputs = [*weights, arch and file_and_name(arch)[0], settings.aoi]
    listed = isinstance(scenes, Sequence)
    layer = names.of_layer(None).vectors or STDOUT in names.output
    one_crs = listed and not alone and bool(layer) and settings.polygons.crs is None
    claims = OutputChecks(names, inputs, alone=alone, one_crs=one_crs, streamed=not listed)
    if listed:
        claims.take_all(SceneSource.of(scene, bands=settings.bands) for scene in scenes)
    return claims


def _load(models: Sequence[str], arch: str | None, settings: PredictionSettings) -> tuple[list[Checkpoint], str]:
    """Read checkpoints, of which scenes have to fit the first, and return them with what maps call their origin."""
    checkpoints = [Checkpoint.load(path) for path in models]
    Decision.parse(checkpoints[0].card.classes, settings.threshold, frozenset())  # before any scene is looked at
    return checkpoints, _origin(checkpoints, arch)


def _mapper(
    checkpoints: Sequence[Checkpoint],
    origin: str,
    arch: str | None,
    settings: PredictionSettings,
    engine: RayEngine | None,
) -> Predictor:
    """Make the network ready for scenes."""
    torch.set_num_threads(settings.threads or available_cores())
    card = checkpoints[0].card
    network = _network(checkpoints, arch, settings) if engine is None else send(checkpoints, arch, settings, engine)
    return Predictor(network, origin, settings, card.gsd, card.tile_size, card.bands, engine, card.labels)


def _call(models: Sequence[str], arch: str | None, names: OutputNames) -> tuple[str, ...]:
    """Return how models and outputs are named on the command line."""
    named = [("-m", model) for model in models] + [("--arch", arch)] * (arch is not None)
    named += [("-o", name) for name in names.output]
    named += [(f"--{layer.value}", name) for layer, name in names.shares]
    return tuple(word for pair in named for word in pair if word is not None)


def _output_names(output: Paths | OutputNames) -> OutputNames:
    return output if isinstance(output, OutputNames) else OutputNames(output)


def _is_alone(scenes: Iterable[PathLike | SceneSource]) -> bool:
    return isinstance(scenes, tuple) and len(scenes) == 1


def _one_or_several(
    scenes: Scenes,
) -> Iterable[PathLike | SceneSource]:
    """Return scenes as a tuple where all are known, else as they come."""
    if isinstance(scenes, SceneSource | str | os.PathLike) or is_one(scenes):
        return (scenes,)  # type: ignore[return-value]  # what is one is no iterable
    if not isinstance(scenes, Collection):
        return scenes
    if not scenes:
        raise UsageError("There is no scene to map.")
    return tuple(scenes)


def _model_paths(model: Paths | None) -> tuple[str, ...]:
    """Return the checkpoints that are named, or that of the newest finished run.

    Raises:
        CheckpointError: There is none.
    """
    found = (str(newest_model()),) if model is None else paths(model, "model")
    if not found:
        raise UsageError("model is empty.", hint="Name a checkpoint, or leave it out to take the newest finished run.")
    return found


def _network(checkpoints: Sequence[Checkpoint], arch: str | None, settings: PredictionSettings) -> Network:
    device = select_device(settings.device)
    return Network.from_checkpoint(
        *checkpoints,
        device=device,
        precision=select_precision(settings.precision, device),
        views=Views(settings.tta, settings.scales),
        compile=settings.compile,
        builder=run_custom_file(arch) if arch else None,
    )


def _origin(checkpoints: Sequence[Checkpoint], arch: str | None) -> str:
    origins = [f"{checkpoint.path.name} sha256:{checkpoint.digest}" for checkpoint in checkpoints]
    if arch:
        file = Path(file_and_name(arch)[0])
        origins.append(f"{file.name} sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")
    return ", ".join(origins)


def fitting(source: SceneSource, checkpoint: Checkpoint) -> SceneSource:
    """Return the source with the bands that the network was trained on; warn where the scene looks unlike those.

    Raises:
        CheckpointError: It does not hold what the network was trained on.
    """
    card = checkpoint.card
    chosen = source.bands is not None
    with source.open() as scene:
        wanted = None if chosen else select_bands(scene.info.bands, card.bands.names)
    if wanted is not None:
        log.info("Taking the bands %s of %s.", ", ".join(wanted), source.name)
        source = replace(source, bands=wanted)
    with source.open() as scene:
        for remark in scene.remarks:
            log.info("%s.", remark)
        if scene.info.doubt:
            log.warning("%s %s.", source.name, scene.info.doubt)
        bands = scene.info.bands
        checkpoint.check_fits(bands, source.name, by_name=not chosen, converted=True)
        conversion = Conversion.between(bands, card.bands)
        statistics = conversion.statistics(card.statistics) if conversion else card.statistics
        try:
            phrases = unlike_training(scene, statistics)
        except ReadError:  # mapping will say so, or make nodata of it
            phrases = []
    if phrases:
        log.warning("%s looks unlike the training scenes: %s.", source.name, "; ".join(phrases))
    return source
