"""Attention between scales; the model contract with small networks that look at them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from exported_networks import untrained_checkpoint
from torch import Tensor, nn

from satseg.backend import create_model, list_architectures
from satseg.backend.models.hmsa import HMSA
from satseg.checkpoint import Checkpoint
from satseg.errors import ArchitectureError
from satseg.profiling.counts import count_parameters
from satseg.training.optimizers import encoder_of

QUICK = {"deconvnet", "fcn8s", "icnet", "pointrend"}
BASES = [
    pytest.param(entry.name, marks=[] if entry.name in QUICK else [pytest.mark.slow])
    for entry in list_architectures()
    if entry.name != "hmsa"
]
SMALL = [  # with a last layer that is transposed, with outputs for training, and without a single last layer
    {"base": "erfnet"},
    {"base": "bisenet", "encoder": "resnet18"},
    {"base": "deeplabv2", "encoder": "resnet18"},
    {"base": "pointrend", "encoder": "resnet18"},  # whose points are those of the image alone
]


class Looker(nn.Module):
    """Scores that tell the size of the image, two classes and the attention of it."""

    def __init__(self, attention: dict[int, float]) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        planes = [images[:, :1] * side, images[:, :1] + side, torch.full_like(images[:, :1], self.attention[side])]
        return torch.cat(planes, dim=1)


def resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.fixture(scope="module", params=SMALL, ids=lambda options: options["base"])
def small(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return create_model("hmsa", in_channels=4, num_classes=3, **request.param)


def test_coarser_scales_leave_to_finer_ones_what_their_attention_does_not_take() -> None:
    scales = [Fraction(1, 2), Fraction(1), Fraction(2)]
    model = HMSA(Looker({32: 0.25, 64: 0.6, 128: 0.9}), 2, scales=scales, gate=nn.Identity())
    batch = images(1, 1, 64, 64)
    seen = {side: model.base(resized(batch, side))[:, :2] for side in (32, 64, 128)}
    fine = 0.6 * seen[64] + 0.4 * resized(seen[128], 64)
    torch.testing.assert_close(model(batch), resized(0.25 * seen[32], 64) + 0.75 * fine)


def test_attention_counts_pixel_by_pixel() -> None:
    model = HMSA(nn.Identity(), 1, scales=[Fraction(1, 2), Fraction(1)], gate=nn.Sigmoid())
    batch = torch.zeros(1, 2, 64, 64)
    batch[:, 0, :, :] = 1.0  # scores 1 in both scales
    batch[:, 1, :, :32], batch[:, 1, :, 32:] = 50.0, -50.0
    batch[:, 0, ::2] = 3.0  # of which half the size sees the mean
    half = torch.full((32,), 2.0)
    logits = model(batch)[0, 0]
    torch.testing.assert_close(logits[:, :30].mean(dim=1), half.repeat_interleave(2))
    torch.testing.assert_close(logits[:, 34:], batch[0, 0, :, 34:])


@pytest.mark.parametrize("base", BASES)
def test_any_network_can_look(base: str) -> None:
    with torch.device("meta"):
        model = create_model("hmsa", in_channels=3, num_classes=2, base=base)
    batch, targets = torch.empty(2, 3, 70, 64, device="meta"), torch.zeros(2, 70, 64, dtype=torch.long)
    logits, outputs = model.forward_with_aux(batch)
    assert model.eval()(batch).shape == logits.shape == (2, 2, 70, 64)
    said = {name: torch.zeros_like(output, device="cpu") for name, output in outputs.items()}
    assert model.aux_loss(said, targets).shape == ()


def test_attention_has_the_layers_of_the_authors() -> None:
    with torch.device("meta"):
        found, base = (
            create_model(arch, in_channels=3, num_classes=19, encoder="hrnet_w18") for arch in ("hmsa", "ocrnet")
        )
    assert count_parameters(found) - count_parameters(base) == 1_770_752


def test_scales_alone_and_the_network_as_it_is_add_to_the_loss() -> None:
    with torch.device("meta"):
        model = create_model("hmsa", in_channels=3, num_classes=3, encoder="hrnet_w18_small")
    generator = torch.Generator().manual_seed(0)
    sides = {"scale_1": 8, "scale_0.5": 8, "regions": 64}  # the network has seen images extended to 64 px
    outputs = {name: torch.randn(2, 3, side, side, generator=generator) for name, side in sides.items()}
    targets = torch.zeros(2, 8, 8, dtype=torch.int64)
    targets[:, 4:] = 255
    costs = {name: F.cross_entropy(part[..., :4, :8], targets[:, :4]).item() for name, part in outputs.items()}
    expected = 0.05 * (costs["scale_1"] + costs["scale_0.5"]) + 0.4 * costs["regions"]
    assert model.aux_loss(outputs, targets).item() == pytest.approx(expected)


def test_training_looks_at_the_image_and_at_half_its_size() -> None:
    model = HMSA(Looker({32: 0.25, 64: 0.6, 128: 0.9}), 2, scales=[Fraction(1), Fraction(2)], gate=nn.Identity())
    batch = images(1, 1, 64, 64)
    logits, outputs = model.forward_with_aux(batch)
    half, whole = (model.base(resized(batch, side))[:, :2] for side in (32, 64))
    torch.testing.assert_close(logits, resized(0.25 * half, 64) + 0.75 * whole)
    assert torch.equal(outputs["scale_1"], whole)
    torch.testing.assert_close(outputs["scale_0.5"], resized(half, 64))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (97, 65)])
def test_logits_have_the_size_of_the_images_and_are_the_same_again(small: nn.Module, size: tuple[int, int]) -> None:
    batch = images(1, 4, *size)
    with torch.inference_mode():
        logits = small.eval()(batch)
        assert torch.equal(small(batch), logits)
    assert logits.shape == (1, 3, *size)
    assert torch.isfinite(logits).all()


def test_a_batch_of_one_reaches_every_parameter(small: nn.Module) -> None:
    targets = torch.zeros(1, 64, 64, dtype=torch.int64)
    targets[:, ::2], targets[:, -3:] = 2, 255
    logits, outputs = small.train().forward_with_aux(images(1, 4, 64, 64))
    loss = F.cross_entropy(logits, targets, ignore_index=255) + small.aux_loss(outputs, targets)
    loss.backward()
    missed = [name for name, parameter in small.named_parameters() if parameter.grad is None]
    small.zero_grad(set_to_none=True)
    assert missed == []


def test_bfloat16_is_finite(small: nn.Module) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(small.eval()(images(1, 4, 33, 47))).all()


@pytest.mark.slow
def test_export_and_compilation_give_the_same_logits(small: nn.Module) -> None:
    batch = images(1, 4, 96, 96)
    with torch.no_grad():
        expected = small.eval()(batch)
        exported = torch.export.export(small, (batch,)).module()(batch)
        torch._dynamo.reset()
        compiled = torch.compile(small, fullgraph=True, backend="aot_eager")(batch)
    scale = expected.abs().max().item()
    torch.testing.assert_close(exported, expected, rtol=1e-3, atol=1e-3 * scale)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-3 * scale)


def test_checkpoints_remember_the_network_and_its_options(tmp_path: Path) -> None:
    options = {"base": "espnet", "q": 2, "scales": "0.5 1 2"}
    checkpoint = Checkpoint.load(untrained_checkpoint(tmp_path, "hmsa", **options))
    model = checkpoint.build_model()
    with torch.device("meta"):
        plain = create_model("hmsa", in_channels=3, num_classes=3, base="espnet")
    assert dict(checkpoint.card.arch_options) == options
    assert type(model.base).__name__ == "ESPNet"
    assert count_parameters(model) < count_parameters(plain)  # which has eight modules at stride 8
    assert model.scales == (2, 1, Fraction(1, 2))


def test_the_encoder_is_that_of_the_network() -> None:
    with torch.device("meta"):
        model = create_model("hmsa", in_channels=3, num_classes=2, base="unet", encoder="resnet18")
    assert encoder_of(model) is model.base.encoder.net


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "hmsa"}, "not at itself"),
        ({"base": "erfnett"}, "no network named 'erfnett'"),
        ({"base": "erfnet", "scales": "0.5 2"}, "must be 1, and others of 0.25 to 4"),
        ({"base": "erfnet", "scales": "1 0.3"}, "must be 1, and others"),
        ({"base": "erfnet", "scales": "half"}, "'half'"),
        ({"base": "erfnet", "encoder": "resnet18"}, "erfnet does not take the option 'encoder'"),
        ({"base": "pointrend", "objects": True}, "learns no objects"),
        ({"base": "unet", "bilineal": True}, "unet does not take the option 'bilineal'"),
    ],
)
def test_what_cannot_be_built_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        create_model("hmsa", in_channels=3, num_classes=2, **options)
