from __future__ import annotations

import pytest
import timm
import torch

from satseg.backend import create_model
from satseg.backend.nn.token_encoder import build_token_encoder
from satseg.errors import ArchitectureError


@pytest.mark.parametrize(("name", "has_class_token"), [("test_vit", True), ("test_vit4", False)])
def test_tokens_are_those_of_timm_behind_each_quarter_of_the_blocks(name: str, has_class_token: bool) -> None:
    torch.manual_seed(0)
    encoder = build_token_encoder(name, in_channels=3).eval()
    theirs = timm.create_model(name).eval()
    theirs.load_state_dict(encoder.net.model.state_dict(), strict=False)
    images = torch.rand(1, 3, 160, 160)
    seen: list[torch.Tensor] = []
    for block in theirs.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.inference_mode():
        theirs(images)
        tapped = encoder(images)
    first = theirs.num_prefix_tokens
    assert encoder.has_class_token == has_class_token
    for (tokens, class_token), at in zip(tapped, encoder.taps, strict=True):
        torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), seen[at][:, first:])
        if has_class_token:
            torch.testing.assert_close(class_token, seen[at][:, 0])


def test_taps_are_the_last_blocks_of_the_quarters() -> None:
    with torch.device("meta"):
        assert build_token_encoder("vit_small_patch16_dinov3", in_channels=3).taps == (2, 5, 8, 11)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "mit_b0"])
def test_encoders_with_stages_are_refused(name: str) -> None:
    with torch.device("meta"), pytest.raises(ArchitectureError, match=f"{name} is no plain vision transformer"):
        build_token_encoder(name, in_channels=3)


def test_patches_of_14_pixels_give_maps_at_strides_4_to_32() -> None:
    with torch.device("meta"):
        model = create_model("dpt", in_channels=2, num_classes=3, encoder="vit_small_patch14_dinov2").eval()
        assert model(torch.empty(1, 2, 33, 47)).shape == (1, 3, 33, 47)
