from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from satseg.errors import TrainingError, UsageError
from satseg.raster.bands import Moments, find_clipping, merge_moments
from satseg.records import BandStatistics, Clipping
from satseg.training.augment import draw_params, stack_params
from satseg.training.augmentation import PRESETS
from satseg.training.learner import AVERAGE, EMA, Learner
from satseg.training.recipe import Recipe
from satseg.training.sampling import Batch

STATISTICS = BandStatistics(1, (0.0,) * 2, (1.0,) * 2, (-9.0,) * 2, (9.0,) * 2)


class Small(nn.Module):
    """An encoder with a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


class WithAttention(nn.Module):
    """An encoder with layers as in the attention of timm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        attention = nn.ModuleDict({"qkv": nn.Linear(2, 6), "proj": nn.Linear(6, 4)})
        self.encoder = nn.ModuleDict({"attn": attention, "norm": nn.BatchNorm2d(4)})
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        layers = self.encoder["attn"]
        tokens: Tensor = layers["proj"](layers["qkv"](images.movedim(1, -1)).relu())
        logits: Tensor = self.head(self.encoder["norm"](tokens.movedim(-1, 1)))
        return logits


def make_learner(model: nn.Module | None = None, **choices: Any) -> Learner:
    torch.manual_seed(0)
    clipping, statistics = choices.pop("clipping", None), choices.pop("statistics", STATISTICS)
    recipe = Recipe(**({"lr": 1e-2, "loss": "ce"} | choices))
    fabric = Fabric(accelerator="cpu", devices=1)
    learner = Learner(model or Small(), recipe, statistics, fabric, clipping=clipping)
    learner.setup()
    return learner


def make_batch(*seeds: int) -> Batch:
    samples = [np.random.default_rng(seed).normal(size=(2, 8, 8)).astype(np.float32) for seed in seeds]
    bands = np.stack(samples)
    labels = (bands[:, 0] > 0).astype(np.uint8)
    params = stack_params([draw_params(PRESETS["none"], 2, np.random.default_rng(0)) for _ in seeds])
    names, valid = tuple(f"tile-{seed}" for seed in seeds), np.ones(labels.shape, dtype=bool)
    return Batch(names, bands, labels, valid, np.empty((len(seeds), 0, 8, 8), np.uint8), params)


def train(learner: Learner, steps: range, **more: Any) -> list[float]:
    return [learner.update([make_batch(s, s + 100)], step=s, epoch=s / 4, lr=1e-2, decay=0.5, **more) for s in steps]


