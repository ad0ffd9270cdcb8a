"""What is special of Auto-DeepLab."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.models.autodeeplab import Cell
from satseg.errors import ArchitectureError

BRANCHES = "a51 s30 s31 a30 s33 s31 s54 s52 s53 a55"  # operation, kernel and input, as the authors' code lists them


def branch(x: Tensor, layers: nn.Module, kind: str, kernel: int, *, stride: int) -> Tensor:
    """A branch as the authors' code has it, from the weights of ours: no dilation where it halves."""
    x = F.relu(x)
    convs = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers.modules() if isinstance(layer, nn.BatchNorm2d)]
    if kind == "a":
        rate = 2 if stride == 1 else 1
        if stride == 2:
            size = [(side + 1) // 2 for side in x.shape[-2:]]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
        return norms[0](F.conv2d(x, convs[0].weight, padding=rate * (kernel // 2), dilation=rate))
    for number, norm in enumerate(norms):
        x = F.relu(x)
        step = stride if number == 0 else 1
        depth, point = (conv.weight for conv in convs[2 * number : 2 * number + 2])
        x = norm(F.conv2d(F.conv2d(x, depth, stride=step, padding=kernel // 2, groups=x.shape[1]), point))
    return x


@pytest.mark.parametrize("halves", [False, True])
@torch.inference_mode()
def test_a_cell_has_the_branches_that_were_found(halves: bool) -> None:
    torch.manual_seed(0)
    cell = Cell(6, 10, 4, halves=halves).eval()
    for norm in (layer for layer in cell.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    x, former = torch.randn(1, 6, 17, 33), torch.randn(1, 10, 33, 65)
    states = [cell.input(F.relu(x)), cell.former(F.relu(former[..., ::2, ::2]))]
    parts = []
    for number, spelt in enumerate(BRANCHES.split()):
        kind, kernel, state = spelt[0], int(spelt[1]), int(spelt[2])
        stride = 2 if halves and state < 2 else 1
        parts.append(branch(states[state], cell.branches[number], kind, kernel, stride=stride))
        if number % 2:
            states.append(parts[-2] + parts[-1])
    torch.testing.assert_close(cell(x, former), torch.cat(states[2:], dim=1))


def test_cells_follow_the_path_that_was_found() -> None:
    with torch.device("meta"):
        model = create_model("autodeeplab", in_channels=3, num_classes=2, size="S").eval()
        shapes: list[tuple[int, ...]] = []
        for cell in model.cells:
            cell.register_forward_hook(lambda _layer, _taken, made: shapes.append(tuple(made.shape[1:])))
        model(torch.empty(1, 3, 129, 193))
    strides = [4, 4, 4, 8, 16, 8, 16, 16, 32, 32, 16, 8]
    assert shapes == [(25 * stride, 128 // stride + 1, 192 // stride + 1) for stride in strides]


def test_another_size_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="no size 'XL'"):
        create_model("autodeeplab", in_channels=3, num_classes=2, size="XL")
