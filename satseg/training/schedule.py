"""Progress of a run, and what depends on it: the learning rate and the times of validation.

A resumed run may get another budget. Its progress then refers to the new budget: after 20 of 20 steps, a budget of 30
steps means a progress of two thirds. The learning rate continues from the value of the schedule at that progress, which
is higher than at the end of a finished run: a warm restart (Loshchilov and Hutter 2017) that decays to 0 at the new
end, as in a run that had the new budget from the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from satseg.errors import UsageError
from satseg.fields import Fields

DEFAULT_EPOCHS = 40.0
SCHEDULES = {"poly": 0.05, "cosine": 0.05, "one-cycle": 0.3, "constant": 0.05}
"""Default warm-up of each schedule, as a fraction of the run."""

POWER = 0.9
VALIDATIONS = 20
LONG_STEPS, LONG_SECONDS = 5000, 1200.0
"""Length of a run from which compiling the network is worth its time."""

LATE = 0.75
"""Progress from which averages of the weights are scored."""


@dataclass(frozen=True)
class Budget:
    """Length of a run, in optimiser steps or in seconds of training. Exactly one of them is set.

    Everything that changes during a run depends on :meth:`progress` only. A run limited by steps is therefore the same
    on every machine, and a run limited by time still warms up and decays completely.

    Args:
        steps: Total optimiser updates.
        seconds: Total seconds of training. Start-up, validation and saving are not counted: on a slow or busy machine
            they would leave no time for training.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def from_dict(cls, data: Any) -> Budget:
        """Read a budget from the dictionary of ``dataclasses.asdict``.

        Raises:
            FieldError: Both steps and seconds are missing, or invalid.
        """
        fields = Fields(data, "budget")
        if fields.holds("steps"):
            return cls(steps=fields.whole("steps", least=1))
        return cls(seconds=fields.number("seconds", least=0))

    def __str__(self) -> str:
        number, unit = (f"{self.steps}", "step") if self.steps else (f"{(self.seconds or 0) / 60:.4g}", "minute")
        return f"{number} {unit}{'s' * (number != '1')}"

    def describe(self, step: int, learning_seconds: float) -> str:
        """Describe progress: ``step 7 of 20``, ``step 9, beyond 5 steps``, or ``step 7, 1.2 of 10 minutes``."""
        if self.steps is not None:
            return f"step {step} of {self.steps}" if step <= self.steps else f"step {step}, beyond {self}"
        return f"step {step}, {learning_seconds / 60:.1f} of {self}"

    def progress(self, step: int, learning_seconds: float) -> float:
        """Return the progress of a run, 0..1; training ends at 1.

        Args:
            step: Optimiser updates done.
            learning_seconds: Seconds of training so far, including those before a resume.
        """
        if self.steps is not None:
            return min(step / self.steps, 1.0)
        assert self.seconds is not None
        return min(learning_seconds / self.seconds, 1.0)

    @property
    def is_long(self) -> bool:
        """Whether the minutes that torch.compile takes are a small part of the run."""
        return self.steps >= LONG_STEPS if self.steps is not None else (self.seconds or 0) >= LONG_SECONDS

    def validation_spacing(self, validation_seconds: float | None, step_seconds: float = 0.0) -> float:
        """Return the minimum progress between two validations: 1/20.

        It is larger in a run limited by time with long validations, which get at most a fifth of the training time, or
        with long steps: at least two steps lie between validations.

        Args:
            validation_seconds: Duration of the last validation, None before the first.
            step_seconds: Duration of the last step.
        """
        if self.seconds is None:
            return 1 / VALIDATIONS
        return max(1 / VALIDATIONS, 5 * (validation_seconds or 0.0) / self.seconds, 2 * step_seconds / self.seconds)


def make_budget(
    *, epochs: float | None, steps: int | None, minutes: float | None, tiles: int, step_size: int
) -> Budget:
    """Make a budget from epochs, steps or minutes.

    Args:
        epochs: Passes over the training tiles.
        steps: Optimiser updates.
        minutes: Minutes of training.
        tiles: Number of training tiles, the samples of an epoch.
        step_size: Samples per step.

    Returns:
        The budget; 40 epochs if none is given.

    Raises:
        UsageError: More than one is given, or one that is not above zero.
    """
    asked = {"epochs": epochs, "steps": steps, "minutes": minutes}
    given = {name: value for name, value in asked.items() if value is not None}
    if len(given) > 1:
        names = " and ".join(f"`{name}`" for name in given)
        raise UsageError(f"{names} exclude each other: a run has one budget.", hint="Set only one of them.")
    for name, value in given.items():
        if not value > 0:
            raise UsageError(f"`{name}={value:g}` is not above zero.")
    if minutes is not None:
        return Budget(seconds=60 * minutes)
    if steps is not None:
        return Budget(steps=steps)
    samples = (DEFAULT_EPOCHS if epochs is None else epochs) * tiles
    return Budget(steps=max(1, -int(-samples // step_size)))


def learning_rate(peak: float, progress: float, *, schedule: str = "poly", warm_up: float = 0.05) -> float:
    """Return the learning rate at a progress: a warm-up to ``peak``, then a decay.

    Args:
        peak: Peak learning rate.
        progress: Progress of the run, 0..1.
        schedule: ``poly``, polynomial decay with power 0.9 (DeepLab), or ``cosine``, both after a linear warm-up and
            down to 0; ``one-cycle`` (Smith and Topin 2019), cosine from a 25th of the peak up to it and down to 0;
            ``constant`` after a linear warm-up.
        warm_up: Progress at which the peak is reached.
    """
    if progress < warm_up:
        risen = progress / warm_up
        low, fraction = (0.04, _ease(risen)) if schedule == "one-cycle" else (0.01, risen)
        return peak * (low + (1 - low) * fraction)
    left = 1.0 if warm_up >= 1 else (1 - progress) / (1 - warm_up)
    if schedule == "constant":
        return peak
    return float(peak * (left**POWER if schedule == "poly" else _ease(left)))


def average_decay(ema: float | Literal["auto"], step: int) -> float:
    """Return the decay of the moving average of the weights in a step.

    It rises as (1 + t) / (10 + t) after t updates, at most to ``ema``; with ``auto`` it rises without end. The average
    then covers the last tenth of the run so far, however long the run is, also where it ends by the clock or is
    extended (the power function profile of Karras et al. 2024, section 3.1, with an exponent of 8).

    Args:
        ema: The largest decay, or ``auto``.
        step: Updates done before.
    """
    risen = (1 + step) / (10 + step)
    return risen if ema == "auto" else min(ema, risen)


def _ease(fraction: float) -> float:
    """Map 0..1 to 0..1 along half a period of the cosine."""
    return 0.5 - 0.5 * math.cos(math.pi * fraction)


def validation_due(progress: float, last: float, *, spacing: float = 1 / VALIDATIONS, epoch_ended: bool) -> bool:
    """Return whether to validate now: at the end of the run, and at ends of epochs that are ``spacing`` apart.

    Args:
        progress: Progress now, 0..1.
        last: Progress at the last validation, 0 before the first.
        spacing: Minimum progress between two validations, including the one at the end.
        epoch_ended: Whether the last step finished an epoch.
    """
    rounding = 1e-9  # 3/20 - 2/20 is slightly less than 1/20
    return progress >= 1 or (epoch_ended and min(progress - last, 1 - progress) >= spacing - rounding)
