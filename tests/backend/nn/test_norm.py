from __future__ import annotations

import pytest
import torch

from satseg.backend.nn.norm import BatchNorm2d, tolerate_single_values


def test_single_value_per_channel_uses_running_statistics() -> None:
    norm = BatchNorm2d(2).train()
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
        norm.running_var.fill_(4.0 - norm.eps)
    value = norm(torch.tensor([3.0, 3.0]).view(1, 2, 1, 1)).flatten()
    assert value.tolist() == pytest.approx([1.0, 0.5])
    assert norm.running_mean.tolist() == [1.0, 2.0]


def test_several_values_normalise_as_torch_does() -> None:
    ours, theirs = BatchNorm2d(3).train(), torch.nn.BatchNorm2d(3).train()
    x = torch.rand(2, 3, 1, 1)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)


def test_norms_of_other_libraries_are_made_to_survive_a_single_value() -> None:
    net = torch.nn.Sequential(torch.nn.BatchNorm2d(2), torch.nn.BatchNorm1d(2))
    tolerate_single_values(net)
    assert [type(layer) for layer in net] == [BatchNorm2d, torch.nn.BatchNorm1d]
    assert torch.isfinite(net[0](torch.ones(1, 2, 1, 1))).all()
