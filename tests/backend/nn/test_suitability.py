"""One small member of each family of timm: what is said of it holds for its features."""

from __future__ import annotations

import pytest
import torch

from satseg.backend import create_model
from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.suitability import examine
from satseg.errors import ArchitectureError

ODD = (33, 47)
OF_TODAY = (
    "convnextv2_atto",
    "fastvit_t8",
    "mobilenetv4_conv_small_035",
    "pvt_v2_b0",
    "repvit_m0_9",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "test_maxvit",
    "tf_efficientnet_lite0",
    "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
)
OTHERS = (
    *("caformer_s18", "cpubone_nano", "cs3darknet_s", "cspnext_tiny", "davit_tiny", "deit_tiny_patch16_224"),
    *("densenet121", "dla34", "dpn68", "edgenext_xx_small", "efficientvit_b0", "ese_vovnet19b_slim", "fasternet_t0"),
    *("focalnet_tiny_lrf", "ghostnet_050", "halonet26t", "hardcorenas_a", "hgnet_tiny", "hrnet_w18_small"),
    *("iformer_t", "inception_next_atto", "lcnetv2_small", "legacy_seresnet18", "lowformer_b0", "mobilevit_xxs"),
    *("mvitv2_tiny", "nextvit_small", "rdnet_tiny", "regnetx_002", "repghostnet_050", "res2net50d", "resnest14d"),
    *("resnetv2_18", "rexnet_100", "sam2_hiera_tiny", "samvit_base_patch16", "selecsls42", "skresnet18"),
    *("starnet_s1", "swiftformer_xs", "swinv2_cr_tiny_224", "test_byobnet", "test_convnext", "test_efficientnet"),
    *("test_mambaout", "test_nfnet", "test_resnet", "test_vit", "tiny_vit_5m_224", "twins_svt_small", "vgg11"),
    *("vit_base_patch16_224.mae", "vit_tiny_r_s16_p8_224", "vitamin_small_224", "xception41", "xcit_nano_12_p8_224"),
)
REASONS = {
    "beit_base_patch16_224": "it takes images of 224 x 224 px alone",
    "coatnet_0_224": "it takes images of 224 x 224 px alone",
    "shvit_s1": "it has features at strides 16, 32, 64",
    "inception_v3": "convolutions without padding",
    "legacy_xception": "convolutions without padding",
}
MIXED = ("pvt_v2_b0", "test_maxvit", "swin_tiny_patch4_window7_224")  # of attention and convolutions


@pytest.mark.parametrize("name", [*OF_TODAY, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_levels_are_as_announced_at_odd_sizes_and_for_any_bands(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(name, in_channels=5)
        levels = encoder.eval()(torch.empty(1, 5, 64, 96))
        odd = encoder(torch.empty(1, 5, *ODD))
    strides = encoder.strides
    assert [level.shape[1] for level in levels] == list(encoder.channels)
    assert [tuple(level.shape[-2:]) for level in levels] == [(64 // stride, 96 // stride) for stride in strides]
    assert [tuple(level.shape[-2:]) for level in odd] == [(-(-33 // stride), -(-47 // stride)) for stride in strides]


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_backbones_that_cannot_serve_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ArchitectureError, match=f"{name} is not suitable: .*{reason}"):
        build_encoder(name, in_channels=3)


@pytest.mark.parametrize(
    ("name", "multiple"),
    [("resnet18", 1), ("swin_tiny_patch4_window7_224", 32), ("test_maxvit", 160), ("vit_small_patch14_dinov2", 14)],
)
def test_sizes_that_a_backbone_takes_are_found(name: str, multiple: int) -> None:
    assert examine(name).multiple == multiple


@pytest.mark.parametrize("name", ["pvt_v2_b0", "test_maxvit"])
def test_attention_over_the_whole_image_is_global_context(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(name, in_channels=1).eval()
    images = torch.randn(1, 1, 64, 640).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(images)[-1][0, :, 0, 0].square().sum(), images)
    assert encoder.global_context
    assert gradient[..., 320:].any()


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "resnest14d"])
def test_convolutions_and_windows_are_no_global_context(name: str) -> None:
    assert not examine(name).global_context


@pytest.mark.parametrize("name", MIXED)
def test_unet_on_a_mix_of_attention_and_convolutions_keeps_the_contract(name: str) -> None:
    torch.manual_seed(0)
    model = create_model("unet", in_channels=3, num_classes=2, encoder=name).eval()
    images = torch.rand(1, 3, *ODD)
    with torch.inference_mode():
        logits = model(images)
        again = model(images.to(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(images)
    assert logits.shape == rounded.shape == (1, 2, *ODD)
    torch.testing.assert_close(again, logits, rtol=1e-3, atol=1e-3)
    assert torch.isfinite(rounded).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXED)
def test_export_and_one_compiled_graph_give_the_same_logits(name: str) -> None:
    torch.manual_seed(0)
    model = create_model("unet", in_channels=3, num_classes=2, encoder=name).eval()
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        expected = model(images)
        found = torch.export.export(model, (images,)).module()(images)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-3)
