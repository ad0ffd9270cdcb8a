"""Train a network on a tile set."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from satseg import __version__
from satseg.backend import Builder, create_model, is_own_file, lasting_options, recorded_name, run_own_file
from satseg.backend.device import available_cores, reuse_freed_memory, select_device, select_precision
from satseg.checkpoint import ModelCard
from satseg.errors import TileError
from satseg.evaluation.confusion import score
from satseg.evaluation.tiles import score_tiles
from satseg.raster.gdal import gdal_environment
from satseg.records import EvaluationReport, Progress, TrainingSummary, no_progress
from satseg.runs import Run, newest_run, next_output
from satseg.tiles.batches import CACHE_BYTES, TileReader
from satseg.tiles.tileset import Tile, TileSet
from satseg.training.augment import Augmentation
from satseg.training.class_weights import class_weights as weigh_classes
from satseg.training.loop import Network, Trainer
from satseg.training.loss import Loss
from satseg.training.optimizers import adamw, restore_optimizer
from satseg.training.recipe import Recipe
from satseg.training.sampling import TrainingBatches
from satseg.training.schedule import Budget, make_budget
from satseg.training.state import LoopState

log = logging.getLogger("satseg")


def train(
    tiles: str | Path = "tiles",
    *,
    arch: str = "erfnet",
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: str | Path | None = None,
    output: str | Path | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int = 8,
    lr: float = 3e-3,
    weight_decay: float = 1e-2,
    loss: str = "ce + dice",
    class_weights: str = "none",
    augmentation: Augmentation | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    resume: bool = False,
    arch_options: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
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
        output: Folder of the run; None takes the next free ``runs/<arch>-<n>``.
        epochs: Passes over the train tiles. Without any budget, 40.
        steps: Optimiser updates, in place of ``epochs``.
        minutes: Minutes in all, in place of ``epochs``.
        batch_size: Tiles of a step.
        lr: Peak learning rate: it warms up to it and decays to 0.
        weight_decay: Of AdamW; norms and biases are not decayed.
        loss: What is minimised: a sum of ce, dice, focal, jaccard, lovasz, ohem, relaxed and tversky with factors.
        class_weights: ``none``, ``inverse`` or ``median`` (median frequency), in the losses of single pixels.
        augmentation: How far samples may be changed; None takes the defaults.
        seed: Number that all random choices follow from.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto``, or a precision as ``satseg.backend.device.select_precision`` takes it.
        threads: Processor threads in all; None takes as many as this process may use.
        cache_bytes: Memory for decoded tiles.
        resume: Continue the run at ``output`` (None: the newest one of ``arch``) with the budget it was started with,
            or start it where there is none.
        arch_options: Other options of the network.
        progress: Told after every step.

    Returns:
        How the run ended. A finished run that is resumed gives its summary again.

    Raises:
        TileError: There is no tile set, or nothing to train on.
        ArchitectureError: There is no such network, or it does not take these options.
        OutputError: The folder holds a run already, or cannot be written.
        TrainingError: The loss is not finite, or the run was started with other settings.
        UsageError: Arguments contradict each other.
        KeyboardInterrupt: After the state was saved.
    """
    started = perf_counter()
    where = select_device(device)
    builder = run_own_file(arch) if is_own_file(arch) else arch
    starting = {
        "encoder": encoder,
        "pretrained": pretrained,
        "encoder_weights": encoder_weights and str(encoder_weights),
    }
    recipe = Recipe(
        arch=recorded_name(arch),
        arch_options={**(arch_options or {}), **{name: value for name, value in starting.items() if value}},
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        loss=loss,
        class_weights=class_weights,
        augmentation=augmentation or Augmentation(),
        seed=seed,
        precision=select_precision(precision, where),
    )
    torch.set_num_threads(threads or available_cores())
    reuse_freed_memory()
    with gdal_environment():
        data = _Data.open(tiles, cache_bytes)
        budget = make_budget(epochs=epochs, steps=steps, minutes=minutes, tiles=len(data.train), batch_size=batch_size)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            model = _create(builder, recipe, data.tile_set)  # first of all, since it refuses wrong names and options
            if resume and (epochs, steps, minutes) == (None, None, None):
                budget = _started_budget(output, recipe) or budget
            run = _open_run(output, recipe, {"budget": asdict(budget), "tiles": data.digest()}, resume=resume)
            if run.finished:
                log.info("The run %s is finished already.", run.path)
                return _recall(run, data)
            trainer = _make_trainer(model, recipe, budget, data, run, where)
            trainer.progress = progress
            trainer.fit(started)
        return _finish(trainer, data)


