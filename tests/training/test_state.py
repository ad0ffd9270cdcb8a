from __future__ import annotations

import json
import math

from satseg.training.state import LoopState


def test_a_state_survives_json_to_the_bit() -> None:
    state = LoopState(step=3, seconds=0.1 + 0.2, loss_sum=1 / 3, best_miou=2 / 7, best_confusion=((1, 2), (3, 4)))
    back = LoopState(**json.loads(json.dumps(state.to_dict())))
    assert back.to_dict() | {"best_confusion": None} == state.to_dict() | {"best_confusion": None}
    assert back.best_confusion == [[1, 2], [3, 4]]


def test_a_period_ends_with_the_mean_of_its_losses() -> None:
    state = LoopState()
    for loss in (3.0, 2.0, 1.0):
        state.count(loss, 0.5)
    assert state.close_period(0.3) == 0.5
    assert (state.loss, state.validated_step, state.validated_at, state.loss_sum) == (2.0, 3, 0.3, 0)
    state.count(5.0, 0.25)
    assert state.close_period(0.4) == 0.25
    assert state.loss == 5.0


def test_only_a_better_score_is_taken_over() -> None:
    state = LoopState()
    assert state.improve(0.4, ((1,),))
    assert not state.improve(0.4, ((2,),))
    assert not state.improve(math.nan, ((3,),))
    assert state.improve(0.5, ((4,),))
    assert (state.best_miou, state.best_confusion) == (0.5, ((4,),))


def test_the_first_validation_is_the_best_even_if_it_has_no_score() -> None:
    assert LoopState().improve(math.nan, ((0,),))


def test_the_reserve_is_measured_or_guessed_from_steps() -> None:
    state = LoopState(step_seconds=0.5)
    assert state.reserved_seconds(4) == 1.1 * 2 + 0.5
    state.validation_seconds = 1.0
    assert state.reserved_seconds(4) == 1.1 + 0.5
