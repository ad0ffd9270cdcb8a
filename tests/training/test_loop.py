from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from satseg.checkpoint import Checkpoint, ModelCard
from satseg.classes import ClassTable
from satseg.errors import TrainingError
from satseg.records import (
    BandSpec,
    BandStatistics,
    ClassScore,
    EvaluationReport,
    Progress,
    ProgressEvent,
    no_progress,
)
from satseg.runs import Run
from satseg.runs.log import LogRow
from satseg.tiles.batches import TileReader
from satseg.training.augmentation import Augmentation
from satseg.training.learner import AVERAGE, Learner
from satseg.training.loop import Trainer
from satseg.training.recipe import Recipe
from satseg.training.sampling import Shard, TrainingBatches
from satseg.training.schedule import Budget, learning_rate

TABLE = ClassTable.from_names(["background", "bright"])


@dataclass(frozen=True)
class FakeTile:
    """A float tile whose bright half is class 1; its last row is not valid."""

    number: int
    weight: float = 1.0
    bright: float = 1.0
    pixels: tuple[int, ...] = (28, 28)

    @property
    def name(self) -> str:
        return f"tile-{self.number}"

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.number)
        labels = (rng.random((8, 8)) < 0.5).astype(np.uint8)
        bands = np.float32(labels * self.bright + rng.normal(size=(8, 8)) * 0.1)[None]
        labels[7] = 255
        return bands, labels, labels != 255


def report(miou: float) -> EvaluationReport:
    scores = tuple(ClassScore(name, miou, miou, miou, miou, 1) for name in TABLE.names)
    return EvaluationReport(2, miou, miou, miou, miou, scores, ((1, 0), (0, 1)))


def make_trainer(
    folder: Path,
    budget: Budget,
    *,
    validate: Callable[[Any], EvaluationReport] = lambda network: report(0.5),
    model: nn.Module | None = None,
    tiles: int = 8,
    bright: float = 1.0,
    progress: Progress = no_progress,
    **choices: Any,
) -> Trainer:
    torch.manual_seed(0)
    model = model or nn.Conv2d(1, 2, 1)
    card = ModelCard(
        arch="erfnet",
        classes=TABLE,
        bands=BandSpec(("grey",), "float32", (1.0,), (0.0,)),
        statistics=BandStatistics(1, (0.5,), (0.5,), (0.0,), (1.0,)),
        gsd=None,
        tile_size=8,
    )
    drawn = [FakeTile(i, bright=bright) for i in range(tiles)]
    recipe = Recipe(batch_size=2, lr=1e-2, weight_decay=0.0, **choices)
    shard = Shard(recipe.batch_size, recipe.accumulate)
    batches = TrainingBatches(drawn, TileReader(8), shard=shard, seed=0, augmentation=Augmentation())  # type: ignore[arg-type]
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(
        learner=Learner(model, recipe, card.statistics, fabric),
        batches=batches,
        validate=validate,
        fabric=fabric,
        budget=budget,
        run=Run.start(folder, {}),
        card=card,
        progress=progress,
    )


def test_the_loss_goes_down(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(steps=80))
    trainer.fit(perf_counter())
    losses = [float(row["loss"]) for row in trainer.run.log.rows()]
    assert losses[-1] < 0.7 * losses[0]


def test_each_epoch_is_validated_logged_and_saved(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(steps=12))
    trainer.fit(perf_counter())
    rows = trainer.run.log.rows()
    assert [(row["step"], row["epoch"]) for row in rows] == [("4", "1"), ("8", "2"), ("12", "3")]
    assert [float(row["lr"]) for row in rows] == pytest.approx(
        [learning_rate(1e-2, s / 12) for s in (3, 7, 11)], rel=1e-5
    )
    assert Checkpoint.load(trainer.run.last).card.training["steps"] == 12


def test_best_holds_the_weights_of_the_best_validation(tmp_path: Path) -> None:
    scores = iter([0.3, 0.9, 0.6])
    trainer = make_trainer(tmp_path, Budget(steps=12), validate=lambda network: report(next(scores)), ema=0)
    state = trainer.fit(perf_counter())
    best = Checkpoint.load(trainer.run.best).card
    assert (best.training["steps"], best.metrics["mean_iou"], state.best_miou) == (8, 0.9, 0.9)


