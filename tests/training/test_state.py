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
    for number, loss in enumerate((3.0, 2.0, 1.0)):
        state.count(loss, 0.5, lr=0.1, first=number == 0)
    assert state.close_period() == 0.5
    assert (state.loss, state.validated_step, state.validated_seconds, state.loss_sum) == (2.0, 3, 1.0, 0)
    state.count(5.0, 0.25, lr=0.05, first=False)
    assert state.close_period() == 0.25
    assert (state.loss, state.lr, state.learning_seconds) == (5.0, 0.05, 1.25)


def test_only_a_better_score_is_taken_over() -> None:
    state = LoopState()
    assert state.improve(0.4, ((1,),))
    assert not state.improve(0.4, ((2,),))
    assert not state.improve(math.nan, ((3,),))
    assert state.improve(0.5, ((4,),))
    assert (state.best_miou, state.best_confusion) == (0.5, ((4,),))


def test_the_first_validation_is_the_best_even_if_it_has_no_score() -> None:
    assert LoopState().improve(math.nan, ((0,),))
