from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.backend.nn.initialise import he_normal


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 64 * 9), ("fan_out", 16 * 9)])
def test_weights_of_all_modules_have_the_variance_of_their_fan_and_biases_are_zero(mode: str, fan: int) -> None:
    torch.manual_seed(0)
    convs = [nn.Conv2d(64, 16, 3) for _ in range(2)]
    he_normal(nn.Sequential(convs[0], nn.ReLU()), convs[1], mode=mode)  # type: ignore[arg-type]
    assert [conv.weight.std().item() for conv in convs] == pytest.approx([(2 / fan) ** 0.5] * 2, rel=0.03)
    assert not any(conv.bias.any() for conv in convs)


def test_what_is_not_named_stays() -> None:
    net = nn.ModuleDict({"trained": nn.Conv2d(3, 8, 3), "head": nn.Conv2d(8, 2, 1)})
    before = net["trained"].weight.clone()
    he_normal(net["head"])
    assert torch.equal(net["trained"].weight, before)
