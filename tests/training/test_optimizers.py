from __future__ import annotations

import torch
from torch import nn

from satseg.training.optimizers import make_optimizer, optimizer_tensors, restore_optimizer, set_rate


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    return net.to(memory_format=torch.channels_last)


def update(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(images).square().mean().backward()
    optimizer.step()


def test_norms_and_biases_are_not_decayed() -> None:
    net = network()
    decayed, plain = make_optimizer("adamw", net, lr=1e-3, weight_decay=0.1).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4, 3, 3)]
    assert [tuple(p.shape) for p in plain["params"]] == [(4,), (4,), (4,), (2,)]


def test_an_optimiser_put_back_goes_on_to_the_bit() -> None:
    straight, broken = network(), network()
    first = make_optimizer("adamw", straight, lr=1e-2, weight_decay=0.1)
    for seed in range(6):
        update(straight, first, seed)

    second = make_optimizer("adamw", broken, lr=1e-2, weight_decay=0.1)
    for seed in range(3):
        update(broken, second, seed)
    third = make_optimizer("adamw", broken, lr=1e-2, weight_decay=0.1)
    restore_optimizer(third, optimizer_tensors(second))
    for seed in range(3, 6):
        update(broken, third, seed)

    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), broken.parameters(), strict=True))
    moments = third.state[broken[0].weight]["exp_avg"]  # type: ignore[index]
    assert moments.is_contiguous(memory_format=torch.channels_last)


def test_parameters_that_are_frozen_are_left_out() -> None:
    net = network()
    net[0].requires_grad_(False)  # type: ignore[index]
    assert [len(g["params"]) for g in make_optimizer("adamw", net, lr=1e-3, weight_decay=0.1).param_groups] == [1, 3]


class WithEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)


def test_an_encoder_moves_by_its_own_rate() -> None:
    optimizer = make_optimizer("sgd", WithEncoder(), lr=1.0, weight_decay=0.1, encoder_rate=0.1)
    set_rate(optimizer, 0.5)
    rates = {tuple(p.shape): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {(4, 3, 3, 3): 0.05, (4,): 0.05, (2, 4, 1, 1): 0.5, (2,): 0.5}


def test_sgd_has_nesterov_s_momentum_and_goes_on_to_the_bit() -> None:
    straight, broken = network(), network()
    first, second = (make_optimizer("sgd", net, lr=1e-2, weight_decay=0.1) for net in (straight, broken))
    assert (first.param_groups[0]["momentum"], first.param_groups[0]["nesterov"]) == (0.9, True)
    update(straight, first, 0)
    update(straight, first, 1)
    update(broken, second, 0)
    third = make_optimizer("sgd", broken, lr=1e-2, weight_decay=0.1)
    restore_optimizer(third, optimizer_tensors(second))
    update(broken, third, 1)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), broken.parameters(), strict=True))