def test_validation_sees_the_network_in_eval_mode_and_training_goes_on_in_training_mode(tmp_path: Path) -> None:
    modes = []

    class Watched(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            modes.append(self.training)
            return super().forward(images)

    def validate(network: Callable[..., Tensor]) -> EvaluationReport:
        network(np.zeros((1, 1, 8, 8), dtype=np.float32), np.ones((1, 8, 8), dtype=bool))
        return report(0.5)

    make_trainer(tmp_path, Budget(steps=5), model=Watched(1, 2, 1), validate=validate, ema=0).fit(perf_counter())
    assert modes == [True] * 4 + [False] + [True] + [False] * 2  # at the end the average over both as well


def test_validation_sees_normalised_images_whose_invalid_pixels_are_zero(tmp_path: Path) -> None:
    seen = []

    def validate(network: Callable[..., Tensor]) -> EvaluationReport:
        raw = np.full((1, 1, 8, 8), 1.5, dtype=np.float32)
        valid = np.ones((1, 8, 8), dtype=bool)
        valid[0, 0] = False
        with torch.no_grad():
            seen.append(network(raw, valid)[0, 0])
        return report(0.5)

    trainer = make_trainer(tmp_path, Budget(steps=1), validate=validate)
    trainer.fit(perf_counter())
    weight, bias = trainer.learner.model.weight[0, 0, 0, 0], trainer.learner.model.bias[0]  # type: ignore[index]
    assert torch.allclose(seen[0][1:], weight * 2 + bias)
    assert torch.allclose(seen[0][0], bias.expand(8))


def test_a_loss_that_is_not_finite_stops_with_step_and_tiles(tmp_path: Path) -> None:
    model = nn.Conv2d(1, 2, 1)
    nn.init.constant_(model.weight, torch.nan)
    trainer = make_trainer(tmp_path, Budget(steps=9), model=model, tiles=1)
    with pytest.raises(TrainingError, match=r"nan at step 1, on the tiles tile-0, tile-0"):
        trainer.fit(perf_counter())
    assert not trainer.run.last.exists()


def test_auxiliary_outputs_are_trained_by_the_network_s_own_loss(tmp_path: Path) -> None:
    class WithAux(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.aux_head = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(images)

        def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self.head(images), {"aux": self.aux_head(images)}

        def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
            return 0.4 * nn.functional.cross_entropy(outputs["aux"], targets, ignore_index=255)

    model = WithAux()
    before = model.aux_head.weight.detach().clone()
    make_trainer(tmp_path, Budget(steps=3), model=model).fit(perf_counter())
    assert not torch.equal(model.aux_head.weight, before)


class Slow(nn.Conv2d):
    """A layer that takes its time; the first time, much of it."""

    def __init__(self, seconds: float, first: float) -> None:
        super().__init__(1, 2, 1)
        self.seconds, self.first = seconds, first

    def forward(self, images: Tensor) -> Tensor:
        sleep(self.seconds if self.first == 0 else self.first)
        self.first = 0
        return super().forward(images)


def test_a_run_by_the_clock_counts_its_steps_and_neither_start_up_nor_validation(tmp_path: Path) -> None:
    def slow(network: object) -> EvaluationReport:
        sleep(0.3)
        return report(0.5)

    trainer = make_trainer(tmp_path, Budget(seconds=0.5), validate=slow, model=Slow(0.05, first=0.4))
    state = trainer.fit(perf_counter() - 10)  # seconds spent on starting up
    assert 0.5 <= state.learning_seconds < 0.9
    assert state.step > 4
    assert state.seconds > 10 + 0.5 + 0.4 + 0.3


def test_a_run_by_the_clock_is_validated_at_its_end_and_not_just_before(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(seconds=0.6), model=Slow(0.04, first=0.04), tiles=2)  # an epoch is a step
    state = trainer.fit(perf_counter())
    rows = trainer.run.log.rows()
    steps = [int(row["step"]) for row in rows]
    assert steps[-1] == state.step
    assert all(later - earlier >= 2 for earlier, later in pairwise(steps))
    assert all(float(row["lr"]) > 0 for row in rows)


def test_a_run_by_the_clock_takes_two_steps_at_least(tmp_path: Path) -> None:
    assert make_trainer(tmp_path, Budget(seconds=1e-6)).fit(perf_counter()).step == 2


def test_an_interruption_keeps_the_last_step(tmp_path: Path) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.done == 6:
            raise KeyboardInterrupt

    trainer = make_trainer(tmp_path, Budget(steps=12), progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(perf_counter())
    checkpoint, tensors, values = trainer.run.load_last()
    assert (checkpoint.card.training["steps"], values["loop"]["step"], values["loop"]["validated_step"]) == (6, 6, 4)
    assert torch.equal(checkpoint.read_weights()["weight"], trainer.learner.model.weight)  # type: ignore[arg-type]
    assert tensors["optimizer.0.0.step"] == 6


def test_a_second_interruption_waits_until_the_step_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(event: ProgressEvent) -> None:
        if event.done == 2:
            raise KeyboardInterrupt

    trainer = make_trainer(tmp_path, Budget(steps=12), progress=interrupt)
    save = trainer.run.save_last

    def interrupted(*args: Any, **more: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        save(*args, **more)

    monkeypatch.setattr(trainer.run, "save_last", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(perf_counter())
    assert trainer.run.load_last()[2]["loop"]["step"] == 2


def test_progress_tells_steps_or_seconds(tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    make_trainer(tmp_path / "a", Budget(steps=5), progress=events.append).fit(perf_counter())
    assert [(e.done, e.total, e.unit) for e in events] == [(i, 5, "step") for i in range(1, 6)]
    assert "best mIoU 0.500" in events[-1].note
    make_trainer(tmp_path / "b", Budget(seconds=0.2), progress=events.append).fit(perf_counter())
    assert (events[-1].total, events[-1].unit) == (0.2, "s")


def test_a_run_that_gets_no_better_ends_early(tmp_path: Path) -> None:
    scores = iter([0.3, 0.5, 0.4, 0.5, 0.2])
    trainer = make_trainer(tmp_path, Budget(steps=400), validate=lambda _: report(next(scores)), patience=3, ema=0)
    state = trainer.fit(perf_counter())
    assert (state.step, state.best_step, state.stale) == (100, 40, 3)  # validated at every twentieth of the run
    assert Checkpoint.load(trainer.run.last).card.training["steps"] == 100


def test_watchers_are_told_every_validation(tmp_path: Path) -> None:
    rows: list[LogRow] = []
    trainer = make_trainer(tmp_path, Budget(steps=8))
    trainer.watchers = [rows.append]
    trainer.fit(perf_counter())
    assert [(row.step, row.epoch, row.miou, row.kept) for row in rows] == [(4, 1.0, 0.5, "weights"), (8, 2.0, 0.5, "")]
    assert rows[1].seconds_left == 0 < rows[0].seconds_left
    assert rows[0].pixels_per_second > 0


def test_steps_of_several_batches_see_as_many_samples(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(steps=4), accumulate=2)
    trainer.fit(perf_counter())
    assert [(row["step"], row["epoch"]) for row in trainer.run.log.rows()] == [("2", "1"), ("4", "2")]


def test_averages_are_scored_late_and_the_best_of_all_is_kept(tmp_path: Path) -> None:
    # In the order of calls: the weights alone, then their moving average and that over validations as well.
    late = [0.2, 0.3, 0.5, 0.6, 0.7, 0.5, 0.7, 0.8, *[0.5] * 6, 0.5, 0.5, 0.9]
    scores = iter([0.1] * 14 + late)
    trainer = make_trainer(tmp_path, Budget(steps=80), validate=lambda network: report(next(scores)))
    state = trainer.fit(perf_counter())
    assert next(scores, None) is None
    rows = trainer.run.log.rows()
    assert [row["miou ema"] for row in rows[:14]] == ["nan"] * 14
    assert [(row["miou"], row["miou ema"], row["miou average"]) for row in rows[14:17]] == [
        ("0.2", "0.3", "nan"),
        ("0.5", "0.6", "0.7"),
        ("0.5", "0.7", "0.8"),
    ]
    best = Checkpoint.load(trainer.run.best)
    assert (state.best_miou, state.best_weights) == (0.9, "average of the last 6 validations")
    assert (best.card.training["weights"], best.card.metrics["mean_iou"]) == (state.best_weights, 0.9)
    with trainer.learner.holding(AVERAGE) as model:
        assert torch.equal(best.read_weights()["weight"], model.weight)  # type: ignore[arg-type]
    last = Checkpoint.load(trainer.run.last)
    assert torch.equal(last.read_weights()["weight"], trainer.learner.model.weight)  # type: ignore[arg-type]
    assert last.card.metrics["mean_iou"] == 0.5


def test_the_first_validation_is_the_best_even_if_it_has_no_score(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(steps=4), validate=lambda network: report(np.nan))
    assert trainer.fit(perf_counter()).best_miou == 0
    assert trainer.run.best.exists()


def test_single_weights_have_to_lead_their_averages_by_a_margin(tmp_path: Path) -> None:
    def kept(lead: float) -> str:
        scores = iter([*[0.5 + lead] * 14, 0.4, 0.5, *[0.4] * 15])  # a moving average scores 0.5
        trainer = make_trainer(tmp_path / str(lead), Budget(steps=80), validate=lambda network: report(next(scores)))
        trainer.margin = 0.125
        return trainer.fit(perf_counter()).best_weights

    assert kept(0.0625) == kept(0.0) == "moving average at step 60"
    assert kept(0.25) == "step 4"


def test_equal_scores_keep_the_weights_themselves(tmp_path: Path) -> None:
    state = make_trainer(tmp_path, Budget(steps=4)).fit(perf_counter())
    assert (state.best_weights, state.averaged) == ("step 4", 1)


def test_the_average_over_validations_is_the_mean_of_their_weights(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def validate(network: object) -> EvaluationReport:
        seen.append(trainer.learner.model.weight.detach().clone())  # type: ignore[operator,union-attr]
        return report(0.5)

    trainer = make_trainer(tmp_path, Budget(steps=80), validate=validate, ema=0)
    trainer.fit(perf_counter())
    own = [seen[14], *seen[15::2]]  # from three quarters on; later validations score the average after the weights
    assert len(own) == 6
    with trainer.learner.holding(AVERAGE) as model:
        assert torch.allclose(model.weight, torch.stack(own).mean(0))  # type: ignore[arg-type]


def test_averages_are_scored_before_patience_runs_out(tmp_path: Path) -> None:
    scores = iter([0.5, 0.4, 0.4, 0.6, 0.4, 0.4, 0.4])  # the fourth is that of the moving average
    trainer = make_trainer(tmp_path, Budget(steps=400), validate=lambda network: report(next(scores)), patience=2)
    state = trainer.fit(perf_counter())
    assert (state.step, state.best_step, state.best_weights) == (100, 60, "moving average at step 60")
    assert next(scores, None) is None


def test_a_validation_that_is_done_again_enters_the_average_once(tmp_path: Path) -> None:
    calls = []

    def validate(network: object) -> EvaluationReport:
        calls.append(trainer.state.step)
        if calls.count(76) == 1 and calls[-1] == 76:
            raise KeyboardInterrupt
        return report(0.5)

    trainer = make_trainer(tmp_path, Budget(steps=80), validate=validate)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(perf_counter())
    assert trainer.state.averaged == 5
    trainer.fit(perf_counter())
    assert trainer.state.averaged == 6


def test_values_out_of_range_teach_nothing_and_keep_the_loss_finite(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, Budget(steps=3), tiles=2, bright=np.nan)
    assert np.isfinite(trainer.fit(perf_counter()).loss)
