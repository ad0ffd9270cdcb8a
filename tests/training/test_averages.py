from __future__ import annotations

import signal

import pytest
import torch
from torch import nn

from satseg.training.averages import WeightAverage, needed_lead


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def change(model: nn.Module) -> None:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor += 1


def test_constant_shares_make_an_exponential_average() -> None:
    model = network()
    before = model[0].weight.detach().clone()
    average, offset = WeightAverage(model), 0.0
    for value in (1.0, 2.0, 3.0):
        change(model)
        average.add(0.1)
        offset = 0.9 * offset + 0.1 * value
    assert torch.allclose(average.tensors()["0.weight"], before + offset)


def test_shares_of_one_over_the_count_make_the_mean_also_of_the_statistics_of_norms() -> None:
    model = network()
    average, seen = WeightAverage(model), []
    for count in range(1, 5):
        change(model)
        average.add(1 / count)
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    means = {name: torch.stack([one[name] for one in seen]).mean(0) for name in ("0.weight", "1.running_var")}
    assert all(torch.allclose(average.tensors()[name], mean, rtol=1e-6) for name, mean in means.items())
    assert "1.num_batches_tracked" not in average.tensors()  # a count, of which there is no average


def test_the_first_of_a_mean_is_taken_to_the_bit() -> None:
    model = network()
    average = WeightAverage(model)
    change(model)
    average.add(1.0)
    assert torch.equal(average.tensors()["0.weight"], model[0].weight)


def test_averages_are_in_place_for_a_while_and_the_weights_come_back_to_the_bit() -> None:
    model = network()
    averages = WeightAverage(model)
    change(model)
    averages.add(0.4)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = averages.tensors()["0.weight"].clone()
    with pytest.raises(KeyboardInterrupt), averages.in_place():
        assert torch.equal(model[0].weight, expected)
        raise KeyboardInterrupt
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(averages.tensors()["0.weight"], expected)


def test_averages_put_back_go_on_to_the_bit() -> None:
    model = network()
    averages = WeightAverage(model)
    change(model)
    averages.add(0.4)
    again = WeightAverage(model)
    again.restore(averages.tensors())
    change(model)
    averages.add(0.3)
    again.add(0.3)
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in averages.tensors().items())


def test_a_signal_during_a_swap_leaves_the_weights_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    averages = WeightAverage(model)
    change(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    swap = averages.swap

    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)
        swap()

    monkeypatch.setattr(averages, "swap", interrupted)
    with pytest.raises(KeyboardInterrupt), averages.in_place():
        pass
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_the_lead_of_single_weights_falls_with_the_root_of_the_number_of_tiles() -> None:
    assert needed_lead(1) == 0.05
    assert needed_lead(25) == pytest.approx(0.01)