@dataclass(frozen=True)
class _Data:
    """The tiles of a run."""

    tile_set: TileSet
    train: list[Tile]
    val: list[Tile]
    reader: TileReader

    @classmethod
    def open(cls, path: str | Path, cache_bytes: int) -> _Data:
        tile_set = TileSet.open(path)
        train = [tile for tile in tile_set.tiles("train") if tile.weight > 0]
        val = tile_set.tiles("val")
        if not train:
            raise TileError(
                f"The tile set {tile_set.path} has no tile to train on: its split train is empty.",
                hint="Look at the columns split and weight of its index, or tile again.",
            )
        if not val:
            log.warning("There are no val tiles: scores are of the train tiles, and too good to trust.")
        return cls(tile_set, train, val or train, TileReader(tile_set.tile_size, cache_bytes=cache_bytes))

    def digest(self) -> str:
        """Return a hash of which tiles there are and how they are used."""
        lines = [f"{tile.split} {tile.name} {tile.weight!r} {tile.pixels}" for tile in (*self.train, *self.val)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def score(self, network: Network, batch_size: int) -> EvaluationReport:
        """Score a network on the validation tiles."""
        names = self.tile_set.classes.names
        return score_tiles(network, self.val, self.reader, names=names, batch_size=batch_size)


def _started_budget(output: str | Path | None, recipe: Recipe) -> Budget | None:
    """Return the budget that the run to resume was started with, or None where there is no run."""
    path = newest_run(recipe.arch) if output is None else Path(output)
    if path is None or not Run(path).started:
        return None
    return Budget(**Run(path).read_settings()["budget"])


def _open_run(output: str | Path | None, recipe: Recipe, more: Mapping[str, Any], *, resume: bool) -> Run:
    """Start a run, or open the one to resume."""
    settings = {**recipe.to_dict(), **more}
    if resume:
        path = newest_run(recipe.arch) if output is None else Path(output)
        if path is not None and Run(path).started:
            return Run.resume(path, settings)
        log.info("There is no run to resume; starting one.")
    run = Run.start(next_output(recipe.arch) if output is None else Path(output), settings)
    log.info("Training %s in %s", recipe.arch, run.path)
    return run


def _make_trainer(
    model: nn.Module, recipe: Recipe, budget: Budget, data: _Data, run: Run, device: torch.device
) -> Trainer:
    weights, tensors, state = _load_state(run) if run.resumable else (model.state_dict(), {}, LoopState())
    model.load_state_dict(weights)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = adamw(model, lr=recipe.lr, weight_decay=recipe.weight_decay)
    restore_optimizer(optimizer, tensors)
    rarity = weigh_classes(recipe.class_weights, [tile.pixels for tile in data.train])
    criterion = Loss(recipe.loss, None if rarity is None else torch.from_numpy(rarity))
    return Trainer(
        model=model,
        optimizer=optimizer,
        criterion=criterion.to(device),
        batches=TrainingBatches(
            data.train,
            data.reader,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            augmentation=recipe.augmentation,
        ),
        validate=lambda network: data.score(network, recipe.batch_size),
        validation_batches=-(-len(data.val) // recipe.batch_size),
        fabric=_make_fabric(device, recipe.precision),
        budget=budget,
        lr=recipe.lr,
        seed=recipe.seed,
        run=run,
        card=_make_card(recipe, data.tile_set),
        state=state,
    )


def _create(builder: str | Builder, recipe: Recipe, tile_set: TileSet) -> nn.Module:
    """Build the network with fresh weights that depend on the seed alone."""
    torch.manual_seed(recipe.seed)
    return create_model(
        builder,
        in_channels=len(tile_set.bands),
        num_classes=len(tile_set.classes),
        **recipe.arch_options,
    )


def _load_state(run: Run) -> tuple[dict[str, Tensor], dict[str, Tensor], LoopState]:
    checkpoint, tensors, values = run.load_last()
    state = LoopState(**values)
    log.info("Continuing %s after step %d", run.path, state.step)
    return checkpoint.read_weights(), tensors, state


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


def _make_fabric(device: torch.device, precision: str) -> Fabric:
    """Return Fabric for one device. Mixed precision goes in as an object: by name, Fabric announces it on stderr."""
    devices = [device.index or 0] if device.type == "cuda" else 1
    if precision == "32-true":
        return Fabric(accelerator=device.type, devices=devices, precision="32-true")
    scaler = torch.amp.GradScaler(device.type) if precision == "16-mixed" else None
    plugin = MixedPrecision(precision, device.type, scaler)  # type: ignore[arg-type]
    return Fabric(accelerator=device.type, devices=devices, plugins=[plugin])


def _finish(trainer: Trainer, data: _Data) -> TrainingSummary:
    """Write the run record and return the summary."""
    run, state = trainer.run, trainer.state
    numbers = {
        "arch": trainer.card.arch,
        "steps": state.step,
        "epochs": trainer.batches.epochs(state.step),
        "seconds": state.seconds,
        "loss": state.loss,
    }
    run.finish({"satseg": __version__, **numbers, "confusion": state.best_confusion})
    return _recall(run, data)


def _recall(run: Run, data: _Data) -> TrainingSummary:
    """Read the summary of a finished run from its record."""
    record = run.read_record()
    validation = score(np.array(record["confusion"]), data.tile_set.classes.names)
    numbers = {name: record[name] for name in ("arch", "steps", "epochs", "seconds", "loss")}
    return TrainingSummary(path=str(run.path), best=str(run.best), last=str(run.last), validation=validation, **numbers)
