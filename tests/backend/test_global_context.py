"""Networks that pool over the whole window say so: predict then keeps to windows as large as training tiles."""

from __future__ import annotations

import pytest
import torch

from satseg.backend import create_model, list_architectures, with_crop
from satseg.inference.network import has_global_context

WIDTH, FAR = 3072, 2304  # no local network here sees further than 2100 px to one side

# Their own tests show it of others: those that are made for a size see no further than that, and what an untrained bfp
# passes on from line to line fades below the least number on so long a way.
ARCHS = [entry.name for entry in list_architectures() if not with_crop(entry.name, {}, WIDTH) and entry.name != "bfp"]

# With random weights, OCRNet on two scales is so sure of a few places that the weights of all others are rounded to 0.
OPTIONS = {"hmsa": {"base": "bisenet"}}


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_networks_see_beyond_any_distance_if_and_only_if_they_say_so(arch: str) -> None:
    torch.manual_seed(0)
    model = create_model(arch, in_channels=1, num_classes=2, **OPTIONS.get(arch, {})).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # gates that training has yet to open
    images = torch.randn(1, 1, 32, WIDTH).requires_grad_()  # narrow, so that a long way costs little
    (gradient,) = torch.autograd.grad(model(images)[0, :, 16, 4].dot(torch.tensor([1.0, -0.5])), images)
    assert bool(gradient[..., FAR:].any()) == has_global_context(model)
