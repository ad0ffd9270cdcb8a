from __future__ import annotations

import math

import pytest

from satseg.errors import UsageError
from satseg.training.schedule import Budget, average_decay, learning_rate, make_budget, validation_due


def budget(**asked: float) -> Budget:
    given = {"epochs": None, "steps": None, "minutes": None, **asked}
    return make_budget(**given, tiles=100, step_size=8)  # type: ignore[arg-type]


def test_epochs_become_steps_that_see_every_tile_so_often() -> None:
    assert budget(epochs=3) == Budget(steps=38)  # 300 samples of 8


def test_a_run_without_a_budget_takes_forty_epochs() -> None:
    assert budget() == Budget(steps=500)


def test_minutes_become_seconds() -> None:
    assert budget(minutes=2.5) == Budget(seconds=150)


@pytest.mark.parametrize("asked", [{"epochs": 1, "steps": 2}, {"steps": 0}, {"minutes": -1}, {"epochs": float("nan")}])
def test_two_budgets_or_an_empty_one_are_refused(asked: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        budget(**asked)


def test_progress_by_steps_does_not_look_at_the_clock() -> None:
    assert Budget(steps=10).progress(5, learning_seconds=1e9) == 0.5


def test_progress_by_the_clock_does_not_look_at_steps() -> None:
    assert Budget(seconds=100).progress(7, learning_seconds=50) == 0.5
    assert Budget(seconds=100).progress(7, learning_seconds=101) == 1


def test_the_learning_rate_warms_up_to_its_peak_and_decays_to_zero() -> None:
    rates = [learning_rate(2.0, i / 1000) for i in range(1001)]
    assert rates[0] == 0.02
    assert rates[50] == max(rates) == 2.0
    assert rates[1000] == 0
    assert rates[:51] == sorted(rates[:51])
    assert rates[50:] == sorted(rates[50:], reverse=True)


def test_the_decay_is_a_polynomial_of_power_0_9() -> None:
    assert learning_rate(1.0, 0.525) == pytest.approx(0.5**0.9)


def test_validation_is_due_at_the_end_in_any_case() -> None:
    assert validation_due(1.0, 0.99, epoch_ended=False)


def test_validation_waits_for_the_end_of_an_epoch_and_a_twentieth_of_the_run() -> None:
    assert not validation_due(0.5, 0.1, epoch_ended=False)
    assert not validation_due(0.14, 0.1, epoch_ended=True)
    assert validation_due(0.15, 0.1, epoch_ended=True)


def test_validation_is_left_to_the_end_where_that_is_near() -> None:
    assert validation_due(0.95, 0.5, epoch_ended=True)
    assert not validation_due(0.96, 0.5, epoch_ended=True)


def test_twenty_epochs_are_validated_twenty_times() -> None:
    last, validated = 0.0, 0
    for step in range(1, 141):
        progress = Budget(steps=140).progress(step, learning_seconds=0)
        if validation_due(progress, last, epoch_ended=step % 7 == 0):
            last, validated = progress, validated + 1
    assert validated == 20


def test_long_validations_are_spread_over_a_run_by_the_clock_only() -> None:
    assert Budget(seconds=100).validation_spacing(None) == 1 / 20
    assert Budget(seconds=100).validation_spacing(0.5) == 1 / 20
    assert Budget(seconds=100).validation_spacing(4) == 0.2
    assert Budget(steps=100).validation_spacing(4) == 1 / 20
    assert Budget(seconds=100).validation_spacing(1, step_seconds=10) == 0.2
    assert not validation_due(0.3, 0.2, spacing=0.2, epoch_ended=True)
    assert validation_due(0.4, 0.2, spacing=0.2, epoch_ended=True)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle", "constant"])
def test_every_schedule_rises_to_its_peak_and_then_only_falls(schedule: str) -> None:
    rates = [learning_rate(2.0, i / 1000, schedule=schedule, warm_up=0.3) for i in range(1001)]
    assert rates[300] == max(rates) == 2.0
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[1000] == (2.0 if schedule == "constant" else 0)


def test_half_way_down_a_cosine_is_half_the_peak() -> None:
    assert learning_rate(1.0, 0.525, schedule="cosine") == pytest.approx(0.5)


def test_one_cycle_starts_at_a_25th_of_the_peak() -> None:
    assert learning_rate(1.0, 0.0, schedule="one-cycle", warm_up=0.3) == 0.04
    assert learning_rate(1.0, 0.15, schedule="one-cycle", warm_up=0.3) == pytest.approx(0.52)


def test_without_a_warm_up_the_peak_comes_first() -> None:
    assert learning_rate(1.0, 0.0, warm_up=0.0) == 1.0


def test_budgets_and_progress_read_as_sentences() -> None:
    assert [str(Budget(steps=1)), str(Budget(seconds=60)), str(Budget(seconds=90))] == [
        "1 step",
        "1 minute",
        "1.5 minutes",
    ]
    assert [Budget(steps=22).describe(step, 0) for step in (7, 29)] == ["step 7 of 22", "step 29, beyond 22 steps"]


@pytest.mark.parametrize("steps", [50, 1000, 7000])
def test_the_moving_average_covers_the_last_tenth_of_a_run_of_any_length(steps: int) -> None:
    age = 0.0
    for step in range(steps):
        age = average_decay("auto", step) * (age + 1)  # mean age of what is averaged
    assert age / steps == pytest.approx(0.1, abs=0.02)


def test_a_given_decay_is_reached_after_the_initial_weights_are_forgotten() -> None:
    assert [average_decay(0.9, step) for step in (0, 1, 1000)] == [0.1, 2 / 11, 0.9]
    for ema in (0.999, "auto"):
        assert math.prod(average_decay(ema, step) for step in range(20)) < 1e-6
