"""Feature pyramids on plain vision transformers, against timm's own features."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.norm import ChannelNorm
from satseg.backend.nn.vit_pyramid import SimpleFeaturePyramid

PLAIN = ("test_vit", "vit_tiny_patch16_dinov3_qkvb", "vit_small_patch14_reg4_dinov2")
STAGED = ("swin_tiny_patch4_window7_224",)
SMALL = (33, 47)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7)) * 2 - 1


def unet(encoder: str, in_channels: int = 3, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return create_model("unet", in_channels=in_channels, num_classes=2, encoder=encoder, **options)


@pytest.mark.parametrize(("name", "bands"), [("test_vit", 1), *((name, 13) for name in (*PLAIN, *STAGED))])
def test_levels_have_the_announced_channels_and_strides_at_any_size(name: str, bands: int) -> None:
    with torch.device("meta"):
        encoder = build_encoder(name, in_channels=bands)
        for height, width in ((32, 32), SMALL):
            levels = encoder(torch.empty(2, bands, height, width))
            expected = [
                (2, channels, -(-height // stride), -(-width // stride))
                for channels, stride in zip(encoder.channels, (4, 8, 16, 32), strict=True)
            ]
            assert [tuple(level.shape) for level in levels] == expected
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.global_context == (name in PLAIN)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("test_vit", ((160, 160), (96, 224))),
        ("vit_tiny_patch16_dinov3_qkvb", ((256, 256), (64, 96))),
        ("vit_small_patch14_reg4_dinov2", ((112, 224),)),
    ],
)
def test_features_are_those_of_timm_at_its_own_size_and_at_others(
    name: str, sizes: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    """At other sizes, timm resamples the positions when it loads the weights, and the encoder when it runs."""
    source = timm.create_model(name)
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    encoder = build_encoder(name, in_channels=3, weights=str(tmp_path / "vit.safetensors")).eval()
    for size in sizes:
        overlay = {"file": str(tmp_path / "vit.safetensors")}
        theirs = timm.create_model(
            name, img_size=size, dynamic_img_size=False, pretrained=True, pretrained_cfg_overlay=overlay
        ).eval()
        batch = images(1, 3, *size)
        with torch.inference_mode():
            expected = theirs.forward_intermediates(batch, indices=1, norm=True, intermediates_only=True)[0]
            torch.testing.assert_close(encoder.net(batch)[-1], expected)
            if encoder.patch == 16:
                tokens = F.layer_norm(expected.movedim(1, -1), expected.shape[1:2]).movedim(-1, 1)
                torch.testing.assert_close(encoder(batch)[2], tokens)


def test_patches_of_14_pixels_are_resampled_in_place() -> None:
    pyramid = SimpleFeaturePyramid(4, 14)
    pyramid.levels[2] = nn.Identity()  # without the normalisation
    centres = (torch.arange(8.0) + 0.5) * 14
    level = pyramid(centres.expand(1, 4, 8, 8))[2]
    assert level.shape[-2:] == (7, 7)
    torch.testing.assert_close(level[0, 0, 0], (torch.arange(7.0) + 0.5) * 16)


@pytest.mark.parametrize(("stride", "channels"), [(8, (32, 64, 64, 64)), (16, (16, 32, 64, 64)), (32, (8, 16, 32, 64))])
def test_halved_strides_halve_the_channels(stride: int, channels: tuple[int, ...]) -> None:
    pyramid = SimpleFeaturePyramid(64, stride)
    levels = pyramid(images(1, 64, 96 // stride, 192 // stride))
    assert tuple(level.shape[1] for level in levels) == pyramid.channels == channels
    assert [tuple(level.shape[-2:]) for level in levels] == [(24, 48), (12, 24), (6, 12), (3, 6)]


def test_a_coarser_level_is_the_maximum_of_four_pixels_normalised() -> None:
    tokens = images(1, 8, 4, 6)
    level = SimpleFeaturePyramid(8, 16)(tokens)[3]
    largest = tokens.unflatten(2, (2, 2)).unflatten(4, (3, 2)).amax(dim=(3, 5))
    torch.testing.assert_close(level, F.layer_norm(largest.movedim(1, -1), (8,)).movedim(-1, 1))


def test_channels_are_normalised_pixel_by_pixel() -> None:
    x = images(2, 5, 3, 4) * 9 + 2
    normed = ChannelNorm(5)(x)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(normed[1:, :, 2:, 3:], ChannelNorm(5)(x[1:, :, 2:, 3:]))


def test_unet_on_a_plain_transformer_keeps_the_contract_of_networks() -> None:
    model = unet("test_vit").eval()
    with torch.inference_mode():
        logits = model(images(1, 3, *SMALL))
        assert torch.equal(model(images(1, 3, *SMALL)), logits)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images(1, 3, *SMALL))
    assert logits.shape == rounded.shape == (1, 2, *SMALL)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(rounded).all()
    other = unet("test_vit")
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(other.eval()(images(1, 3, *SMALL)), logits)


def test_a_batch_of_one_trains_at_64_pixels_and_reaches_every_parameter() -> None:
    model = unet("test_vit", in_channels=13).train()
    model(images(1, 13, 64, 64)).square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_dinov3_qkvb", "vit_small_patch14_reg4_dinov2"])
def test_export_and_one_compiled_graph_give_the_same_logits(name: str) -> None:
    model, batch = unet(name).eval(), images(1, 3, 96, 96)
    with torch.no_grad():
        expected = model(batch)
        torch.testing.assert_close(torch.export.export(model, (batch,)).module()(batch), expected, rtol=1e-3, atol=1e-3)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(batch), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_attention_over_1024_pixels_takes_no_memory_for_all_pairs() -> None:
    """Of 4,097 tokens, one matrix of attention has 67 MB for each of the heads and images."""
    encoder, batch = build_encoder("vit_tiny_patch16_224", in_channels=3).eval(), images(1, 3, 1024, 1024)
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        encoder.net(batch)
    assert max(event.cpu_memory_usage for event in profile.events()) < 4097**2 * 4
