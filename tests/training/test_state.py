from __future__ import annotations

import json

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
    state = LoopState(step=3)
    assert state.improve(0.0, ((0,),), "step 3", handicap=0)
    assert state.improve(0.4, ((1,),), "step 3", handicap=0)
    state.step = 5
    assert not state.improve(0.4, ((2,),), "step 5", handicap=0)
    assert not state.improve(0.3, ((3,),), "step 5", handicap=0)
    assert (state.best_miou, state.best_confusion, state.best_weights, state.stale) == (0.4, ((1,),), "step 3", 2)
    assert state.improve(0.5, ((4,),), "moving average at step 5", handicap=0)
    assert (state.best_miou, state.best_step, state.best_weights) == (0.5, 5, "moving average at step 5")
    assert (state.best_confusion, state.stale) == (((4,),), 0)


def test_scores_are_compared_without_their_handicaps() -> None:
    state = LoopState()
    assert state.improve(0.5, ((1,),), "step 3", handicap=0.125)
    assert not state.improve(0.375, ((2,),), "moving average at step 5", handicap=0)
    assert state.improve(0.4, ((3,),), "moving average at step 5", handicap=0)
    assert (state.best_miou, state.best_weights) == (0.4, "moving average at step 5")
    assert state.stale == 2  # to the patience of a run, it is no better
    assert not state.improve(0.5, ((4,),), "step 7", handicap=0.125)
    assert state.improve(0.55, ((5,),), "step 7", handicap=0.125)
    assert state.stale == 0


def test_a_state_of_an_earlier_version_averages_nothing_yet_and_chose_by_score() -> None:
    stored = LoopState(step=3, best_miou=0.5, best_merit=0.5, best_confusion=((1,),)).to_dict()
    for name in ("best_weights", "best_merit", "averaged", "averaged_step"):
        del stored[name]
    expected = LoopState(step=3, best_miou=0.5, best_merit=0.5, best_confusion=((1,),))
    assert LoopState.from_dict(json.loads(json.dumps(stored))) == expected
