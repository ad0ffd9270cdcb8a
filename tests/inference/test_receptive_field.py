from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.inference.network import Network
from satseg.inference.receptive_field import effective_receptive_field
from satseg.records import BandStatistics

IDENTITY = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))


def network(*models: nn.Module) -> Network:
    classes = ClassTable.from_names(["a", "b"])
    first, *others = (model.requires_grad_(False) for model in models)
    found = Network(first, classes=classes, statistics=IDENTITY, device=torch.device("cpu"))
    for model in others:
        found.add(model, IDENTITY)
    return found


def box(side: int, *, dilation: int = 1) -> nn.Module:
    """A convolution whose gradient is the same over all that it covers."""
    conv = nn.Conv2d(1, 2, side, padding=side // 2 * dilation, dilation=dilation, bias=False)
    nn.init.constant_(conv.weight, 1.0)
    return conv


class WholeWindow(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images + images.mean((2, 3), keepdim=True) * 1e6).repeat(1, 2, 1, 1)


class Rounded(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(images[:, 0].round().long().clamp(0, 1), 2).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("model", "side"),
    [
        (box(1), 1),
        (box(7), 7),
        (box(61), 61),
        (box(3, dilation=10), 21),
        (box(101), 99),  # 99 * 99 pixels hold 96 % of it, and fill more than half of the first window
    ],
)
def test_side_of_a_known_field(model: nn.Module, side: int) -> None:
    assert effective_receptive_field(network(model)) == side


def test_the_share_decides() -> None:
    """Rings around a pixel hold 1, 8, 16, 24 and so on of the 441 pixels that a box of 21 covers."""
    assert effective_receptive_field(network(box(21)), share=0.5) == 15
    assert effective_receptive_field(network(box(21)), share=0.1) == 7


def test_the_farthest_sight_of_several_models_counts() -> None:
    assert effective_receptive_field(network(box(5), box(9), box(3))) == 9


def test_a_network_that_sees_everything_fills_the_window() -> None:
    assert effective_receptive_field(network(WholeWindow()), window=192) >= 180


def test_without_gradients_nothing_is_known() -> None:
    assert effective_receptive_field(network(Rounded())) is None