def weights(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_accumulated_batches_step_like_one_larger_batch() -> None:
    whole, parts = (make_learner(freeze_norm=True, optimizer="sgd") for _ in range(2))
    loss = whole.update([make_batch(1, 2, 3, 4)], step=0, epoch=0.0, lr=1e-2)
    again = parts.update([make_batch(1, 2), make_batch(3, 4)], step=0, epoch=0.0, lr=1e-2)
    assert again == pytest.approx(loss, rel=1e-6)
    assert all(
        torch.allclose(a, b, atol=1e-7) for a, b in zip(*(weights(x).values() for x in (whole, parts)), strict=True)
    )


def test_a_frozen_encoder_stands_still_until_its_epochs_are_over() -> None:
    learner = make_learner(freeze_encoder=1.0)
    before = weights(learner)
    train(learner, range(4))
    assert changed(before, weights(learner)) == {"head.weight", "head.bias"}
    train(learner, range(4, 6))
    assert changed(before, weights(learner)) == set(before)


def test_frozen_norms_keep_their_statistics_and_learn_scale_and_shift() -> None:
    learner = make_learner(freeze_norm=True)
    before = weights(learner)
    train(learner, range(3))
    kept = {f"encoder.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed(before, weights(learner)) == set(before) - kept


@pytest.mark.parametrize("choices", [{}, {"encoder_rate": 0.1}, {"ema": 0.9, "optimizer": "sgd"}])
def test_lora_trains_factors_and_head_and_goes_on_to_the_bit(choices: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = WithAttention()
    before = copy.deepcopy(plain.state_dict())
    straight, first = (make_learner(copy.deepcopy(plain), lora=2, **choices) for _ in range(2))
    assert changed(before, straight.weights()) == set()
    train(straight, range(6))
    train(first, range(3))
    learnt = {"encoder.attn.qkv.weight", "encoder.attn.proj.weight", "head.weight", "head.bias"}
    assert changed(before, straight.weights()) == learnt
    kept = {
        name: straight.tensors()[f"lora.encoder.attn.{name}.parametrizations.weight.original"]
        for name in ("qkv", "proj")
    }
    assert all(torch.equal(tensor, before[f"encoder.attn.{name}.weight"]) for name, tensor in kept.items())
    plain.load_state_dict(first.weights())  # as from the last checkpoint
    second = make_learner(plain, lora=2, **choices)
    second.restore(first.tensors(), first.values())
    train(second, range(3, 6))
    assert changed(straight.weights(), second.weights()) == set()
    for name in straight.averages:
        with straight.holding(name), second.holding(name):
            assert changed(straight.weights(), second.weights()) == set()
    best = straight.weights()
    straight.load_final(best)
    assert straight.model.state_dict().keys() == before.keys()


def test_factors_learn_at_the_rate_of_the_head() -> None:
    learner = make_learner(WithAttention(), lora=2, encoder_rate=0.1)
    assert {group["rate"] for group in learner.optimizer.param_groups} == {1.0}


def test_a_network_without_an_encoder_cannot_have_it_frozen() -> None:
    with pytest.raises(UsageError, match="no encoder"):
        make_learner(nn.Conv2d(2, 2, 1), freeze_encoder=1.0)
    with pytest.raises(UsageError, match="no encoder"):
        make_learner(nn.Conv2d(2, 2, 1), encoder_rate=0.1)


@pytest.mark.parametrize(
    "choices", [{"ema": 0.9}, {"optimizer": "sgd"}, {"freeze_encoder": 1.0}, {"encoder_rate": 0.1}]
)
def test_a_learner_put_back_goes_on_to_the_bit(choices: dict[str, Any]) -> None:
    straight, first = make_learner(**choices), make_learner(**choices)
    train(straight, range(6))
    train(first, range(3))
    model = Small()
    model.load_state_dict(weights(first))
    second = Learner(model, first.recipe, STATISTICS, Fabric(accelerator="cpu", devices=1))
    second.restore(first.tensors(), first.values())
    second.setup()
    train(second, range(3, 6))
    assert changed(weights(straight), weights(second)) == set()
    assert straight.averages == second.averages
    for name in straight.averages:
        with straight.holding(name), second.holding(name):
            assert changed(weights(straight), weights(second)) == set()


@pytest.mark.parametrize("name", [EMA, AVERAGE])
def test_a_learner_holds_an_average_for_a_while(name: str) -> None:
    learner = make_learner()
    for count in (1, 2, 3):
        train(learner, range(count, count + 1))
        learner.average_validations(count)
    own = weights(learner)
    with learner.holding(name) as model:
        assert not model.training
        assert changed(own, weights(learner)) >= {"head.weight", "encoder.1.running_mean"}
    assert changed(own, weights(learner)) == set()


def test_an_average_over_no_validations_is_none() -> None:
    learner = make_learner(ema=0)
    learner.average_validations(1)
    assert learner.averages == (AVERAGE,)
    learner.average_validations(0)
    assert learner.averages == ()


def test_a_learner_put_back_goes_on_with_its_average_over_validations() -> None:
    first = make_learner()
    train(first, range(2))
    first.average_validations(1)
    second = make_learner()
    second.model.load_state_dict(weights(first))
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()}, first.values())
    for learner in (first, second):
        train(learner, range(2, 4))
        learner.average_validations(2)
    with first.holding(AVERAGE), second.holding(AVERAGE):
        assert changed(weights(first), weights(second)) == set()


def test_gradients_are_clipped_unless_told_not_to() -> None:
    moved = {}
    for clip in (0.0, 1e-3):
        learner = make_learner(optimizer="sgd", clip=clip, weight_decay=0.0)
        before = weights(learner)
        train(learner, range(1))
        after = dict(learner.model.named_parameters())
        moved[clip] = sum((after[name] - before[name]).square().sum() for name in after)
    assert moved[1e-3].sqrt().item() == pytest.approx(1e-2 * 1e-3 * 1.9, rel=1e-3)  # Nesterov: 1 + momentum
    assert moved[0.0] > 100 * moved[1e-3]


def test_a_loss_that_is_not_finite_names_the_tiles_whose_values_are_far_out() -> None:
    class Exploding(Small):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return logits * (images[:, :1] / 100).exp()

    batch = make_batch(1, 2, 3)
    batch.bands[1, 0, 3, 3] = 20_000
    learner = make_learner(Exploding())
    before = weights(learner)
    with pytest.raises(TrainingError, match=r"at step 8, on the tiles tile-2\.") as caught:
        learner.update([batch], step=7, epoch=0.0, lr=1e-2)
    assert "`precision='fp16'`" in caught.value.hint
    assert {name for name in changed(before, weights(learner)) if "running" not in name and "num" not in name} == set()


@pytest.mark.parametrize("odd", [-3.4028235e38, float("inf"), float("nan")])
def test_values_out_of_range_teach_what_invalid_pixels_teach(odd: float) -> None:
    learners = make_learner(), make_learner()
    for learner, value in zip(learners, (odd, 0.0), strict=True):
        batch = make_batch(1, 2, 3)
        batch.bands[1, :, 3, 3] = value
        batch.valid[1, 3, 3] = value == odd
        learner.update([batch], step=0, epoch=0.0, lr=1e-2)
        assert np.isfinite(learner.logits(batch.bands, batch.valid).detach().numpy()).all()
    assert changed(*(weights(learner) for learner in learners)) == set()


def test_dropout_is_a_function_of_seed_and_step() -> None:
    model = nn.Sequential(nn.Conv2d(2, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 2, 1))
    losses = []
    for step in (3, 3, 4):
        learner = make_learner(nn.Sequential(nn.Conv2d(2, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 2, 1)))
        learner.model.load_state_dict(model.state_dict())
        losses.append(learner.update([make_batch(1, 2)], step=step, epoch=0.0, lr=1e-2))
    assert losses[0] == losses[1] != losses[2]


def test_training_and_validation_clip_the_same_values() -> None:
    class Watching(Small):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.detach().clone())
            return super().forward(images)

    for clipping, largest in ((None, 900.0), (Clipping((0.0, 0.0), (2.0, 1.0), 8.0), 8.0)):
        seen: list[Tensor] = []
        batch = make_batch(1, 2)
        batch.bands[0, 0, 3, 3] = 900.0
        learner = make_learner(Watching(), clipping=clipping)
        learner.update([batch], step=0, epoch=0.0, lr=1e-2)
        with learner.holding("weights"):
            learner.logits(batch.bands, batch.valid)
        assert torch.equal(*seen)
        assert seen[0].max() == largest


