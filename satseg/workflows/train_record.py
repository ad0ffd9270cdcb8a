"""End of a run: its pictures, its record, and the summary that is read from the record."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from satseg.checkpoint import Checkpoint
from satseg.evaluation.confusion import score
from satseg.fields import Fields
from satseg.records import ProgressEvent, TrainingSummary
from satseg.runs import Run
from satseg.training.loop import Trainer
from satseg.version import __version__
from satseg.workflows.train_resume import blaming, resume_call
from satseg.workflows.training_data import TrainingData
from satseg.workflows.training_pictures import draw_curves, draw_tiles
from satseg.workflows.undertrained import only_class, warn_of_training

log = logging.getLogger("satseg")


def finish(trainer: Trainer, data: TrainingData, arch: str, *, pictures: bool) -> TrainingSummary:
    """Draw the pictures, write the record, which marks the run as finished, and return the summary.

    Args:
        trainer: The trainer at the end of the run.
        data: Tiles of the run.
        arch: Network as the user named it.
        pictures: Whether to draw pictures.
    """
    run, fabric = trainer.run, trainer.fabric
    if fabric.is_global_zero:
        if pictures:
            _draw(trainer, data)
        run.finish(_record(trainer, data))
    fabric.barrier()
    summary = _summary(run)
    # A network that starts from a checkpoint has learnt before.
    seconds = None if trainer.learner.recipe.init_from else trainer.budget.seconds
    warn_of_training(
        summary,
        lambda minutes: resume_call(run, arch, minutes=minutes),
        learning_minutes=None if seconds is None else seconds / 60,
    )
    return summary


def _draw(trainer: Trainer, data: TrainingData) -> None:
    run, learner = trainer.run, trainer.learner
    trainer.progress(ProgressEvent("Drawing", 0, 2, "picture"))
    draw_curves(run.path / "curves.png", run.log.rows(), data.tile_set.classes)
    trainer.progress(ProgressEvent("Drawing", 1, 2, "picture"))
    learner.load_final(Checkpoint.load(run.best).read_weights())
    learner.model.eval()
    draw_tiles(run.path / "tiles.png", learner.logits, data.val, data.reader, data.tile_set)


def _record(trainer: Trainer, data: TrainingData) -> dict[str, Any]:
    """Return the record of a finished run; ``settings`` are those in its folder."""
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
        "best_weights": state.best_weights,
        "confusion": state.best_confusion,
        "device": trainer.fabric.device.type,
        "tile_set": str(data.tile_set.path),
        "train_tiles": len(data.train),
        "val_tiles": len(data.val),
        "settings": trainer.run.read_settings(),
    }


def recall(run: Run) -> TrainingSummary:
    """Return the summary of a run that was finished before, and log that it was."""
    with blaming(run.record):
        record = run.read_record()
        by_patience = record.get("ended_by") == "patience"
    why = " because its patience ran out; resume it with `patience=0` to continue" if by_patience else ""
    log.info("The run %s is already finished%s.", run.path, why)
    return replace(_summary(run), finished_before=True)


def _summary(run: Run) -> TrainingSummary:
    """Read the summary of a finished run from its record."""
    names = Checkpoint.load(run.best).card.classes.names
    with blaming(run.record):
        record = Fields(run.read_record())
        validation = score(np.array(record.counts("confusion")), names)
        return TrainingSummary(
            path=str(run.path),
            best=str(run.best),
            last=str(run.last),
            arch=record.text("arch"),
            steps=record.whole("steps"),
            epochs=record.number("epochs"),
            seconds=record.number("seconds"),
            loss=record.number("loss"),
            lr=record.part("settings").number("lr"),
            validation=validation,
            weights=_kept(record),
            only_class=only_class(validation),
        )


def _kept(record: Fields) -> str:
    """Return which weights are the best; records of earlier versions state only their step."""
    named = record.text("best_weights") if record.holds("best_weights") else ""
    return named or f"step {record.whole('best_step')}"
