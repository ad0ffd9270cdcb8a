from __future__ import annotations

import pytest
import torch

from satseg.backend import create_model
from satseg.errors import ArchitectureError


def test_bilinear_variant_has_its_published_size() -> None:
    with torch.device("meta"):
        model = create_model("unet", in_channels=3, num_classes=19, bilinear=True)
        images = torch.empty(1, 3, 64, 80)
    assert sum(parameter.numel() for parameter in model.parameters()) == 17_264_147
    assert model(images).shape == (1, 19, 64, 80)


def test_initial_weights_keep_the_variance_of_the_paper() -> None:
    torch.manual_seed(0)
    model = create_model("unet", in_channels=3, num_classes=2)
    convolution = model.down[3][1][3]  # 1024 to 1024, 3x3
    assert abs(convolution.weight.std().item() * (1024 * 9 / 2) ** 0.5 - 1) < 0.01
    up = model.up[0].up  # 1024 to 512, each output pixel from one input pixel
    assert abs(up.weight.std().item() * (1024 / 2) ** 0.5 - 1) < 0.01


def test_dropout_acts_in_training_alone() -> None:
    model = create_model("unet", in_channels=1, num_classes=2, dropout=0.5)
    images = torch.rand(1, 1, 64, 64)
    model.train()
    for layer in model.modules():  # leave dropout as the only thing that could differ between two passes
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    with torch.no_grad():
        assert not torch.equal(model(images), model(images))
        model.eval()
        assert torch.equal(model(images), model(images))


def test_pretrained_weights_need_an_encoder() -> None:
    with pytest.raises(ArchitectureError, match="own contracting path has no pretrained weights"):
        create_model("unet", in_channels=3, num_classes=2, pretrained=True)


def test_an_encoder_and_bilinear_upsampling_exclude_each_other() -> None:
    with pytest.raises(ArchitectureError, match="either an encoder or bilinear"):
        create_model("unet", in_channels=3, num_classes=2, encoder="resnet18", bilinear=True)


def parameters(**options: object) -> int:
    with torch.device("meta"):
        model = create_model("unet", in_channels=3, num_classes=19, encoder="tf_efficientnet_lite0", **options)
    return sum(parameter.numel() for parameter in model.parameters())


def test_levels_leave_the_coarsest_stages_out() -> None:
    assert parameters() == parameters(levels=5) == 5_200_771
    assert parameters(levels=4) == 1_190_627


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_any_number_of_levels_gives_the_size_of_the_images(levels: int) -> None:
    with torch.device("meta"):
        model = create_model("unet", in_channels=4, num_classes=2, encoder="tf_efficientnet_lite0", levels=levels)
        assert model.encoder.strides[-1] == 2**levels
        assert model.eval()(torch.empty(1, 4, 33, 47)).shape == (1, 2, 33, 47)


def test_a_light_decoder_has_fewer_parameters_and_gives_the_size_of_the_images() -> None:
    assert parameters(light=True) == 3_801_715
    for encoder in ("tf_efficientnet_lite0", "convnext_atto"):  # strides 2 to 32, and 4 to 32
        with torch.device("meta"):
            model = create_model("unet", in_channels=4, num_classes=2, encoder=encoder, light=True).eval()
            assert model(torch.empty(1, 4, 33, 47)).shape == (1, 2, 33, 47)


def test_scores_of_a_light_decoder_stay_in_place() -> None:
    model = create_model("unet", in_channels=3, num_classes=2, encoder="tf_efficientnet_lite0", light=True).eval()
    model.head.forward = lambda x: torch.arange(x.shape[-1]).expand(1, 1, *x.shape[-2:]).float()
    columns = model(torch.zeros(1, 3, 64, 64))[0, 0, 0]
    centres = (torch.arange(64) + 0.5) / 2 - 0.5  # of the pixels, on the grid of half the size
    assert torch.allclose(columns[1:-1], centres[1:-1])


def test_a_light_decoder_needs_an_encoder() -> None:
    with pytest.raises(ArchitectureError, match="light decoder is for encoders"):
        create_model("unet", in_channels=3, num_classes=2, light=True)


def test_levels_need_an_encoder() -> None:
    with pytest.raises(ArchitectureError, match="own contracting path has all its levels"):
        create_model("unet", in_channels=3, num_classes=2, levels=4)


@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto"])  # strides 2 to 32, and 4 to 32
def test_encoder_variant_gives_the_size_of_the_images(encoder: str) -> None:
    with torch.device("meta"):
        model = create_model("unet", in_channels=4, num_classes=2, encoder=encoder).eval()
        assert model(torch.empty(1, 4, 33, 47)).shape == (1, 2, 33, 47)
