from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.backend import create_model
from satseg.backend.models.ocnet import ContextOfBlocks, ContextOfHalves
from satseg.errors import ArchitectureError


def test_another_context_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="no context 'psp'"):
        create_model("ocnet", in_channels=3, num_classes=2, context="psp")


@pytest.mark.parametrize(("side", "blocks", "ends"), [(8, 2, [4, 8]), (11, 3, [3, 6, 11]), (5, 6, [5])])
def test_pixels_attend_to_those_of_their_block(side: int, blocks: int, ends: list[int]) -> None:
    torch.manual_seed(3)
    context = ContextOfBlocks(8, blocks)
    nn.init.normal_(context.project.weight)
    features = torch.randn(1, 8, side, side).requires_grad_()
    (gradient,) = torch.autograd.grad(context.eval()(features)[0, :, 1, -1].sum(), features)
    seen = gradient[0].any(dim=0)
    assert seen[: ends[0], ([0, *ends])[-2] :].all()
    assert seen.sum() == ends[0] * (side - ([0, *ends])[-2])


def test_context_of_halves_lies_where_its_features_lie() -> None:
    """The maximum of two pixels of a ramp is half a step above their mean, in every part of it."""
    context = ContextOfHalves(1, 1, 1, 1).requires_grad_(False)
    context.value, context.project = nn.Identity(), nn.Identity()
    context.mean = lambda key, value: value  # type: ignore[method-assign]
    ramp = torch.arange(9.0).expand(1, 1, 7, 9)
    found = context.eval()(ramp)
    assert found.shape == ramp.shape
    torch.testing.assert_close(found[..., 1:7], ramp[..., 1:7] + 0.5)
