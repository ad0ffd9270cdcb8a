"""Networks of checkpoints of format 1 go on computing what they were trained with."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import as_in_format_1, create_model, former_behaviour, list_architectures

# No checkpoint of format 1 has them.
NEWER = {
    "ann",
    "autodeeplab",
    "bfp",
    "caa",
    "ccnet",
    "cpn",
    "danet",
    "efficientps",
    "esanet",
    "hanet",
    "hmsa",
    "hrnet",
    "ocnet",
    "ocrnet",
    "pointrend",
    "psanet",
    "resnest",
    "vplr",
}
UNEVEN = (75, 102)  # no multiple of a stride, nor one and a pixel


def images(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(3)) - 0.5


def former(arch: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=2, **options)
    as_in_format_1(model)
    return model.eval()


def enlarged(scores: Tensor, size: tuple[int, int], *, align_corners: bool = True) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=align_corners)


@pytest.mark.parametrize("arch", [architecture.name for architecture in list_architectures()])
def test_networks_that_have_changed_since_say_so(arch: str) -> None:
    with torch.device("meta"):
        model = create_model(arch, in_channels=3, num_classes=2)
    has_changed = any(hasattr(module, "as_in_format_1") for module in model.modules())
    assert (former_behaviour(arch, {}) is not None) == (has_changed and arch not in NEWER)


@pytest.mark.parametrize(("options", "says"), [({"bilinear": True}, True), ({"encoder": "resnet18"}, False)])
def test_a_unet_has_changed_where_it_interpolates(options: dict[str, object], says: bool) -> None:
    assert (former_behaviour("unet", options) is not None) == says


@torch.inference_mode()
def test_images_are_taken_as_they_come_and_their_scores_stretched_over_them() -> None:
    model = former("deeplabv3", encoder="resnet18")
    scores = model.head(model.pyramid(model.encoder(images(*UNEVEN))[-1]))
    assert torch.equal(model(images(*UNEVEN)), enlarged(scores, UNEVEN))


@torch.inference_mode()
def test_cells_of_an_encoder_are_dropped_where_pixels_fill_none() -> None:
    model = former("deeplabv3", encoder="convnext_atto")
    scores = model.head(model.pyramid(model.encoder(images(*UNEVEN))[-1]))
    assert torch.equal(model(images(*UNEVEN)), enlarged(scores, UNEVEN))


@torch.inference_mode()
def test_scores_between_centres_of_cells_are_stretched_over_sizes_that_are_no_multiples() -> None:
    model = former("deeplabv2", encoder="resnet18")
    assert torch.equal(model(images(*UNEVEN)), enlarged(model.scores(images(*UNEVEN)), UNEVEN, align_corners=False))


@torch.inference_mode()
def test_images_are_extended_to_multiples_and_enlarged_by_whole_factors() -> None:
    model = former("dfanet")
    whole = F.pad(images(*UNEVEN), (0, 26, 0, 21), mode="reflect")  # 96 x 128 px
    x = features = model.stem(whole)
    fine, coarse, handed = [], [], []
    for network, near, far in zip(model.networks, model.reduce_fine, model.reduce_coarse, strict=True):
        handed = network(x, handed)
        fine.append(near(handed[0]))
        coarse.append(far(handed[-1]))
        x = F.interpolate(handed[-1], scale_factor=4, mode="bilinear", align_corners=True)
    size = (24, 32)
    assert features.shape[-2:] == (48, 64)
    fused = model.fuse(torch.stack([fine[0], *(enlarged(part, size) for part in fine[1:])]).sum(dim=0))
    fused = fused + torch.stack([enlarged(part, size) for part in coarse]).sum(dim=0)
    expected = F.interpolate(model.head(fused), scale_factor=4, mode="bilinear", align_corners=True)
    assert torch.equal(model(images(*UNEVEN)), expected[..., :75, :102])


def test_enet_begins_with_the_column_and_keeps_the_names_and_order_of_its_weights() -> None:
    now, then = (
        {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
        for model in (create_model("enet", in_channels=3, num_classes=2), former("enet"))
    )
    assert list(now) == list(then)
    pairs = [(now[a], now[b], then[a], then[b]) for a, b in pairwise(now) if now[a][2:] == (1, 5)]
    assert len(pairs) == 4
    assert set(pairs) == {((32, 32, 1, 5), (32, 32, 5, 1), (32, 32, 5, 1), (32, 32, 1, 5))}
    with torch.inference_mode():
        assert former("enet")(images(64, 64)).shape == (1, 2, 64, 64)


@torch.inference_mode()
def test_denseaspp_concatenates_features_before_their_activation() -> None:
    model = former("denseaspp", encoder="densenet121")
    *layers, activation = model.features
    x = nn.Sequential(*layers)(images(64, 72))
    assert torch.equal(activation(x), x)
    assert bool((x < 0).any())
