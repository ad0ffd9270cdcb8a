"""Train a network on a tile set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from satseg.arguments import PathLike, path
from satseg.backend import (
    Builder,
    create_model,
    is_custom_file,
    lasting_options,
    object_outputs,
    recorded_name,
    run_custom_file,
    with_crop,
    with_elevation,
)
from satseg.backend.cores import available_cores, threads_for, torch_threads
from satseg.backend.device import select_device, select_precision
from satseg.backend.nn.first_layer import Origin, match_bands
from satseg.backend.nn.lora import attention_layers
from satseg.checkpoint import ModelCard
from satseg.errors import TileError
from satseg.files.atomic_write import locked
from satseg.files.gdal import gdal_environment
from satseg.labels.label_meaning import LabelMeaning
from satseg.objects import ObjectOutputs
from satseg.progress import automatic
from satseg.records import Clipping, Progress, TrainingSummary
from satseg.runs import RUNS, Run, claim_output
from satseg.runs.log import LogRow
from satseg.runs.scalars import Scalars, check_tensorboard
from satseg.signatures import checked
from satseg.tiles.tileset import TileSet
from satseg.training.averages import needed_lead
from satseg.training.class_weights import class_weights
from satseg.training.devices import launch, make_fabric, process_rank
from satseg.training.learner import Learner
from satseg.training.loop import Trainer
from satseg.training.loss import Loss
from satseg.training.optimizers import encoder_of
from satseg.training.recipe import Recipe, with_rates
from satseg.training.sampling import Shard, TrainingBatches
from satseg.training.schedule import make_budget
from satseg.training.settings import TrainSettings
from satseg.training.state import LoopState
from satseg.training.transfer import start_from
from satseg.workflows.network_choice import choose_network
from satseg.workflows.smallest_objects import smallest_objects
from satseg.workflows.train_choices import batch_size_for, pays_to_compile
from satseg.workflows.train_record import finish, recall
from satseg.workflows.train_resume import (
    StartedRun,
    blaming,
    check_same_recipe,
    extend,
    find_run,
    moves_end,
    named_run,
    resume_call,
    stored_settings,
)
from satseg.workflows.training_data import TrainingData
from satseg.workflows.training_pictures import SAMPLES, draw_augmented
from satseg.workflows.undertrained import CollapseWatch

log = logging.getLogger("satseg")

_MAX_READERS = 8  # threads that prepare batches for a GPU


@checked
def train(
    tiles: PathLike | None = None,
    *,
    output: PathLike | None = None,
    settings: TrainSettings | None = None,
    progress: Progress = automatic,
    watch: Callable[[LogRow], None] | None = None,
) -> TrainingSummary:
    """Train a network on the train tiles of a tile set, and keep the weights with the best score on its val tiles.

    With a budget of epochs or steps, two runs on a CPU with the same settings and number of threads give identical
    files, also if they were interrupted and resumed. A GPU adds some gradients in random order. Unless ``threads`` is
    given, a run on a CPU takes the cores that are free when it starts, and keeps to that number when it is resumed.

    A resumed run keeps its settings, except for those that are given; its recipe cannot change, except for ``patience``
    (:class:`satseg.TrainSettings`). With another budget or patience, a run continues until this end, also if it was
    finished: weights, optimiser, averages and log continue, ``patience`` starts again, and the learning rate follows
    the schedule of the new budget (:mod:`satseg.training.schedule`).

    Args:
        tiles: Folder of a tile set. Default: ``tiles``, or that of the run to resume, which may also be named here.
        output: Folder of the run. Default: the next free ``runs/<arch>-<n>``, or the run to resume.
        settings: Recipe, budget and devices.
        progress: Called after every step.
        watch: Called after every validation.

    Returns:
        Summary of the run. A finished run that is resumed returns its summary again.

    Raises:
        TileError: There is no tile set, or it has no tiles for training or for validation.
        ArchitectureError: The network does not exist, or does not take these options.
        CheckpointError: The checkpoint ``init_from`` cannot be read, or does not fit.
        OutputError: The folder is not empty, another process trains in it, or it cannot be written.
        TrainingError: The loss is not finite; or the run has another recipe, or has already spent its new budget.
        UsageError: Settings contradict each other, or are invalid.
        KeyboardInterrupt: After the state was saved.
    """
    begun = perf_counter()
    given = settings or TrainSettings()
    source, target, started = _resolve(tiles, output, given)
    settings = started.settings_with(given) if started else given
    if settings.tensorboard:
        check_tensorboard()
    device = select_device(settings.device)
    if not started:
        settings = choose_network(settings, device)
    rank = process_rank(settings.devices, settings.nodes)
    if target is not None and rank == 0:
        Run(target).check_writable(resume=settings.resume)
    recipe = settings.recipe(arch=recorded_name(settings.arch), precision=select_precision(settings.precision, device))
    if started:
        check_same_recipe(started, recipe)
        if started.run.finished and source is None and not moves_end(started, settings):
            return recall(started.run)
    builder = run_custom_file(settings.arch) if is_custom_file(settings.arch) else settings.arch
    fabric = make_fabric(device, recipe.precision, devices=settings.devices, nodes=settings.nodes)
    threads = _threads(settings, started, device) if rank == 0 else settings.threads or available_cores()
    with (
        gdal_environment(),
        torch.random.fork_rng(range(torch.cuda.device_count())),
        torch_threads(max(1, threads // settings.devices)),
        ExitStack() as locks,
    ):
        tile_set = _tile_folder(source, target, started, resume=settings.resume)
        share = settings.cache_bytes // settings.devices
        data = TrainingData.open(
            tile_set, share, recipe.val_split, objects=recipe.objects, outputs=object_outputs(builder)
        )
        options = with_crop(builder, recipe.network_options, data.tile_set.tile_size)
        if data.tile_set.bands.extra:
            options = with_elevation(builder, options)
        recipe = recipe.changed(objects=data.objects is not None, arch_options=options)
        Loss(recipe.loss, objects=data.objects)  # refuses losses of objects that are not learnt
        resumable = started is not None and started.run.resumable
        model = _create(builder, recipe, data.tile_set, with_weights=not resumable)  # refuses wrong names and options
        middle = data.middle(recipe.clip_values)
        origin = match_bands(model, data.tile_set.bands, middle)  # None for weights of a checkpoint
        if recipe.init_from is not None and not resumable:
            start_from(model, recipe.init_from, data.tile_set.gsd)
        batch_size = batch_size_for(recipe, model.to(device), data, device)
        recipe = recipe.changed(batch_size=batch_size)
        shard = Shard(batch_size, recipe.accumulate, fabric.world_size, rank)
        recipe = with_rates(recipe, shard.step_size)
        if started and not settings.sets_budget:
            budget = started.budget
        else:
            budget = make_budget(
                epochs=settings.epochs,
                steps=settings.steps,
                minutes=settings.minutes,
                tiles=len(data.train),
                step_size=shard.step_size,
            )
        if recipe.compile is None:
            recipe = recipe.changed(compile=pays_to_compile(device, budget, builder))
        stored = stored_settings(
            settings,
            recipe,
            budget,
            devices=shard.devices,
            threads=threads,
            digest=data.digest() if rank == 0 else "",
            tile_set=tile_set,
        )
        run = started.run if started else Run(target or Path())
        if rank == 0 and started:
            locks.enter_context(locked(run.path))
            extend(started, recipe, budget, stored)
        elif rank == 0:
            run = _start(target, recipe, stored, locks, resume=settings.resume)
        launch(fabric)
        run = Run(Path(fabric.broadcast(str(run.path))))
        if fabric.broadcast(run.finished):
            return recall(run)
        agreed: StartedRun = fabric.broadcast(StartedRun.read(run))
        trainer = _make_trainer(model, origin, agreed, data, shard, fabric, progress)
        cores = max(1, min(threads, fabric.broadcast(threads)) // settings.devices)
        torch.set_num_threads(cores)
        trainer.workers = 1 if device.type == "cpu" else max(1, min(cores - 1, _MAX_READERS))
        trainer.watchers = _watchers(trainer, watch, tensorboard=settings.tensorboard)
        if settings.show_augment and fabric.is_global_zero:
            _show_augment(trainer, data)
        try:
            trainer.fit(begun)
            return finish(trainer, data, settings.arch, pictures=settings.pictures)
        except KeyboardInterrupt as interruption:
            if fabric.is_global_zero:
                interruption.args = (_how_to_resume(trainer, settings.arch),)
            raise


def rank_of(
    tiles: PathLike | None = None, *, output: PathLike | None = None, settings: TrainSettings | None = None
) -> int:
    """Return the rank of this process in the run that :func:`train` makes of the same arguments.

    Raises:
        TrainingError: The run to resume cannot be read.
        UsageError: The number of started processes is not the number of devices.
    """
    given = settings or TrainSettings()
    *_, started = _resolve(tiles, output, given)
    settings = started.settings_with(given) if started else given
    return process_rank(settings.devices, settings.nodes)


def _resolve(
    tiles: PathLike | None, output: PathLike | None, settings: TrainSettings
) -> tuple[Path | None, Path | None, StartedRun | None]:
    """Return the folders of tiles and run, as far as they are given, and the run to resume, if there is one."""
    source = None if tiles is None else Path(path(tiles, "tiles"))
    target = None if output is None else Path(path(output, "output"))
    if not settings.resume:
        return source, target, None
    source, target = named_run(source, target)
    return source, target, find_run(source, target, settings)


def _threads(settings: TrainSettings, started: StartedRun | None, device: torch.device) -> int:
    """Return the processor threads in all: those given, those that the run began with, or one for each free core."""
    if settings.threads:
        return settings.threads
    if started is None or device.type != "cpu":
        return threads_for(device)
    available = available_cores()
    threads = min(started.threads or available, available)  # an earlier version took all
    if threads < available:
        log.info(
            "The run goes on with %d of %d cores, as it began. `threads=%d` takes all.", threads, available, available
        )
    return threads


def _tile_folder(source: Path | None, target: Path | None, started: StartedRun | None, *, resume: bool) -> Path:
    """Return the folder of the tiles: the one that is given, else that of the run, else ``tiles``.

    Raises:
        TileError: The folder of the run is not there, or there is neither a run to resume nor a tile set.
    """
    folder = source or Path(started.tile_set if started else "tiles")
    if resume and started is None and not folder.is_dir():
        where = f"at {target}" if target else f"below {RUNS}/"
        raise TileError(
            f"There is no run to resume {where}, and no tile set {folder} to start one with.",
            hint="Name the folder of the run: `satseg.train('RUN', settings=satseg.TrainSettings(resume=True))`",
        )
    if started is not None and source is None and not folder.is_dir():
        raise TileError(
            f"The tiles of the run {started.run.path} are no longer at {folder}.",
            hint="Name their new folder: "
            f"`satseg.train('TILES', output={str(started.run.path)!r}, settings=satseg.TrainSettings(resume=True))`",
        )
    return folder


def _start(target: Path | None, recipe: Recipe, stored: Mapping[str, Any], locks: ExitStack, *, resume: bool) -> Run:
    """Claim and start a run."""
    if resume:
        log.info("There is no run to resume; starting one.")
    folder = target or claim_output(recipe.arch)
    locks.enter_context(locked(folder))
    run = Run.start(folder, stored)
    log.info("Training %s in %s%s", recipe.arch, run.path, ", with objects" if recipe.objects else "")
    return run


def _how_to_resume(trainer: Trainer, arch: str) -> str:
    """Describe the progress of an interrupted run, and how to resume it."""
    done = trainer.budget.describe(trainer.state.step, trainer.state.learning_seconds)
    return f"Interrupted after {done}. Resume with: {resume_call(trainer.run, arch)}"


def _make_trainer(
    model: nn.Module,
    origin: Origin | None,
    started: StartedRun,
    data: TrainingData,
    shard: Shard,
    fabric: Fabric,
    progress: Progress,
) -> Trainer:
    run = started.run
    recipe: Recipe = started.settings
    rarity = class_weights(recipe.class_weights, [tile.pixels for tile in data.train])
    clipping = data.clipping(recipe.clip_values)
    card = _make_card(recipe, data, origin, clipping)
    if run.resumable:
        checkpoint, tensors, values = run.load_last()
        checkpoint.load_into(model)
        card = replace(card, pretrained=checkpoint.card.pretrained, format=checkpoint.card.format)
    learner = Learner(model, recipe, data.tile_set.statistics, fabric, rarity, clipping, data.objects)
    state = _restore(started, learner, tensors, values) if run.resumable else LoopState()
    batches = TrainingBatches(
        data.train,
        data.reader,
        shard=replace(shard, rank=fabric.global_rank),
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        balance=recipe.balance,
    )
    return Trainer(
        learner=learner,
        batches=batches,
        validate=lambda network: data.score(network, shard.batch_size, fabric, progress),
        fabric=fabric,
        budget=started.budget,
        run=run,
        card=card,
        progress=progress,
        margin=needed_lead(len(data.val)),
        state=state,
    )


def _create(builder: str | Builder, recipe: Recipe, tile_set: TileSet, *, with_weights: bool) -> nn.Module:
    """Build the network with random weights that depend only on the seed, or pretrained ones for its encoder."""
    torch.manual_seed(recipe.seed)
    model = create_model(
        builder,
        in_channels=len(tile_set.bands),
        num_classes=len(tile_set.classes),
        objects=bool(recipe.objects),
        **(recipe.network_options if with_weights else lasting_options(recipe.network_options)),
    )
    if recipe.lora:
        attention_layers(encoder_of(model) or nn.Identity())  # refuses a network without
    return model


def _restore(
    started: StartedRun, learner: Learner, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> LoopState:
    """Restore the state of the optimiser, and return that of the loop."""
    run = started.run
    with blaming(run.last):
        learner.restore(tensors, values)
        state = LoopState.from_dict(values.get("loop"))
    if state.step == started.extended:
        state.stale = 0  # patience starts again
    log.info(
        "Resuming %s after %s, on the tiles in %s",
        run.path,
        started.budget.describe(state.step, state.learning_seconds),
        started.tile_set,
    )
    return state


def _make_card(recipe: Recipe, data: TrainingData, origin: Origin | None, clipping: Clipping | None) -> ModelCard:
    training, tile_set = recipe.to_dict(), data.tile_set
    smallest = smallest_objects(data.train, tile_set.classes, tile_set.gsd) if recipe.objects else None
    if not recipe.objects:
        del training["objects"]  # as before networks learnt them
    return ModelCard(
        arch=training.pop("arch"),
        arch_options=lasting_options(training.pop("arch_options")),
        clipping=clipping,
        objects=bool(recipe.objects),
        object_outputs=data.objects or ObjectOutputs.EDGES,
        division={"min_area": smallest} if smallest else {},
        classes=tile_set.classes,
        bands=tile_set.bands,
        statistics=tile_set.statistics,
        gsd=tile_set.gsd,
        tile_size=tile_set.tile_size,
        training=training,
        pretrained=origin.to_dict() if origin else {},
        labels=LabelMeaning.of_tiles(tile_set.provenance),
    )


def _watchers(
    trainer: Trainer, watch: Callable[[LogRow], None] | None, *, tensorboard: bool
) -> list[Callable[[LogRow], None]]:
    """Return the functions to call after every validation, which rank 0 does."""
    watchers = [] if watch is None else [watch]
    watchers.append(CollapseWatch(trainer.learner.recipe.peak_lr).see)
    if tensorboard and trainer.fabric.is_global_zero:
        watchers.append(Scalars(trainer.run.events, trainer.state.step).add)
    return watchers


def _show_augment(trainer: Trainer, data: TrainingData) -> None:
    batches = [trainer.batches.batch(number) for number in range(-(-SAMPLES // trainer.batches.shard.batch_size))]
    path = trainer.run.path / "augmented.png"
    draw_augmented(path, batches, data.tile_set)
    log.info("Training samples as the network sees them: %s", path)
