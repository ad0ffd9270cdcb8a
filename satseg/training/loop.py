"""The training loop, from top to bottom.

Everything that happens is a function of the step and of the progress: which samples a batch holds and how they are
augmented, what dropout drops, the learning rate, the moments of validation. So the state between two steps is
small - weights, moments of the optimiser, a few numbers - and a run that was interrupted goes on as if nothing
had happened.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from satseg.checkpoint import ModelCard
from satseg.errors import TrainingError
from satseg.raster.bands import normalise
from satseg.records import EvaluationReport, Progress, ProgressEvent, no_progress
from satseg.runs import Run
from satseg.training.augment import adjust
from satseg.training.interrupts import uninterrupted
from satseg.training.optimizers import optimizer_tensors
from satseg.training.sampling import Batch, TrainingBatches
from satseg.training.schedule import Budget, learning_rate, validation_due
from satseg.training.state import LoopState

log = logging.getLogger("satseg")

CLIP_NORM = 5.0
SAVE_SECONDS = 600.0  # a kill costs at most this much, however long an epoch is

Network = Callable[[np.ndarray, np.ndarray], Tensor]
"""Maps raw values (N, C, S, S) and valid (N, S, S) bool to logits (N, K, S, S)."""


@dataclass
class Trainer:
    """A network, its data, its budget, and where the run stands.

    Args:
        model: Network, on the device.
        optimizer: Over its parameters.
        criterion: Loss of (N, K, H, W) logits and (N, H, W) int64 targets, on the device.
        batches: Training batches by step.
        validate: Scores a network, in eval mode, on the validation tiles.
        validation_batches: Batches of a validation.
        fabric: Device and precision.
        budget: When to end.
        lr: Peak learning rate.
        seed: Seed of the run.
        run: Folder of the run.
        card: Card of its checkpoints; steps and metrics are filled in.
        workers: Threads that prepare batches.
        progress: Told after every step.
        state: Where the run stands.
    """

    model: nn.Module
    optimizer: Optimizer
    criterion: nn.Module
    batches: TrainingBatches
    validate: Callable[[Network], EvaluationReport]
    validation_batches: int
    fabric: Fabric
    budget: Budget
    lr: float
    seed: int
    run: Run
    card: ModelCard
    workers: int = 1
    progress: Progress = no_progress
    state: LoopState = field(default_factory=LoopState)

    def fit(self, started: float) -> LoopState:
        """Train until the budget is spent; the end is always validated and saved.

        Args:
            started: ``perf_counter()`` when the run began; earlier parts of a resumed run count by the state.

        Returns:
            Where the run ended.

        Raises:
            TrainingError: The loss is not finite.
            TileError: A tile cannot be read.
            KeyboardInterrupt: After the state was saved.
        """
        self._earlier, self._started = self.state.seconds, started
        self._network, self._optimizer = self.fabric.setup(self.model, self.optimizer)
        if hasattr(self.model, "forward_with_aux"):
            self._network.mark_forward_method("forward_with_aux")
        batches = self.batches.ahead(self.state.step, workers=self.workers)
        try:
            self._run(batches)
        except KeyboardInterrupt:
            self._save()
            log.warning("Interrupted after step %d; --resume continues from %s.", self.state.step, self.run.path)
            raise
        finally:
            batches.close()
        return self.state

    def _run(self, batches: Iterator[Batch]) -> None:
        state, saved = self.state, perf_counter()
        while True:
            done = self._progress()
            spacing = self.budget.validation_spacing(state.validation_seconds)
            epoch_ended = self.batches.epoch_ended(state.step)
            if validation_due(done, state.validated_at, spacing=spacing, epoch_ended=epoch_ended):
                if state.validated_step < state.step:
                    self._validate(done)
                    done, saved = self._progress(), perf_counter()
                if done >= 1 and state.step:
                    return
            elif perf_counter() - saved > SAVE_SECONDS:
                self._save()
                saved = perf_counter()
            batch = next(batches)
            with uninterrupted():
                begun = perf_counter()
                loss = self._step(batch, learning_rate(self.lr, done))
                state.count(loss, perf_counter() - begun)
            self._tell(loss)

    def _step(self, batch: Batch, lr: float) -> float:
        """Update the network once and return the loss."""
        torch.manual_seed(_seed_of(self.seed, self.state.step))  # dropout
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._network.train()
        images, targets = self._on_device(batch)
        self._optimizer.zero_grad()
        loss = self._loss(images, targets)
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self._network, self._optimizer, max_norm=CLIP_NORM, error_if_nonfinite=False)
        self._optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is {value} at step {self.state.step + 1}, on the tiles {', '.join(batch.names)}.",
                hint=f"Try a lower learning rate than {self.lr:g}, and look at the values of these tiles.",
            )
        return value

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        if not hasattr(self.model, "forward_with_aux"):
            loss: Tensor = self.criterion(self._network(images), targets)
            return loss
        logits, outputs = self._network.forward_with_aux(images)
        aux_loss: Callable[..., Tensor] = getattr(self.model, "aux_loss")  # noqa: B009 - nn.Module types it as Tensor
        return self.criterion(logits, targets) + aux_loss(outputs, targets)

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return images (N, C, S, S) float32, normalised and adjusted, and targets (N, S, S) int64."""
        parts = (batch.bands, batch.labels, batch.valid, batch.gain, batch.offset)
        bands, labels, valid, gain, offset = (torch.from_numpy(part).to(self.fabric.device) for part in parts)
        images = adjust(normalise(bands, self.card.statistics), gain, offset, valid)
        return images.contiguous(memory_format=torch.channels_last), labels.long()

    def _logits(self, bands: np.ndarray, valid: np.ndarray) -> Tensor:
        """Return the logits (N, K, S, S) of raw values (N, C, S, S), in the precision of training."""
        device = self.fabric.device
        raw, mask = torch.from_numpy(bands).to(device), torch.from_numpy(valid).to(device)
        images = normalise(raw, self.card.statistics, mask).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self._network(images)
        return logits

    def _validate(self, done: float) -> None:
        """Score the network, log it, and save it: as the best if it is, and as the last."""
        begun, state = perf_counter(), self.state
        self._network.eval()
        report = self.validate(self._logits)
        with uninterrupted():  # from here to the saved state, or not at all
            seconds_per_step = state.close_period(done)
            card = self._card(report)
            better = state.improve(report.mean_iou, report.confusion)
            if better:
                self.run.save_best(self.model.state_dict(), card)
            self.run.log.rewind(state.step - 1)
            self.run.log.add(self._log_row(done, report, seconds_per_step))
            self._save(card)
        state.validation_seconds = perf_counter() - begun
        log.info(
            "Step %d, epoch %.1f: loss %.3f, mIoU %.3f%s",
            state.step,
            self.batches.epochs(state.step),
            state.loss,
            report.mean_iou,
            " (best so far)" if better else "",
        )

    def _save(self, card: ModelCard | None = None) -> None:
        state = self.state
        state.seconds = self._elapsed()
        self.run.save_last(
            self.model.state_dict(),
            card or self._card(),
            step=state.step,
            tensors=optimizer_tensors(self.optimizer),
            values=state.to_dict(),
        )

    def _card(self, report: EvaluationReport | None = None) -> ModelCard:
        training = {
            **self.card.training,
            "steps": self.state.step,
            "epochs": round(self.batches.epochs(self.state.step), 3),
        }
        return replace(self.card, training=training, metrics=_metrics(report) if report else {})

    def _log_row(self, done: float, report: EvaluationReport, seconds_per_step: float) -> dict[str, float | int]:
        pixels = self.batches.batch_size * self.batches.reader.size**2
        return {
            "step": self.state.step,
            "epoch": self.batches.epochs(self.state.step),
            "loss": self.state.loss or 0.0,
            "lr": learning_rate(self.lr, done),
            "miou": report.mean_iou,
            "global_accuracy": report.global_accuracy,
            **{f"iou {entry.name}": entry.iou for entry in report.classes},
            "pixels_per_second": pixels / seconds_per_step,
            "seconds": self._elapsed(),
        }

    def _tell(self, loss: float) -> None:
        best = f", best mIoU {self.state.best_miou:.3f}" if self.state.best_miou >= 0 else ""
        note = f"epoch {self.batches.epochs(self.state.step):.1f}, loss {loss:.3f}{best}"
        if self.budget.steps is not None:
            self.progress(ProgressEvent("Training", self.state.step, self.budget.steps, "step", note))
        else:
            self.progress(ProgressEvent("Training", self._elapsed(), self.budget.seconds, "s", note))

    def _elapsed(self) -> float:
        return self._earlier + perf_counter() - self._started

    def _progress(self) -> float:
        reserved = self.state.reserved_seconds(self.validation_batches)
        return self.budget.progress(self.state.step, self._elapsed(), reserved)


def _seed_of(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]) >> 1


def _metrics(report: EvaluationReport) -> dict[str, float]:
    """Return the scores that are defined, by name."""
    scores = {
        "mean_iou": report.mean_iou,
        "global_accuracy": report.global_accuracy,
        **{f"iou {entry.name}": entry.iou for entry in report.classes},
    }
    return {name: value for name, value in scores.items() if not math.isnan(value)}
