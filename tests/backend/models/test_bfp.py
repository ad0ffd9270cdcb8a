from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.models.bfp import PointLinear, Propagation
from satseg.backend.nn.boundary_labels import boundaries

CHANNELS = 6


def mapped(linear: PointLinear, stack: int, pixel: Tensor) -> Tensor:
    return pixel @ linear.weight[stack] + linear.bias[stack, 0]


def pixel_by_pixel(propagation: Propagation, x: Tensor, gate: Tensor) -> Tensor:
    """Equations 4 to 6 for one image (C, H, W): each pixel after those that speak to it."""
    _, height, width = x.shape
    total = torch.zeros_like(x)
    for up in (0, 1):
        rows = range(height - 1, -1, -1) if up else range(height)
        step = -1 if up else 1
        vertical = x.clone()
        for row in list(rows)[1:]:
            for column in range(width):
                said = mapped(propagation.rows.said, up, vertical[:, row - step, column]) * gate[row - step, column]
                vertical[:, row, column] = (mapped(propagation.rows.own, up, x[:, row, column]) + said).relu()
        for left in (0, 1):
            way, back = 2 * left + up, -1 if left else 1
            sweep = propagation.columns
            found = vertical.clone()
            for column in list(range(width - 1, -1, -1) if left else range(width))[1:]:
                for row in range(height):
                    value = mapped(sweep.own, way, vertical[:, row, column])
                    spoken = mapped(sweep.said, way, found[:, row, column - back]) * gate[row, column - back]
                    value = value + spoken[:CHANNELS]
                    if 0 <= row - step < height:
                        spoken = mapped(sweep.said, way, found[:, row - step, column - back])
                        value = value + sweep.diagonal[way].item() * (
                            spoken[CHANNELS:] * gate[row - step, column - back]
                        )
                    found[:, row, column] = value.relu()
            total += found
    return total


def test_features_spread_from_line_to_line_as_the_equations_say() -> None:
    torch.manual_seed(2)
    propagation = Propagation(CHANNELS).requires_grad_(False)
    propagation.columns.diagonal.uniform_()
    x, gate = torch.rand(2, CHANNELS, 4, 5), torch.rand(2, 1, 4, 5)
    found = propagation(x, gate)
    for number in range(2):
        torch.testing.assert_close(found[number], pixel_by_pixel(propagation, x[number], gate[number, 0]))


def test_every_pixel_hears_of_every_other_one_unless_gates_are_shut() -> None:
    torch.manual_seed(2)
    propagation = Propagation(CHANNELS)
    x = torch.rand(1, CHANNELS, 5, 6, requires_grad=True)
    for gate, all_of_them in ((torch.ones(1, 1, 5, 6), True), (torch.zeros(1, 1, 5, 6), False)):
        (gradient,) = torch.autograd.grad(propagation(x, gate)[0, :, 2, 3].sum(), x)
        heard = gradient.any(dim=1)[0]
        assert bool(heard.all()) == all_of_them
        assert bool(heard[2, 3])


def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("bfp", in_channels=3, num_classes=3, encoder="resnet18").eval()


def test_gates_are_shut_where_boundaries_are_likeliest() -> None:
    model = network()
    gates = []
    model.propagation.register_forward_pre_hook(lambda _, inputs: gates.append(inputs[1]))
    images = torch.randn(1, 3, 64, 80)
    with torch.inference_mode():
        _, coarse = model.forward_with_aux(images)
        likely = torch.cat([coarse["coarse"], coarse["boundary"]], dim=1).softmax(dim=1)[:, -1:, ::8, ::8]
    (gate,) = gates
    inner = gate[..., :8, :10]  # without what the image is extended by, 65 x 81 px have 9 x 11 cells
    # The authors' form, with mean and bias, which cancel but for the part of the map that is compared.
    expected = (2 * (likely.amax() - likely)).clamp(0, 1)
    offset = (inner - expected).flatten()
    torch.testing.assert_close(offset, offset[:1].expand_as(offset), rtol=0, atol=1e-5)
    assert gate.min() == 0


def test_its_loss_is_the_cross_entropy_of_labels_whose_boundaries_are_one_class_more() -> None:
    model = network()
    labels = torch.zeros(2, 40, 48, dtype=torch.int64)
    labels[:, 15:, 20:] = 2
    labels[1, :9] = 255
    _, outputs = model.forward_with_aux(torch.randn(2, 3, 40, 48))
    scores = torch.cat([outputs["coarse"], outputs["boundary"]], dim=1)
    assert outputs["coarse"].shape == (2, 3, 40, 48)
    with_boundaries = torch.where(boundaries(labels, reach=4), 3, labels)
    assert (with_boundaries == 3).any()
    expected = F.cross_entropy(scores, with_boundaries, ignore_index=255)
    torch.testing.assert_close(model.aux_loss(outputs, labels), expected)
    assert model.aux_loss(outputs, torch.full_like(labels, 255)).item() == 0
