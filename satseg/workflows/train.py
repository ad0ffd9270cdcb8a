"""Train a network on a tile set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from satseg import __version__
from satseg.arguments import PathLike, checked, path
from satseg.backend import Builder, create_model, is_own_file, lasting_options, recorded_name, run_own_file
from satseg.backend.device import available_cores, reuse_freed_memory, select_device, select_precision
from satseg.checkpoint import Checkpoint, ModelCard
from satseg.errors import CheckpointError, TrainingError, UsageError, one_line
from satseg.evaluation.confusion import score
from satseg.fields import Fields
from satseg.progress import automatic
from satseg.raster.gdal import gdal_environment
from satseg.records import Progress, ProgressEvent, TrainingSummary
from satseg.runs import Run, claim_output, newest_run
from satseg.runs.log import LogRow
from satseg.runs.scalars import Scalars, check_tensorboard
from satseg.staging import claimed
from satseg.tiles.batches import CACHE_BYTES
from satseg.tiles.tileset import TileSet
from satseg.training.batch_size import choose_batch_size
from satseg.training.class_weights import class_weights
from satseg.training.devices import launch, make_fabric, process_rank
from satseg.training.learner import Learner
from satseg.training.loop import Trainer
from satseg.training.recipe import Recipe
from satseg.training.sampling import Share, TrainingBatches
from satseg.training.schedule import Budget, make_budget
from satseg.training.state import LoopState
from satseg.training.transfer import transfer
from satseg.workflows.training_data import TrainingData
from satseg.workflows.training_pictures import SAMPLES, draw_augmented, draw_curves, draw_tiles
from satseg.workflows.undertrained import warn_of_training

log = logging.getLogger("satseg")

_READERS = 8  # threads that prepare batches for a GPU, at most


@checked
def train(
    tiles: PathLike = "tiles",
    *,
    arch: str = "erfnet",
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: PathLike | None = None,
    arch_options: Mapping[str, Any] | None = None,
    init_from: PathLike | None = None,
    output: PathLike | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = 8,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "auto",
    threads: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    resume: bool = False,
    pictures: bool = True,
    show_augment: bool = False,
    tensorboard: bool = False,
    progress: Progress = automatic,
    watch: Callable[[LogRow], None] | None = None,
    **choices: Any,
) -> TrainingSummary:
    """Train a network on the train tiles of a tile set, and keep what scores best on its val tiles.

    With a budget of epochs or steps, two runs on a processor with the same arguments and threads give the same bytes,
    whether they were interrupted and resumed or not. A GPU sums some gradients in no fixed order.

    Args:
        tiles: Folder of a tile set.
        arch: Network: a name from ``satseg.list_architectures``, or ``path/to/file.py:function``, which runs that file.
        encoder: Backbone of timm in place of the network's own.
        pretrained: Start the encoder from timm's weights, which are fetched once.
        encoder_weights: File with weights of the encoder, instead of fetching them.
        arch_options: Other options of the network.
        init_from: Checkpoint, or folder of a run, whose weights the network starts from, so far as they fit.
        output: Folder of the run; None takes the next free ``runs/<arch>-<n>``.
        epochs: Passes over the train tiles. Without any budget, 40.
        steps: Optimiser updates, in place of ``epochs``.
        minutes: Minutes of learning, in place of ``epochs``; starting up, validating and drawing come on top.
        batch_size: Tiles at a time on each device; None takes as many as fit into memory, 64 at most.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        devices: Devices to train on, on each node. Several of them start this script once more each.
        nodes: Machines to train on.
        precision: ``auto``, or a precision as ``satseg.backend.device.select_precision`` takes it.
        threads: Processor threads in all, on each node; None takes as many as this process may use.
        cache_bytes: Memory for decoded tiles, on each node.
        resume: Continue the run at ``output`` (None: the newest one of ``arch``) with the budget it was started with,
            or start it where there is none.
        pictures: Draw the curves of the run and its best and worst validation tiles into its folder at the end.
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
        TrainingError: The loss is not finite, or the run was started with other settings.
        UsageError: Arguments contradict each other, or there is no such choice.
        KeyboardInterrupt: After the state was saved.
    """
    started = perf_counter()
    tiles, output = path(tiles, "tiles"), None if output is None else path(output, "output")
    encoder_weights = None if encoder_weights is None else path(encoder_weights, "encoder_weights")
    init_from = None if init_from is None else path(init_from, "init_from")
    if tensorboard:
        check_tensorboard()
    where = select_device(device)
    if output is not None and process_rank(devices, nodes) == 0:
        Run(Path(output)).check_writable(resume=resume)
    builder = run_own_file(arch) if is_own_file(arch) else arch
    recipe = Recipe.of(
        {
            "arch": recorded_name(arch),
            "arch_options": {**(arch_options or {}), **_encoder_options(encoder, pretrained, encoder_weights)},
            "init_from": init_from,
            "batch_size": 1 if batch_size is None else batch_size,
            "precision": select_precision(precision, where),
            **choices,
        }
    )
    if threads is not None and threads < 1:
        raise UsageError(f"--threads is {threads}; it starts at 1.")
    fabric = make_fabric(where, recipe.precision, devices=devices, nodes=nodes)
    threads = max(1, (threads or available_cores()) // devices)
    torch.set_num_threads(threads)
    reuse_freed_memory()
    with gdal_environment(), torch.random.fork_rng(range(torch.cuda.device_count())), ExitStack() as claims:
        data = TrainingData.open(tiles, cache_bytes // devices, recipe.val_split)
        model = _create(builder, recipe, data.tile_set)  # first of all, since it refuses wrong names and options
        old = _begun(output, recipe) if resume else None
        if recipe.init_from is not None and not (old and old.resumable):
            _start_from(model, recipe.init_from)
        if batch_size is None:
            recipe = replace(recipe, batch_size=_fitting(model.to(where), data, old))
        share = Share(recipe.batch_size, recipe.accumulate, fabric.world_size, process_rank(devices, nodes))
        budget = _budget(epochs, steps, minutes, len(data.train), share, old)
        run = _open_run(output, recipe, budget, share, data, claims, resume=resume)
        launch(fabric)
        run = Run(Path(fabric.broadcast(str(run.path))))
        if run.finished:
            log.info("The run %s is finished already.", run.path)
            return _recall(run, data)
        trainer = _make_trainer(model, recipe, budget, data, run, fabric, progress)
        trainer.workers = 1 if where.type == "cpu" else max(1, min(threads - 1, _READERS))
        trainer.watchers = _watchers(trainer, watch, tensorboard=tensorboard)
        if show_augment and fabric.is_global_zero:
            _show_augment(trainer, data)
        trainer.fit(started)
        return _finish(trainer, data, pictures=pictures)


def _encoder_options(encoder: str | None, pretrained: bool, weights: str | Path | None) -> dict[str, Any]:
    """Return the options of a network that choose its encoder, without those that were not given."""
    options = {"encoder": encoder, "pretrained": pretrained, "encoder_weights": weights and str(weights)}
    return {name: value for name, value in options.items() if value}


def _budget(
    epochs: float | None, steps: int | None, minutes: float | None, tiles: int, share: Share, old: Run | None
) -> Budget:
    """Return what was asked for; where nothing was, what the run to resume was started with."""
    if old and (epochs, steps, minutes) == (None, None, None):
        with _told(old.settings):
            return Budget.from_dict(old.read_settings().get("budget"))
    return make_budget(epochs=epochs, steps=steps, minutes=minutes, tiles=tiles, step_size=share.step_size)


def _begun(output: str | Path | None, recipe: Recipe) -> Run | None:
    """Return the run to resume, None where there is none."""
    path = newest_run(recipe.arch) if output is None else Path(output)
    return None if path is None or not Run(path).started else Run(path)


def _open_run(
    output: str | Path | None,
    recipe: Recipe,
    budget: Budget,
    share: Share,
    data: TrainingData,
    claims: ExitStack,
    *,
    resume: bool,
) -> Run:
    """Claim and start a run, or the one to resume; processes beside the first only guess at its folder."""
    path = newest_run(recipe.arch) if output is None else Path(output)
    if share.rank > 0:
        return Run(path or Path())
    settings = {**recipe.to_dict(), "devices": share.devices, "budget": asdict(budget), "tiles": data.digest()}
    if resume:
        if path is not None and Run(path).started:
            claims.enter_context(claimed(path))
            return Run.resume(path, settings)
        log.info("There is no run to resume; starting one.")
    path = claim_output(recipe.arch) if output is None else Path(output)
    claims.enter_context(claimed(path))
    run = Run.start(path, settings)
    log.info("Training %s in %s", recipe.arch, run.path)
    return run


def _make_trainer(
    model: nn.Module,
    recipe: Recipe,
    budget: Budget,
    data: TrainingData,
    run: Run,
    fabric: Fabric,
    progress: Progress,
) -> Trainer:
    rarity = class_weights(recipe.class_weights, [tile.pixels for tile in data.train])
    if run.resumable:
        checkpoint, tensors, values = run.load_last()
        checkpoint.load_into(model)
    learner = Learner(model, recipe, data.tile_set.statistics, fabric, rarity)
    state = _restore(run, learner, tensors, values) if run.resumable else LoopState()
    batches = TrainingBatches(
        data.train,
        data.reader,
        share=Share(recipe.batch_size, recipe.accumulate, fabric.world_size, fabric.global_rank),
        seed=recipe.seed,
        augmentation=recipe.augment,
        balance=recipe.balance,
    )
    return Trainer(
        learner=learner,
        batches=batches,
        validate=lambda network: data.score(network, recipe.batch_size, fabric, progress),
        fabric=fabric,
        budget=budget,
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


def _fitting(model: nn.Module, data: TrainingData, old: Run | None) -> int:
    """Return the tiles that fit into memory at once, or that did when the run to resume was started."""
    if old:
        with _told(old.settings):
            return Fields(old.read_settings()).whole("batch_size", least=1)
    size = choose_batch_size(
        model,
        in_channels=len(data.tile_set.bands),
        size=data.tile_set.tile_size,
        tiles=len(data.train),
    )
    log.info("%d tiles at a time fit into memory.", size)
    return size


def _create(builder: str | Builder, recipe: Recipe, tile_set: TileSet) -> nn.Module:
    """Build the network with fresh weights that depend on the seed alone."""
    torch.manual_seed(recipe.seed)
    return create_model(
        builder,
        in_channels=len(tile_set.bands),
        num_classes=len(tile_set.classes),
        **recipe.arch_options,
    )


def _restore(run: Run, learner: Learner, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> LoopState:
    """Put the state of the optimiser back, and return where the loop stood."""
    with _told(run.last):
        learner.restore(tensors, values)
        state = LoopState.from_dict(values.get("loop"))
    log.info("Continuing %s after step %d", run.path, state.step)
    return state


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file of a run holds what it may not: somebody edited it, or it belongs to another run."""
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise TrainingError(
            f"The run cannot be continued from {path}: {one_line(error)}.",
            hint="Start the run again without --resume, into another folder.",
        ) from error


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
    batches = [trainer.batches.batch(number) for number in range(-(-SAMPLES // trainer.batches.share.batch_size))]
    path = trainer.run.path / "augmented.png"
    draw_augmented(path, batches, data.tile_set)
    log.info("Training samples as the network sees them: %s", path)


def _finish(trainer: Trainer, data: TrainingData, *, pictures: bool) -> TrainingSummary:
    """Draw the pictures, write the run record, which makes the run a finished one, and return the summary."""
    run, fabric = trainer.run, trainer.fabric
    if fabric.is_global_zero:
        if pictures:
            _draw(trainer, data)
        run.finish(_record(trainer, data))
    fabric.barrier()
    summary = _recall(run, data)
    warn_of_training(summary)
    return summary


def _draw(trainer: Trainer, data: TrainingData) -> None:
    run, learner = trainer.run, trainer.learner
    trainer.progress(ProgressEvent("Drawing", 0, 2, "picture"))
    draw_curves(run.path / "curves.png", run.log.rows(), data.tile_set.classes)
    trainer.progress(ProgressEvent("Drawing", 1, 2, "picture"))
    learner.model.load_state_dict(Checkpoint.load(run.best).read_weights())
    learner.model.eval()
    draw_tiles(run.path / "tiles.png", learner.logits, data.val, data.reader, data.tile_set)


def _record(trainer: Trainer, data: TrainingData) -> dict[str, Any]:
    """Return what is known of a run at its end; ``settings`` is all that it was started with."""
    state = trainer.state
    patience = trainer.learner.recipe.patience
    return {
        "satseg": __version__,
        "arch": trainer.card.arch,
        "steps": state.step,
        "epochs": trainer.batches.epochs(state.step),
        "seconds": state.seconds,
        "loss": state.loss,
        "ended_by": "patience" if 0 < patience <= state.stale else "budget",
        "best_step": state.best_step,
        "best_miou": state.best_miou,
        "confusion": state.best_confusion,
        "device": trainer.fabric.device.type,
        "tile_set": str(data.tile_set.path),
        "train_tiles": len(data.train),
        "val_tiles": len(data.val),
        "settings": trainer.run.read_settings(),
    }


def _recall(run: Run, data: TrainingData) -> TrainingSummary:
    """Read the summary of a finished run from its record."""
    with _told(run.record):
        record = Fields(run.read_record())
        return TrainingSummary(
            path=str(run.path),
            best=str(run.best),
            last=str(run.last),
            arch=record.text("arch"),
            steps=record.whole("steps"),
            **{name: record.number(name) for name in ("epochs", "seconds", "loss")},
            validation=score(np.array(record.counts("confusion")), data.tile_set.classes.names),
        )
