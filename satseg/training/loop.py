"""The training loop.

Samples, augmentation, dropout, learning rate and validation are functions of the step and of the progress. The state
between two steps is therefore small (weights, optimiser moments, a few numbers), and a resumed run continues exactly
as if it had not been interrupted. All processes of a run take the same steps; rank 0 writes the files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from satseg.checkpoint import ModelCard
from satseg.records import EvaluationReport, Progress, ProgressEvent, no_progress
from satseg.runs import Run
from satseg.runs.log import LogRow
from satseg.training.devices import total_over
from satseg.training.interrupts import uninterrupted
from satseg.training.learner import AVERAGE, EMA, OWN, Learner
from satseg.training.sampling import Batch, TrainingBatches
from satseg.training.schedule import LATE, Budget, average_decay, learning_rate, validation_due
from satseg.training.state import LoopState

SAVE_SECONDS = 600.0  # a killed run loses at most this much work, however long an epoch is

Network = Callable[[np.ndarray, np.ndarray], Tensor]
"""Computes logits (N, K, S, S) from raw values (N, C, S, S) and valid (N, S, S) bool."""


@dataclass
class Trainer:
    """A run in progress: network, data, budget and state.

    Args:
        learner: The network, its optimiser and its loss, with the weights and moments of ``state``.
        batches: Training batches of this process.
        validate: Scores a network in eval mode on the validation tiles; returns the same in every process.
        fabric: Devices, already launched.
        budget: Length of the run.
        run: Folder of the run.
        card: Model card of its checkpoints; steps and metrics are filled in.
        workers: Threads that prepare batches.
        progress: Called after every step.
        watchers: Called after every validation.
        margin: mIoU by which the weights of a single step have to lead their averages to be kept.
        state: State of the loop.
    """

    learner: Learner
    batches: TrainingBatches
    validate: Callable[[Network], EvaluationReport]
    fabric: Fabric
    budget: Budget
    run: Run
    card: ModelCard
    workers: int = 1
    progress: Progress = no_progress
    watchers: Sequence[Callable[[LogRow], None]] = ()
    margin: float = 0.0
    state: LoopState = field(default_factory=LoopState)

    def fit(self, started: float) -> LoopState:
        """Train until the budget is spent or patience runs out; validate and save at the end.

        Args:
            started: ``perf_counter()`` at the start of the run; the time before a resume is part of ``state``.

        Returns:
            The state at the end of the run.

        Raises:
            TrainingError: The loss is not finite.
            TileError: A tile cannot be read.
            KeyboardInterrupt: After the state was saved.
        """
        self._earlier, self._started, self._first_step = self.state.seconds, started, self.state.step
        self.learner.setup()
        batches = self.batches.ahead(self.state.step, workers=self.workers)
        try:
            self._run(batches)
        except KeyboardInterrupt:
            with uninterrupted():  # a second Ctrl-C must not break the saving
                self._save()
            raise
        finally:
            batches.close()
        return self.state

    def _run(self, batches: Iterator[Batch]) -> None:
        state, saved = self.state, perf_counter()
        # Several processes have to stop after the same step: defer signals until all processes know of them.
        deferred = uninterrupted() if self.fabric.world_size > 1 else nullcontext(list[int]())
        with deferred as signals:
            while True:
                done, last, spacing = self._moment()
                epoch_ended = self.batches.epoch_ended(state.step)
                if validation_due(done, last, spacing=spacing, epoch_ended=epoch_ended):
                    if state.validated_step < state.step:
                        self._validate(done)
                        saved = perf_counter()
                elif perf_counter() - saved > SAVE_SECONDS:
                    self._save()
                    saved = perf_counter()
                if self._ended(done):
                    return
                begun, rate = perf_counter(), self._rate(done)
                part = list(islice(batches, self.batches.shard.accumulate))
                with uninterrupted():
                    loss = self._step(part, rate)
                    first = state.step == self._first_step
                    state.count(loss, perf_counter() - begun, lr=rate, first=first)
                self._report_progress(loss)
                if self._in_any_process(bool(signals)):
                    raise KeyboardInterrupt

    def _step(self, part: Sequence[Batch], rate: float) -> float:
        step = self.state.step
        decay = average_decay(self.learner.recipe.ema, step)
        return self.learner.update(part, step=step, epoch=self.batches.epochs(step), lr=rate, decay=decay)

    def _ended(self, done: float) -> bool:
        state, patience = self.state, self.learner.recipe.patience
        validated = state.step > 0 and state.validated_step == state.step
        return validated and (done >= 1 or 0 < patience <= state.stale)

    def _validate(self, done: float) -> None:
        """Score the network, log the scores, and save it as the last checkpoint, and as the best if it is."""
        begun, state = perf_counter(), self.state
        reports = {weights: self._score(weights) for weights in self._candidates(done)}
        with uninterrupted():  # log, best checkpoint and saved state have to agree
            seconds_per_step = state.close_period()
            handicaps = {weights: self.margin if weights == OWN else 0.0 for weights in reports}
            best = max(reports, key=lambda weights: _miou(reports[weights]) - handicaps[weights])
            better = state.improve(
                _miou(reports[best]), reports[best].confusion, self._describe(best), handicap=handicaps[best]
            )
            row = self._row(done, reports, seconds_per_step, kept=best if better else "")
            if self.fabric.is_global_zero:
                if better:
                    with self.learner.holding(best):
                        card = self._card(reports[best], weights=state.best_weights)
                        self.run.save_best(self.learner.weights(), card)
                self.run.log.rewind(state.step - 1)
                self.run.log.add(row.scalars())
            self._save(self._card(reports[OWN]))
        state.validation_seconds = perf_counter() - begun
        if self.fabric.is_global_zero:
            for watch in self.watchers:
                watch(row)

    def _candidates(self, done: float) -> list[str]:
        """Update the average over validations, and return the sets of weights to score, the network's own first.

        Averages are scored late in the run, where they are at their best, and before patience runs out: each costs as
        much as a validation.
        """
        state, learner = self.state, self.learner
        with uninterrupted():
            if state.averaged_step < state.step:  # else the validation was interrupted before
                state.averaged, state.averaged_step = state.averaged + 1 if done >= LATE else 0, state.step
                learner.average_validations(state.averaged)
        late = done >= LATE or 0 < learner.recipe.patience <= state.stale + 1
        scored = {EMA: late, AVERAGE: state.averaged > 1}  # a single validation is no average
        return [OWN, *(weights for weights in learner.averages if scored[weights])]

    def _score(self, weights: str) -> EvaluationReport:
        with self.learner.holding(weights):
            return self.validate(self.learner.logits)

    def _describe(self, weights: str) -> str:
        state = self.state
        words = {
            EMA: f"moving average at step {state.step}",
            AVERAGE: f"average of the last {state.averaged} validations",
        }
        return words.get(weights, f"step {state.step}")

    def _save(self, card: ModelCard | None = None) -> None:
        state, learner = self.state, self.learner
        state.seconds = self._elapsed()
        if self.fabric.is_global_zero:
            self.run.save_last(
                learner.weights(),
                card or self._card(),
                step=state.step,
                tensors=learner.tensors(),
                values={**learner.values(), "loop": state.to_dict()},
            )

    def _card(self, report: EvaluationReport | None = None, **training: Any) -> ModelCard:
        training = {
            **self.card.training,
            "steps": self.state.step,
            "epochs": round(self.batches.epochs(self.state.step), 3),
            **training,
        }
        return replace(self.card, training=training, metrics=_metrics(report) if report else {})

    def _row(self, done: float, reports: Mapping[str, EvaluationReport], seconds_per_step: float, kept: str) -> LogRow:
        elapsed, report = self._elapsed(), reports[OWN]
        return LogRow(
            step=self.state.step,
            epoch=self.batches.epochs(self.state.step),
            loss=self.state.loss or 0.0,
            lr=self.state.lr,
            miou=report.mean_iou,
            global_accuracy=report.global_accuracy,
            ious={entry.name: entry.iou for entry in report.classes},
            averages={name: reports[name].mean_iou if name in reports else math.nan for name in (EMA, AVERAGE)},
            pixels_per_second=self.batches.shard.step_size * self.batches.reader.size**2 / seconds_per_step,
            seconds=elapsed,
            seconds_left=elapsed * (1 - done) / done,
            kept=kept,
        )

    def _rate(self, done: float) -> float:
        recipe = self.learner.recipe
        return learning_rate(recipe.peak_lr, done, schedule=recipe.schedule, warm_up=recipe.warm_up_fraction)

    def _report_progress(self, loss: float) -> None:
        best = f", best mIoU {self.state.best_miou:.3f}" if self.state.best_miou >= 0 else ""
        note = f"epoch {self.batches.epochs(self.state.step):.1f}, loss {loss:.3f}{best}"
        if self.budget.steps is not None:
            self.progress(ProgressEvent("Training", self.state.step, self.budget.steps, "step", note))
        else:
            self.progress(ProgressEvent("Training", self.state.learning_seconds, self.budget.seconds, "s", note))

    def _elapsed(self) -> float:
        return self._earlier + perf_counter() - self._started

    def _moment(self) -> tuple[float, float, float]:
        """Return progress now, progress at the last validation and spacing of validations; equal in all processes."""
        state, budget = self.state, self.budget
        moment = (
            budget.progress(state.step, state.learning_seconds),
            budget.progress(state.validated_step, state.validated_seconds),
            budget.validation_spacing(state.validation_seconds, state.step_seconds),
        )
        if self.fabric.world_size > 1 and self.budget.seconds is not None:
            moment = self.fabric.broadcast(moment)
        return moment

    def _in_any_process(self, here: bool) -> bool:
        """Return whether a condition holds in any process."""
        total = total_over(self.fabric.world_size)
        return bool(total(torch.tensor(float(here), device=self.fabric.device)) > 0)


def _miou(report: EvaluationReport) -> float:
    """Return the mean IoU over the classes that the labels hold; 0 without labelled pixels, where it is undefined."""
    return 0.0 if math.isnan(report.mean_iou) else report.mean_iou


def _metrics(report: EvaluationReport) -> dict[str, float]:
    """Return the scores that are not NaN, by name."""
    scores = {
        "mean_iou": report.mean_iou,
        "global_accuracy": report.global_accuracy,
        **{f"iou {entry.name}": entry.iou for entry in report.classes},
    }
    return {name: value for name, value in scores.items() if not math.isnan(value)}
