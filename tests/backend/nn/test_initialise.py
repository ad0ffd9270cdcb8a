from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.backend.nn.initialise import he_normal, looks_linear


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


def test_rectified_convolutions_that_look_linear_are_a_linear_map_of_the_same_scale() -> None:
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 256, 3, padding=1), nn.ReLU()]
    top = [nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 64, 1)]
    looks_linear(*stem)
    looks_linear(*top, paired=True)
    net = nn.Sequential(*stem, *top)
    a, b = torch.randn(2, 8, 3, 16, 16)
    torch.testing.assert_close(net(a + b), net(a) + net(b), rtol=1e-4, atol=1e-5)
    assert net(a)[..., 3:-3, 3:-3].std().item() == pytest.approx(1.0, rel=0.1)
