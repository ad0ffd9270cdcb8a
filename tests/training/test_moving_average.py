from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.training.moving_average import MovingAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def change(model: nn.Module) -> None:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor += 1


def test_averages_by_hand() -> None:
    model = network()
    before = model[0].weight.detach().clone()
    averages = MovingAverage(model, decay=0.9)
    for step in range(3):
        change(model)
        averages.update(step)
    offset = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0)):
        decay = min(0.9, (1 + step) / (10 + step))
        offset = decay * offset + (1 - decay) * value
    assert torch.allclose(averages.tensors()["0.weight"], before + offset)


def test_a_decay_is_reached_in_the_end() -> None:
    model = network()
    averages = MovingAverage(model, decay=0.5)
    change(model)
    averages.update(1000)
    assert averages.tensors()["1.running_mean"].tolist() == pytest.approx([0.5, 0.5])


def test_averages_are_in_place_for_a_while_and_the_weights_come_back_to_the_bit() -> None:
    model = network()
    averages = MovingAverage(model, decay=0.9)
    change(model)
    averages.update(5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = averages.tensors()["0.weight"].clone()
    with pytest.raises(KeyboardInterrupt), averages.in_place():
        assert torch.equal(model[0].weight, expected)
        raise KeyboardInterrupt
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(averages.tensors()["0.weight"], expected)


def test_averages_put_back_go_on_to_the_bit() -> None:
    model = network()
    averages = MovingAverage(model, decay=0.9)
    change(model)
    averages.update(1)
    again = MovingAverage(model, decay=0.9)
    again.restore(averages.tensors())
    change(model)
    averages.update(2)
    again.update(2)
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in averages.tensors().items())
