"""Train a network on a tile set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from satseg.arguments import PathLike, path
from satseg.backend import Builder, create_model, is_custom_file, lasting_options, run_custom_file
from satseg.backend.device import available_cores, reuse_freed_memory, select_device
from satseg.checkpoint import Checkpoint, ModelCard
from satseg.errors import CheckpointError, TileError, UsageError
from satseg.files.atomic_write import claimed
from satseg.files.gdal import gdal_environment
from satseg.labels.label_meaning import LabelMeaning
from satseg.progress import automatic
from satseg.records import Progress, TrainingSummary
from satseg.runs import RUNS, Run, claim_output
from satseg.runs.log import LogRow
from satseg.runs.scalars import Scalars, check_tensorboard
from satseg.signatures import check_choices, checked
from satseg.tiles.batches import CACHE_BYTES
from satseg.tiles.tileset import TileSet
from satseg.training.batch_size import choose_batch_size
from satseg.training.class_weights import class_weights
from satseg.training.devices import launch, make_fabric, process_rank
from satseg.training.learner import Learner
from satseg.training.loop import Trainer
from satseg.training.recipe import Recipe
from satseg.training.sampling import Shard, TrainingBatches
from satseg.training.state import LoopState
from satseg.training.transfer import transfer
from satseg.workflows.train_record import finish, recall
from satseg.workflows.train_request import (
    Circumstances,
    Request,
    Started,
    go_on,
    resume_line,
    settings_of,
    told,
)
from satseg.workflows.training_data import TrainingData
from satseg.workflows.training_pictures import SAMPLES, draw_augmented

log = logging.getLogger("satseg")

_READERS = 8  # threads that prepare batches for a GPU, at most


@checked
def train(
    tiles: PathLike | None = None,
    *,
    arch: str | None = None,
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: PathLike | None = None,
    arch_options: Mapping[str, Any] | None = None,
    init_from: PathLike | None = None,
    output: PathLike | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int | Literal["auto"] | None = None,
    device: str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    precision: str | None = None,
    threads: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    resume: bool = False,
    pictures: bool | None = None,
    show_augment: bool = False,
    tensorboard: bool | None = None,
    progress: Progress = automatic,
    watch: Callable[[LogRow], None] | None = None,
    **choices: Any,
) -> TrainingSummary:
    """Train a network on the train tiles of a tile set, and keep what scores best on its val tiles.

    With a budget of epochs or steps, two runs on a processor with the same arguments and threads give the same bytes,
    whether they were interrupted and resumed or not. A GPU sums some gradients in no fixed order.

    Whatever is not given has its default, or with ``resume`` is what the run was started with. A run that is resumed
    with another budget or ``patience`` goes on to that end, also when it was finished: weights, moments, averages and
    the log go on, ``patience`` begins anew, and the learning rate is what its schedule has at this step of the new
    budget (:mod:`satseg.training.schedule`).

    Args:
        tiles: Folder of a tile set, ``tiles`` by default; with ``resume``, that of a run will do, too.
        arch: Network: a name from ``satseg.list_architectures``, ``erfnet`` by default, or
            ``path/to/file.py:function``, which runs that file.
        encoder: Backbone of timm in place of the network's own.
        pretrained: Start the encoder from timm's weights, which are fetched once.
        encoder_weights: File with weights of the encoder, instead of fetching them.
        arch_options: Other options of the network.
        init_from: Checkpoint, or folder of a run, whose weights the network starts from, so far as they fit.
        output: Folder of the run; None takes the next free ``runs/<arch>-<n>``.
        epochs: Passes over the train tiles. Without any budget, 40.
        steps: Optimiser updates, in place of ``epochs``.
        minutes: Minutes of learning, in place of ``epochs``; starting up, validating and drawing come on top.
        batch_size: Tiles at a time on each device, 8 by default; ``auto`` takes as many as fit into memory, 64 at most.
        device: ``auto``, the default, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        devices: Devices to train on, on each node; one by default. Several of them start this script once more each.
        nodes: Machines to train on, one by default.
        precision: ``auto``, the default, or one as ``satseg.backend.device.select_precision`` takes it.
        threads: Processor threads in all, on each node; None takes as many as this process may use.
        cache_bytes: Memory for decoded tiles, on each node.
        resume: Go on with the run at ``output``, or else with the newest unfinished one below ``runs/`` (of ``arch``,
            if that is given); with a budget, with the newest one. Start one where there is none.
        pictures: Draw the curves of the run and its best and worst validation tiles into its folder at the end, which
            is the default.
        show_augment: Draw training samples as the network will see them into the folder at the beginning.
        tensorboard: Write the log as TensorBoard events too.
        progress: Told after every step.
        watch: Told after every validation.
        choices: How to train: fields of :class:`satseg.training.recipe.Recipe` (``loss``, ``lr``, ``augment``, ...).

    Returns:
        How the run ended. A finished run that is resumed gives its summary again.

    Raises:
        TileError: There is no tile set, nothing to train on, or nothing to validate on.
        ArchitectureError: There is no such network, or it does not take these options.
        CheckpointError: There is nothing to start from at ``init_from``, or none of it fits.
        OutputError: The folder holds something already, another process trains in it, or it cannot be written.
        TrainingError: The loss is not finite; or the run was started with other settings, or has spent more already
            than it is to have.
        UsageError: Arguments contradict each other, or there is no such choice.
        KeyboardInterrupt: After the state was saved.
    """
    begun = perf_counter()
    encoder_weights = None if encoder_weights is None else path(encoder_weights, "encoder_weights")
    how_long = {"epochs": epochs, "steps": steps, "minutes": minutes}
    check_choices(choices, train, Recipe)
    request = Request(
        tiles=None if tiles is None else Path(path(tiles, "tiles")),
        output=None if output is None else Path(path(output, "output")),
        arch=arch,
        arch_options={**(arch_options or {}), **_encoder_options(encoder, pretrained, encoder_weights)},
        how_long=how_long,
        devices=devices,
        circumstances={
            "device": device,
            "nodes": nodes,
            "threads": threads,
            "pictures": pictures,
            "tensorboard": tensorboard,
        },
        choices={
            "init_from": None if init_from is None else str(path(init_from, "init_from")),
            "batch_size": None if batch_size == "auto" else batch_size,
            "precision": precision,
            **choices,
        },
    )
    if resume:
        request = request.naming_its_run()
    started = request.find() if resume else None
    beside = request.beside(started)
    if beside.tensorboard:
        check_tensorboard()
    where = select_device(beside.device)
    devices = request.devices_with(beside.nodes, started)
    first = process_rank(devices, beside.nodes) == 0
    if request.output is not None and first:
        Run(request.output).check_writable(resume=resume)
    recipe = request.recipe(started, where)
    if started and started.run.finished and request.tiles is None and not request.changes_the_end(started):
        return recall(started.run)
    builder = run_custom_file(arch) if arch is not None and is_custom_file(arch) else recipe.arch
    if beside.threads is not None and beside.threads < 1:
        raise UsageError(f"--threads is {beside.threads}; it starts at 1.")
    fabric = make_fabric(where, recipe.precision, devices=devices, nodes=beside.nodes)
    threads = max(1, (beside.threads or available_cores()) // devices)
    torch.set_num_threads(threads)
    reuse_freed_memory()
    with gdal_environment(), torch.random.fork_rng(range(torch.cuda.device_count())), ExitStack() as claims:
        data = TrainingData.open(
            _tiles_of(beside, request, started, resume=resume), cache_bytes // devices, recipe.val_split
        )
        resumable = started is not None and started.run.resumable
        model = _create(builder, recipe, data.tile_set, with_weights=not resumable)  # refuses wrong names and options
        if recipe.init_from is not None and not resumable:
            _start_from(model, recipe.init_from)
        if batch_size == "auto" and started is None:
            recipe = replace(recipe, batch_size=_fitting(model.to(where), data))
        shard = Shard(recipe.batch_size, recipe.accumulate, fabric.world_size, process_rank(devices, beside.nodes))
        budget = request.budget(started, tiles=len(data.train), step_size=shard.step_size)
        settings = settings_of(recipe, budget, shard.devices, data.digest() if first else "", beside)
        run = started.run if started else Run(request.output or Path())
        if first and started:
            claims.enter_context(claimed(run.path))
            go_on(started, recipe, budget, settings)
        elif first:
            run = _start(request, recipe, settings, claims, resume=resume)
        launch(fabric)
        run = Run(Path(fabric.broadcast(str(run.path))))
        if fabric.broadcast(run.finished):
            return recall(run)
        agreed: Started = fabric.broadcast(Started.read(run))
        trainer = _make_trainer(model, agreed, data, fabric, progress)
        trainer.workers = 1 if where.type == "cpu" else max(1, min(threads - 1, _READERS))
        trainer.watchers = _watchers(trainer, watch, tensorboard=beside.tensorboard)
        if show_augment and fabric.is_global_zero:
            _show_augment(trainer, data)
        try:
            trainer.fit(begun)
            return finish(trainer, data, arch or recipe.arch, pictures=beside.pictures)
        except KeyboardInterrupt as interruption:
            if fabric.is_global_zero:
                interruption.args = (_way_on(trainer, arch or recipe.arch),)
            raise


def process_of(
    *,
    tiles: PathLike | None = None,
    output: PathLike | None = None,
    arch: str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    resume: bool = False,
    **others: Any,
) -> int:
    """Return the number of this process among those of the run that :func:`train` makes of the same arguments, from 0.

    Raises:
        TrainingError: The run to resume cannot be read.
        UsageError: Another number of processes was started than the run has devices.
    """
    request = Request(
        tiles=None if tiles is None else Path(tiles),
        output=None if output is None else Path(output),
        arch=arch,
        how_long={name: others.get(name) for name in ("epochs", "steps", "minutes")},
        devices=devices,
        circumstances={"nodes": nodes},
    )
    started = request.naming_its_run().find() if resume else None
    machines = request.beside(started).nodes
    return process_rank(request.devices_with(machines, started), machines)


def _encoder_options(encoder: str | None, pretrained: bool, weights: str | Path | None) -> dict[str, Any]:
    """Return the options of a network that choose its encoder, without those that were not given."""
    options = {"encoder": encoder, "pretrained": pretrained, "encoder_weights": weights and str(weights)}
    return {name: value for name, value in options.items() if value}


def _tiles_of(beside: Circumstances, request: Request, started: Started | None, *, resume: bool) -> Path:
    """Return the folder of the tiles.

    Raises:
        TileError: It is not there, though the run to go on with names it; or there is neither such a run nor tiles.
    """
    path = Path(beside.tile_set)
    if resume and started is None and not path.is_dir():
        where = f"at {request.output}" if request.output else f"below {RUNS}/"
        raise TileError(
            f"There is no run to resume {where}, and no tile set {path} to start one with.",
            hint="Name the folder of the run: satseg train --resume RUN",
        )
    if started is not None and request.tiles is None and not path.is_dir():
        raise TileError(
            f"The tiles of the run {started.run.path} are not at {path} any more.",
            hint=f"Say where they are now: satseg train TILES --resume -o {started.run.path}",
        )
    return path


def _start(request: Request, recipe: Recipe, settings: Mapping[str, Any], claims: ExitStack, *, resume: bool) -> Run:
    """Claim and start a run."""
    if resume:
        log.info("There is no run to resume; starting one.")
    path = request.output or claim_output(recipe.arch)
    claims.enter_context(claimed(path))
    run = Run.start(path, settings)
    log.info("Training %s in %s", recipe.arch, run.path)
    return run


def _way_on(trainer: Trainer, arch: str) -> str:
    """Say where a run that is interrupted stands, and how it goes on."""
    state = trainer.state
    stands = trainer.budget.describe(state.step, state.learning_seconds)
    return f"Interrupted after {stands}; continue with: {resume_line(trainer.run, arch)}"


def _make_trainer(
    model: nn.Module, started: Started, data: TrainingData, fabric: Fabric, progress: Progress
) -> Trainer:
    run, recipe = started.run, started.recipe
    rarity = class_weights(recipe.class_weights, [tile.pixels for tile in data.train])
    if run.resumable:
        checkpoint, tensors, values = run.load_last()
        checkpoint.load_into(model)
    learner = Learner(model, recipe, data.tile_set.statistics, fabric, rarity)
    state = _restore(started, learner, tensors, values) if run.resumable else LoopState()
    batches = TrainingBatches(
        data.train,
        data.reader,
        shard=Shard(recipe.batch_size, recipe.accumulate, fabric.world_size, fabric.global_rank),
        seed=recipe.seed,
        augmentation=recipe.augment,
        balance=recipe.balance,
    )
    return Trainer(
        learner=learner,
        batches=batches,
        validate=lambda network: data.score(network, recipe.batch_size, fabric, progress),
        fabric=fabric,
        budget=started.budget,
        run=run,
        card=_make_card(recipe, data.tile_set),
        progress=progress,
        state=state,
    )


def _start_from(model: nn.Module, path: str) -> None:
    """Copy what fits of a checkpoint's weights into a network, and say what does not."""
    source = Checkpoint.load(path)
    try:
        log.info("Starting from %s: %s.", source.path, transfer(model, source.read_weights()))
    except CheckpointError as error:
        raise CheckpointError(f"{source.path} cannot be started from. {error.message}", hint=error.hint) from error


