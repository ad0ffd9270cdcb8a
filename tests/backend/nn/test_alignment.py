from __future__ import annotations

import inspect
from importlib import import_module

import pytest
import torch
from torch import nn

from satseg.backend import as_in_format_1, create_model
from satseg.backend.catalogue import read_catalogue
from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.encoders import build_encoder
from satseg.errors import ArchitectureError

ENCODERS = (
    "convnext_atto",
    "mobilenetv3_small_050",
    "sam2_hiera_tiny",
    "vit_tiny_patch16_224",
    "hrnet_w18_small",
    "resnest14d",
)


@pytest.mark.parametrize(("side", "extended"), [(32, 33), (33, 33), (34, 49), (48, 49), (256, 257), (512, 513)])
def test_sides_become_multiples_and_a_pixel(side: int, extended: int) -> None:
    assert AlignedInput(16)(torch.zeros(1, 1, side, 49)).shape[-2:] == (extended, 49)


def test_images_smaller_than_what_they_lack_are_mirrored_again_and_again() -> None:
    row = torch.arange(3.0).expand(1, 1, 3, 3)
    assert AlignedInput(8)(row)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0]


def test_scores_lie_at_the_pixels_that_they_were_taken_from() -> None:
    aligned = AlignedInput(8)
    images = torch.rand(1, 1, 256, 250)
    padded = aligned(images)
    enlarged = aligned.enlarge(padded[..., ::8, ::8], padded, images)
    torch.testing.assert_close(enlarged[..., ::8, ::8], images[..., ::8, ::8])


def test_between_centres_of_cells_means_lie_in_the_middle_of_them() -> None:
    aligned = AlignedInput(8, corners=False)
    ramp = torch.arange(56.0).expand(1, 1, 56, 56)
    means = nn.functional.avg_pool2d(aligned(ramp), 8)
    torch.testing.assert_close(aligned.enlarge(means, ramp, ramp)[0, 0, 20, 4:52], ramp[0, 0, 20, 4:52])


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv3_small_050", "convnext_atto", "densenet121"])
def test_encoders_have_a_feature_for_the_pixel_beyond_whole_cells(encoder: str) -> None:
    with torch.device("meta"):
        built = build_encoder(encoder, in_channels=5)
        levels = built(torch.empty(2, 5, 65, 65))
    assert [level.shape[-1] for level in levels] == [-(-65 // stride) for stride in built.strides]


def test_the_trunk_of_denseaspp_has_one_too_but_not_in_format_1() -> None:
    with torch.device("meta"):
        model = create_model("denseaspp", in_channels=3, num_classes=2)
        images = torch.empty(1, 3, 65, 65)
        now = model.features(images).shape[-2:]
        as_in_format_1(model)
        assert (now, model.features(images).shape[-2:]) == ((9, 9), (8, 8))


def takes_encoders(arch: str) -> bool:
    """Tell whether a network takes any encoder of timm: those with a VGG or DenseNet take no other kind."""
    parameter = inspect.signature(getattr(import_module(read_catalogue()[arch].module), arch)).parameters.get("encoder")
    return parameter is not None and not str(parameter.default).startswith(("vgg", "densenet"))


@pytest.mark.parametrize("arch", [arch for arch in read_catalogue() if takes_encoders(arch)])
def test_networks_take_images_of_any_size_whatever_their_encoder(arch: str) -> None:
    taken = []
    for encoder in ENCODERS:
        try:
            with torch.device("meta"):
                model = create_model(arch, in_channels=3, num_classes=2, encoder=encoder).eval()
        except ArchitectureError:  # of another kind, or an output stride that it cannot have
            continue
        taken.append(encoder)
        assert model(torch.empty(1, 3, 33, 47, device="meta")).shape == (1, 2, 33, 47)
    assert taken  # dpt takes plain transformers alone, hrnet and resnest their own kind
