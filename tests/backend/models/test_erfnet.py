from __future__ import annotations

import pytest
import torch

from satseg.backend import create_model


@pytest.mark.parametrize(("bands", "filters"), [(1, 15), (3, 13), (8, 8), (13, 8), (40, 8)])
def test_first_layer_keeps_filters_that_see_all_bands(bands: int, filters: int) -> None:
    model = create_model("erfnet", in_channels=bands, num_classes=2)
    assert model.encoder[0].conv.weight.shape == (filters, bands, 3, 3)


def test_dilations_and_dropout_are_those_of_the_table() -> None:
    model = create_model("erfnet", in_channels=3, num_classes=2)
    blocks = [layer for layer in model.modules() if type(layer).__name__ == "_FactorisedResidual"]
    assert [block.conv2[0].dilation[0] for block in blocks] == [1] * 5 + [2, 4, 8, 16] * 2 + [1] * 4
    assert [block.dropout.p for block in blocks] == [0.03] * 5 + [0.3] * 8 + [0.0] * 4


@pytest.mark.parametrize("size", [(32, 32), (39, 33)])
def test_padding_leaves_the_origin_in_place(size: tuple[int, int]) -> None:
    """A size that 8 does not divide gives what its mirrored extension gives, cut back."""
    torch.manual_seed(0)
    model = create_model("erfnet", in_channels=1, num_classes=2).eval()
    images = torch.rand(1, 1, *size)
    bottom, right = -size[0] % 8, -size[1] % 8
    whole = torch.nn.functional.pad(images, (0, right, 0, bottom), mode="reflect")
    with torch.no_grad():
        assert torch.equal(model(images), model(whole)[..., : size[0], : size[1]])


def test_activations_stay_bfloat16_under_autocast() -> None:
    """One float32 operand would promote the whole residual trunk and slow a training step by a tenth."""
    model = create_model("erfnet", in_channels=3, num_classes=2)
    seen = set()
    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda layer, args, output, name=name: seen.add((output.dtype, name)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(1, 3, 64, 64))
    assert {name for dtype, name in seen if dtype != torch.bfloat16} == set()
