"""Where a run stands between two steps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from satseg.fields import Fields


@dataclass
class LoopState:
    """All numbers that continuing a run needs, beside weights and moments.

    Args:
        step: Optimiser updates done.
        seconds: Seconds spent, earlier parts of a resumed run included.
        step_seconds: Seconds of the last step.
        validated_step: Step of the last validation, 0 before the first.
        validated_at: Progress at the last validation.
        validation_seconds: Seconds of the last validation and its saving; None before the first.
        loss_sum: Sum of the losses since the last validation.
        trained_seconds: Seconds of the steps since the last validation.
        loss: Mean loss between the last two validations; None before the first.
        stale: Validations since the best one.
        best_step: Step of the best validation.
        best_miou: Best validation mIoU so far, -1 before the first.
        best_confusion: (K, K) confusion matrix of the best checkpoint on the validation tiles.
    """

    step: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0
    validated_step: int = 0
    validated_at: float = 0.0
    validation_seconds: float | None = None
    loss_sum: float = 0.0
    trained_seconds: float = 0.0
    loss: float | None = None
    stale: int = 0
    best_step: int = 0
    best_miou: float = -1.0
    best_confusion: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def from_dict(cls, data: Any) -> LoopState:
        """Read what :meth:`to_dict` and JSON made of one.

        Raises:
            FieldError: An entry is missing, or holds what it may not.
        """
        fields = Fields(data, "loop")
        return cls(
            step=fields.whole("step"),
            seconds=fields.number("seconds", least=0),
            step_seconds=fields.number("step_seconds", least=0),
            validated_step=fields.whole("validated_step"),
            validated_at=fields.number("validated_at", least=0),
            validation_seconds=fields.number("validation_seconds") if fields.holds("validation_seconds") else None,
            loss_sum=fields.number("loss_sum"),
            trained_seconds=fields.number("trained_seconds", least=0),
            loss=fields.number("loss") if fields.holds("loss") else None,
            stale=fields.whole("stale"),
            best_step=fields.whole("best_step"),
            best_miou=fields.number("best_miou", least=-1),
            best_confusion=fields.counts("best_confusion"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, ready for JSON, which keeps every digit of them."""
        return asdict(self)

    def count(self, loss: float, seconds: float) -> None:
        """Count a step that is done."""
        self.step += 1
        self.loss_sum += loss
        self.step_seconds = seconds
        self.trained_seconds += seconds

    def close_period(self, progress: float) -> float:
        """Begin the period after a validation; return the seconds per step of the one before."""
        steps = self.step - self.validated_step
        seconds_per_step = self.trained_seconds / steps
        self.loss = self.loss_sum / steps
        self.validated_step, self.validated_at = self.step, progress
        self.loss_sum = self.trained_seconds = 0.0
        return seconds_per_step

    def improve(self, miou: float, confusion: tuple[tuple[int, ...], ...]) -> bool:
        """Take over a validation's result if it is the best so far, and tell whether it is.

        An mIoU that is not defined, because no validation pixel is labelled, counts as 0.
        """
        value = 0.0 if math.isnan(miou) else miou
        if value <= self.best_miou:
            self.stale += 1
            return False
        self.stale, self.best_step = 0, self.step
        self.best_miou, self.best_confusion = value, confusion
        return True

    def reserved_seconds(self, validation_batches: int) -> float:
        """Return the seconds to keep for what follows the last step: one more step, and validation with saving.

        Before a validation was measured, its batches are taken to cost as much as training steps, which is more
        than they do.
        """
        expected = self.validation_seconds
        if expected is None:
            expected = validation_batches * self.step_seconds
        return 1.1 * expected + self.step_seconds
