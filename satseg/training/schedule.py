"""How far a run has come, and what follows from it: the learning rate and the moments of validation.

A run that is given another budget while it is under way, or after its end, is from then on as far as the new one says:
after 20 of 20 steps, 30 steps in all make it two thirds. Its learning rate goes on from what the schedule has there,
which is higher than where a finished run had decayed to: a warm restart (Loshchilov and Hutter 2017) that falls to 0 at
the new end, as in a run that was given the new budget at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from satseg.errors import UsageError
from satseg.fields import Fields

DEFAULT_EPOCHS = 40.0
SCHEDULES = {"poly": 0.05, "cosine": 0.05, "one-cycle": 0.3, "constant": 0.05}
"""Names, and the warm-up that each takes where none is given."""

POWER = 0.9
VALIDATIONS = 20


@dataclass(frozen=True)
class Budget:
    """What a run may spend: optimiser steps, or seconds of learning. Exactly one of them is set.

    Everything that changes during a run depends on :meth:`progress` alone, so a run by steps is the same on every
    machine, and a run by the clock still warms up, decays and ends as it should.

    Args:
        steps: Optimiser updates in all.
        seconds: Seconds of learning in all. Starting up, validating and saving are not counted: on a slow or busy
            machine they would leave no time to learn.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def from_dict(cls, data: Any) -> Budget:
        """Read what ``dataclasses.asdict`` and JSON made of one.

        Raises:
            FieldError: It has neither steps nor seconds, or none of them.
        """
        fields = Fields(data, "budget")
        if fields.holds("steps"):
            return cls(steps=fields.whole("steps", least=1))
        return cls(seconds=fields.number("seconds", least=0))

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{(self.seconds or 0) / 60:.4g} minutes"

    def tell(self, step: int, learning_seconds: float) -> str:
        """Say how far the run has come: ``step 7 of 20``, ``step 7, 1.2 of 10 minutes``."""
        if self.steps is not None:
            return f"step {step} of {self.steps}"
        return f"step {step}, {learning_seconds / 60:.1f} of {self}"

    def progress(self, step: int, learning_seconds: float) -> float:
        """Return how far the run has come, 0..1; at 1 training ends.

        Args:
            step: Optimiser updates done.
            learning_seconds: Seconds of learning, earlier parts of a resumed run included.
        """
        if self.steps is not None:
            return min(step / self.steps, 1.0)
        assert self.seconds is not None
        return min(learning_seconds / self.seconds, 1.0)

    def validation_spacing(self, validation_seconds: float | None, step_seconds: float = 0.0) -> float:
        """Return the progress that has to lie between two validations: 1/20.

        More in a run by the clock whose validations take long, which get a fifth of the time of learning at most, or
        whose steps do: two of them lie between.

        Args:
            validation_seconds: What the last validation took, None before the first.
            step_seconds: What the last step took.
        """
        if self.seconds is None:
            return 1 / VALIDATIONS
        return max(1 / VALIDATIONS, 5 * (validation_seconds or 0.0) / self.seconds, 2 * step_seconds / self.seconds)


def make_budget(
    *, epochs: float | None, steps: int | None, minutes: float | None, tiles: int, step_size: int
) -> Budget:
    """Turn what the user asked for into a budget.

    Args:
        epochs: Passes over the training tiles.
        steps: Optimiser updates.
        minutes: Minutes of learning.
        tiles: Training tiles: the samples of an epoch.
        step_size: Samples of a step.

    Returns:
        The budget; 40 epochs where nothing was asked for.

    Raises:
        UsageError: More than one was given, or one that is not above zero.
    """
    asked = {"epochs": epochs, "steps": steps, "minutes": minutes}
    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"A run has one budget, not {' and '.join(given)}.", hint="Give only one of them.")
    for name, value in given.items():
        if not value > 0:
            raise UsageError(f"The budget of {value:g} {name} is not above zero.")
    if minutes is not None:
        return Budget(seconds=60 * minutes)
    if steps is not None:
        return Budget(steps=steps)
    samples = (DEFAULT_EPOCHS if epochs is None else epochs) * tiles
    return Budget(steps=max(1, -int(-samples // step_size)))


def learning_rate(peak: float, progress: float, *, schedule: str = "poly", warm_up: float = 0.05) -> float:
    """Return the learning rate at a progress of 0..1: a warm-up to ``peak``, then a decay.

    Args:
        peak: Highest learning rate.
        progress: How far the run is.
        schedule: ``poly``, to the power of 0.9 (DeepLab); ``cosine``, half a wave; both after a linear warm-up and down
            to 0; ``one-cycle`` (Smith and Topin 2019), up and down along cosines, from a 25th of the peak to 0;
            ``constant``, after the warm-up.
        warm_up: Progress at which the peak is reached.
    """
    if progress < warm_up:
        risen = progress / warm_up
        low, share = (0.04, _ease(risen)) if schedule == "one-cycle" else (0.01, risen)
        return peak * (low + (1 - low) * share)
    left = 1.0 if warm_up >= 1 else (1 - progress) / (1 - warm_up)
    if schedule == "constant":
        return peak
    return float(peak * (left**POWER if schedule == "poly" else _ease(left)))


def _ease(share: float) -> float:
    """Return 0..1 along half a wave of the cosine."""
    return 0.5 - 0.5 * math.cos(math.pi * share)


def validation_due(progress: float, last: float, *, spacing: float = 1 / VALIDATIONS, epoch_ended: bool) -> bool:
    """Tell whether to validate now: at the end, and at an epoch's end far enough from ``last`` and from the end.

    Args:
        progress: Progress now, 0..1.
        last: Progress at the last validation, 0 before the first.
        spacing: Progress that has to lie between two validations, the one at the end included.
        epoch_ended: Whether the step just done was the last of an epoch.
    """
    rounding = 1e-9  # 3/20 - 2/20 is a little below 1/20
    return progress >= 1 or (epoch_ended and min(progress - last, 1 - progress) >= spacing - rounding)
