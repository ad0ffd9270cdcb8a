"""State of the training loop between two steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from satseg.fields import Fields


@dataclass
class LoopState:
    """All numbers that resuming a run needs, in addition to weights and optimiser moments.

    Args:
        step: Optimiser updates done.
        seconds: Seconds spent so far, including those before a resume.
        learning_seconds: Seconds that count towards the budget: of all steps except the first one after each start,
            which includes loading and compiling.
        step_seconds: Seconds of the last step.
        lr: Learning rate of the last step.
        validated_step: Step of the last validation, 0 before the first.
        validated_seconds: ``learning_seconds`` at the last validation.
        validation_seconds: Seconds of the last validation, saving included; None before the first.
        loss_sum: Sum of the losses since the last validation.
        trained_seconds: Seconds of the steps since the last validation.
        loss: Mean loss between the last two validations; None before the first.
        stale: Validations since the one whose mIoU was higher than any before.
        best_step: Step of the best validation.
        best_miou: Validation mIoU of the best checkpoint so far, -1 before the first.
        best_merit: What it was chosen by, see :meth:`improve`; -1 before the first.
        best_weights: Which weights had it: those of a step, their moving average or their average over validations.
        best_confusion: (K, K) confusion matrix of the best checkpoint on the validation tiles.
        averaged: Validations in the average of the weights over validations.
        averaged_step: Step at which that number was last set.
    """

    step: int = 0
    seconds: float = 0.0
    learning_seconds: float = 0.0
    step_seconds: float = 0.0
    lr: float = 0.0
    validated_step: int = 0
    validated_seconds: float = 0.0
    validation_seconds: float | None = None
    loss_sum: float = 0.0
    trained_seconds: float = 0.0
    loss: float | None = None
    stale: int = 0
    best_step: int = 0
    best_miou: float = -1.0
    best_merit: float = -1.0
    best_weights: str = ""
    best_confusion: tuple[tuple[int, ...], ...] = ()
    averaged: int = 0
    averaged_step: int = 0

    @classmethod
    def from_dict(cls, data: Any) -> LoopState:
        """Read a state from the dictionary of :meth:`to_dict`.

        Raises:
            FieldError: An entry is missing or invalid.
        """
        fields = Fields(data, "loop")
        return cls(
            step=fields.whole("step"),
            seconds=fields.number("seconds", least=0),
            learning_seconds=fields.number("learning_seconds", least=0),
            step_seconds=fields.number("step_seconds", least=0),
            lr=fields.number("lr", least=0),
            validated_step=fields.whole("validated_step"),
            validated_seconds=fields.number("validated_seconds", least=0),
            validation_seconds=fields.number("validation_seconds") if fields.holds("validation_seconds") else None,
            loss_sum=fields.number("loss_sum"),
            trained_seconds=fields.number("trained_seconds", least=0),
            loss=fields.number("loss") if fields.holds("loss") else None,
            stale=fields.whole("stale"),
            best_step=fields.whole("best_step"),
            best_miou=fields.number("best_miou", least=-1),
            best_confusion=fields.counts("best_confusion"),
            # States of earlier versions, which averaged no validations or chose by mIoU alone, lack the others.
            best_merit=fields.number("best_merit" if fields.holds("best_merit") else "best_miou", least=-1),
            best_weights=fields.text("best_weights") if fields.holds("best_weights") else "",
            averaged=fields.whole("averaged") if fields.holds("averaged") else 0,
            averaged_step=fields.whole("averaged_step") if fields.holds("averaged_step") else 0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, ready for JSON, which keeps floats exactly."""
        return asdict(self)

    def count(self, loss: float, seconds: float, *, lr: float, first: bool) -> None:
        """Count a finished step.

        Args:
            loss: Its loss.
            seconds: Its duration, including the wait for its samples.
            lr: Its learning rate.
            first: Whether it is the first step since the process started.
        """
        self.step += 1
        self.loss_sum += loss
        self.step_seconds, self.lr = seconds, lr
        self.trained_seconds += seconds
        self.learning_seconds += 0.0 if first else seconds

    def close_period(self) -> float:
        """Start the period after a validation, and return the seconds per step of the previous period."""
        steps = self.step - self.validated_step
        seconds_per_step = self.trained_seconds / steps
        self.loss = self.loss_sum / steps
        self.validated_step, self.validated_seconds = self.step, self.learning_seconds
        self.loss_sum = self.trained_seconds = 0.0
        return seconds_per_step

    def improve(self, miou: float, confusion: tuple[tuple[int, ...], ...], weights: str, *, handicap: float) -> bool:
        """Store the result of a validation if it is the best so far, and return whether it is.

        Args:
            miou: Its mIoU.
            confusion: (K, K) confusion matrix.
            weights: Which weights were scored.
            handicap: What is subtracted from the mIoU when it is compared with that of others.
        """
        better = miou - handicap > self.best_merit
        self.stale = 0 if better and miou > self.best_miou else self.stale + 1
        if not better:
            return False
        self.best_step, self.best_weights = self.step, weights
        self.best_miou, self.best_merit, self.best_confusion = miou, miou - handicap, confusion
        return True