def test_rare_echoes_drown_nothing_where_values_are_clipped() -> None:
    """Lognormal speckle of a radar, with points a thousand times as bright, normalised by its own statistics."""
    batches = [radar(step) for step in range(60)]
    values = np.concatenate([batch.bands for batch in batches])
    moments = Moments.of(values.transpose(1, 0, 2, 3).reshape(2, -1, 8), np.ones((values[:, 0].size // 8, 8), bool))
    assert moments is not None
    statistics = merge_moments([moments])
    losses = {}
    for clipping in (None, find_clipping(statistics, values.transpose(1, 0, 2, 3).reshape(2, -1), 8.0)):
        learner = make_learner(statistics=statistics, clipping=clipping)
        found = [learner.update([batch], step=step, epoch=0.0, lr=1e-2) for step, batch in enumerate(batches)]
        losses[clipping is None] = np.mean(found[-10:])
    assert losses[False] < 0.5 * losses[True]


def radar(seed: int) -> Batch:
    """Return tiles whose second class scatters three times as much as the first one, with a few strong echoes."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((4, 8, 8)) < 0.5).astype(np.uint8)
    bands = np.exp(rng.normal(np.log(3.0) * labels[:, None], 0.3, size=(4, 2, 8, 8)))
    bands[rng.random(bands.shape) < 0.002] *= 1000
    return replace(make_batch(1, 2, 3, 4), bands=bands.astype(np.float32), labels=labels)