def _fitting(model: nn.Module, data: TrainingData) -> int:
    """Return the tiles that fit into memory at once."""
    size = choose_batch_size(
        model,
        in_channels=len(data.tile_set.bands),
        size=data.tile_set.tile_size,
        tiles=len(data.train),
    )
    log.info("%d tiles at a time fit into memory.", size)
    return size


def _create(builder: str | Builder, recipe: Recipe, tile_set: TileSet, *, with_weights: bool) -> nn.Module:
    """Build the network with fresh weights that depend on the seed alone; those of its encoder only where asked for."""
    torch.manual_seed(recipe.seed)
    return create_model(
        builder,
        in_channels=len(tile_set.bands),
        num_classes=len(tile_set.classes),
        **(recipe.arch_options if with_weights else lasting_options(recipe.arch_options)),
    )


def _restore(started: Started, learner: Learner, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> LoopState:
    """Put the state of the optimiser back, and return where the loop stood."""
    run = started.run
    with told(run.last):
        learner.restore(tensors, values)
        state = LoopState.from_dict(values.get("loop"))
    if state.step == started.extended:
        state.stale = 0  # patience begins anew
    log.info(
        "Continuing %s after %s, on the tiles of %s",
        run.path,
        started.budget.describe(state.step, state.learning_seconds),
        started.circumstances.tile_set,
    )
    return state


def _make_card(recipe: Recipe, tile_set: TileSet) -> ModelCard:
    training = recipe.to_dict()
    return ModelCard(
        arch=training.pop("arch"),
        arch_options=lasting_options(training.pop("arch_options")),
        classes=tile_set.classes,
        bands=tile_set.bands,
        statistics=tile_set.statistics,
        gsd=tile_set.gsd,
        tile_size=tile_set.tile_size,
        training=training,
        labels=LabelMeaning.of_tiles(tile_set.provenance),
    )


def _watchers(
    trainer: Trainer, watch: Callable[[LogRow], None] | None, *, tensorboard: bool
) -> list[Callable[[LogRow], None]]:
    """Return who is told of validations; processes beside the first tell nobody."""
    watchers = [] if watch is None else [watch]
    if tensorboard and trainer.fabric.is_global_zero:
        watchers.append(Scalars(trainer.run.events, trainer.state.step).add)
    return watchers


def _show_augment(trainer: Trainer, data: TrainingData) -> None:
    batches = [trainer.batches.batch(number) for number in range(-(-SAMPLES // trainer.batches.shard.batch_size))]
    path = trainer.run.path / "augmented.png"
    draw_augmented(path, batches, data.tile_set)
    log.info("Training samples as the network sees them: %s", path)
