from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.models.efficientps import DensePredictionCell, SemanticHead, TwoWayFPN
from satseg.inference.network import has_global_context
from satseg.profiling.counts import count_multiply_adds, count_parameters

CHANNELS = (40, 64, 176)  # of EfficientNet-B5 at strides 4, 8 and 16
FINEST, SIDES = 256, (64, 32, 16, 8)  # channels and sides of the pyramid's levels


class Neck(nn.Module):
    """Pyramid and head on features of the sizes that an image gives, made of nothing."""

    def __init__(self, deepest: int) -> None:
        super().__init__()
        self.channels = (*CHANNELS, deepest)
        self.neck, self.head = TwoWayFPN(self.channels), SemanticHead(19)

    def forward(self, images: Tensor) -> Tensor:
        sides = [images.shape[-1] // stride for stride in (4, 8, 16, 32)]
        return self.head(self.neck([images.new_zeros(1, c, s, s) for c, s in zip(self.channels, sides, strict=True)]))


def pyramid() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, FINEST, side, side, generator=generator).requires_grad_() for side in SIDES]


@pytest.mark.parametrize(("deepest", "expected"), [(512, 3_977_491), (2048, 4_763_923)])
def test_pyramid_and_head_have_the_parameters_of_the_reference(deepest: int, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(Neck(deepest)) == expected


@pytest.mark.parametrize(("deepest", "expected"), [(512, 31.0), (2048, 31.5)])
def test_pyramid_and_head_have_the_multiply_adds_of_the_reference(deepest: int, expected: float) -> None:
    with torch.device("meta"):
        counted = count_multiply_adds(Neck(deepest), in_channels=3, height=512, width=512)
    assert 2 * counted / 1e9 == pytest.approx(expected, abs=0.06)


def test_each_level_of_the_pyramid_takes_from_all_levels() -> None:
    torch.manual_seed(0)
    neck = TwoWayFPN((8, 8, 8, 8)).eval()
    features = [torch.randn(1, 8, side, side, requires_grad=True) for side in SIDES]
    for level in neck(features):
        assert all(found.any() for found in torch.autograd.grad(level.sum(), features, retain_graph=True))


def test_paths_of_the_pyramid_resize_by_repeating_constants_and_by_means_of_four() -> None:
    """With reductions and smoothing that do nothing, a level is twice itself and what finer and coarser ones add up."""
    neck = TwoWayFPN((1, 1, 1))
    neck.to_fine = neck.to_coarse = neck.smooth = nn.ModuleList(nn.Identity() for _ in range(3))
    fine = torch.arange(64.0).view(1, 1, 8, 8)
    middle, coarse = torch.full((1, 1, 4, 4), 100.0), torch.full((1, 1, 2, 2), 1000.0)
    found = neck([fine, middle, coarse])
    halved = fine.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1))
    torch.testing.assert_close(found[0], 2 * fine + 1100)
    torch.testing.assert_close(found[1], 2 * middle + halved + 1000)
    torch.testing.assert_close(found[2], 2 * coarse + 100 + halved.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1)))


def test_the_cell_reaches_as_far_as_its_chains_of_dilations() -> None:
    """Rows by 1 + 18 + 6 to each side, columns by 6 + 21."""
    cell = DensePredictionCell().eval()
    for parameter in cell.parameters():
        nn.init.constant_(parameter, 1e-3)
    x = torch.ones(1, FINEST, 65, 65, requires_grad=True)
    (gradient,) = torch.autograd.grad(cell(x)[0, 0, 32, 32], x)
    rows, columns = gradient[0].any(dim=0).nonzero().sub(32).abs().amax(dim=0).tolist()
    assert (rows, columns) == (25, 27)


def test_scores_take_from_levels_as_fine_as_their_own_and_coarser_ones() -> None:
    torch.manual_seed(0)
    head, levels = SemanticHead(4), pyramid()
    head.eval().classify = nn.Identity()
    for number, part in enumerate(head(levels).chunk(4, dim=1)):  # those of strides 32, 16, 8 and 4
        taken = torch.autograd.grad(part.sum(), levels, retain_graph=True, allow_unused=True)
        assert [found is not None and bool(found.any()) for found in taken] == [
            4 - place <= number + 1 for place in range(4)
        ]


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b5", "seresnext50_32x4d"])
def test_encoders_are_without_squeeze_and_excitation(encoder: str) -> None:
    with torch.device("meta"):
        model = create_model("efficientps", in_channels=3, num_classes=2, encoder=encoder)
    assert not has_global_context(model)
    names = {type(module).__name__ for module in model.modules()}
    assert not names & {"SqueezeExcite", "SEModule"}
    logits = model(torch.empty(1, 3, 64, 96, device="meta"))
    assert logits.shape == (1, 2, 64, 96)
