from __future__ import annotations

import math

import pytest

from satseg.backend import create_model, list_architectures
from satseg.training.optimizers import encoder_of
from satseg.training.rates import RATES, SAMPLES, encoder_factor, peak_rate, warm_up

NETWORKS = {entry.name: entry for entry in list_architectures()}


@pytest.mark.parametrize("arch", NETWORKS)
def test_a_network_gets_the_rate_of_its_docstring_and_sgd_one_in_proportion(arch: str) -> None:
    rate = NETWORKS[arch].rate
    assert peak_rate(arch, "adamw") == rate
    assert peak_rate(arch, "sgd") == pytest.approx(rate * RATES["sgd"] / RATES["adamw"], rel=5e-3)  # three digits


@pytest.mark.parametrize("arch", ["net.py:tiny", "nothing"])
def test_a_network_that_is_not_listed_gets_the_default_of_the_optimiser(arch: str) -> None:
    assert {optimizer: peak_rate(arch, optimizer) for optimizer in RATES} == RATES
    assert warm_up(arch, "poly") == 0.05
    assert encoder_factor(arch, {"pretrained": True}) == 1


@pytest.mark.parametrize("steps", [1 / 8, 1 / 2, 1, 2, 4, 16])
def test_the_rate_grows_with_the_root_of_the_samples_for_adamw_and_with_the_samples_for_sgd(steps: float) -> None:
    samples = round(steps * SAMPLES)
    assert peak_rate("x", "adamw", samples=samples) == pytest.approx(RATES["adamw"] * math.sqrt(steps), rel=5e-3)
    assert peak_rate("x", "sgd", samples=samples) == pytest.approx(RATES["sgd"] * steps, rel=5e-3)


def test_a_rate_has_three_digits_so_that_it_can_be_given_again() -> None:
    assert peak_rate("x", "adamw", samples=4) == 0.00212


def test_the_warm_up_is_the_longer_one_of_schedule_and_network() -> None:
    for arch, entry in NETWORKS.items():
        assert warm_up(arch, "one-cycle") == max(0.3, entry.warm_up or 0)
        assert warm_up(arch, "poly") == max(0.05, entry.warm_up or 0)


@pytest.mark.parametrize("options", [{"pretrained": True}, {"encoder_weights": "resnet.pth"}])
def test_an_encoder_that_starts_from_weights_learns_slowly(options: dict[str, object]) -> None:
    assert encoder_factor("unet", {"encoder": "resnet18"} | options) == 0.1
    assert encoder_factor("unet", {"encoder": "resnet18", "pretrained": False}) == 1


@pytest.mark.parametrize("arch", [name for name, entry in NETWORKS.items() if entry.encoder != "own"])
def test_every_exchangeable_encoder_is_found_by_the_optimiser(arch: str) -> None:
    import torch

    with torch.device("meta"):
        model = create_model(arch, in_channels=3, num_classes=2)
    assert encoder_of(model) is not None
