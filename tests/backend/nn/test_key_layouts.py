from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from satseg.backend.nn.encoders import build_classifier, build_encoder
from satseg.backend.nn.key_layouts import as_timm, unwrap
from satseg.errors import ArchitectureError

State = dict[str, Tensor]


def trained(net: nn.Module) -> nn.Module:
    """Give a network running statistics and scales as after training, so that features tell whether all were taken."""
    generator = torch.Generator().manual_seed(0)
    for key, value in net.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(std=0.3, generator=generator)
        elif key.endswith("running_var") or key.endswith("layer_scale"):
            value.uniform_(0.5, 2, generator=generator)
    return net.eval()


def images() -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("theirs", "ours", "layout"),
    [
        ("resnet18", "resnet18", "timm"),  # named alike
        ("efficientnet_b0", "efficientnet_b0", "torchvision"),
        pytest.param("convnext_tiny", "convnext_tiny", "torchvision", marks=pytest.mark.slow),
        pytest.param("vgg11_bn", "vgg11_bn", "torchvision", marks=pytest.mark.slow),
    ],
)
def test_features_are_those_of_the_network_in_torchvision(
    theirs: str, ours: str, layout: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = trained(getattr(torchvision.models, theirs)(num_classes=10))
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    net = build_classifier(ours, in_channels=3, weights=str(tmp_path / "weights.pth")).eval()
    features = getattr(source, "features", None) or nn.Sequential(*list(source.children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(net.forward_features(images()), features(images()), rtol=1e-4, atol=1e-4)
    assert f"tensors ({layout} layout) taken from weights.pth" in caplog.text


SMP = {"decoder.blocks.0.weight": torch.ones(3), "segmentation_head.0.bias": torch.ones(1)}
WRAPPINGS: dict[str, tuple[Callable[[State], object], str]] = {
    "state_dict of Lightning": (lambda state: {"state_dict": state, "epoch": 3}, "timm"),
    "model": (lambda state: {"model": state, "optimizer": {"lr": 0.1}}, "timm"),
    "DataParallel": (lambda state: {f"module.{key}": value for key, value in state.items()}, "timm"),
    "compiled": (lambda state: {f"_orig_mod.{key}": value for key, value in state.items()}, "timm"),
    "segmentation of torchvision": (lambda state: {f"backbone.{key}": v for key, v in state.items()}, "torchvision"),
    "SMP": (lambda state: {f"encoder.{key}": value for key, value in state.items()} | SMP, "SMP"),
    "task of torchgeo": (
        lambda state: {"state_dict": {f"model.encoder.{key}": value for key, value in state.items()} | SMP},
        "torchgeo",
    ),
    "backbone of a task of torchgeo": (lambda state: {f"model.backbone.{k}": v for k, v in state.items()}, "torchgeo"),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_encoders_are_found_inside_of_what_libraries_write(wrapping: str) -> None:
    wrap, layout = WRAPPINGS[wrapping]
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    found = as_timm(unwrap(wrap(dict(state))), state)
    assert found.layout == layout
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[key], state[key]) for key in state)


def test_names_of_feature_extractors_are_those_of_the_whole_network() -> None:
    state = timm.create_model("convnext_atto", features_only=True).state_dict()
    assert "stem_0.weight" in state
    whole = timm.create_model("convnext_atto").state_dict()
    found = as_timm({f"encoder.model.{key}": value for key, value in state.items()}, whole)
    assert (len(found.tensors), found.layout) == (len(state), "SMP")
    assert found.tensors["stem.0.weight"] is state["stem_0.weight"]


def efficientnet_pytorch(state: State) -> State:
    """Name tensors of timm's EfficientNet-B0 as the package efficientnet-pytorch and SMP do."""
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    inner = {
        ("conv_pw", True): "_expand_conv",
        ("conv_pw", False): "_project_conv",
        ("conv_pwl", True): "_project_conv",
        ("bn1", True): "_bn0",
        ("bn1", False): "_bn1",
        ("bn2", True): "_bn1",
        ("bn2", False): "_bn2",
        ("bn3", True): "_bn2",
    }
    either = {"conv_dw": "_depthwise_conv", "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    numbers: dict[tuple[str, str], int] = {}
    renamed = {}
    for name, value in state.items():
        layer, kind = name.rsplit(".", 1)
        if name.startswith("blocks."):
            _, stage, block, layer = layer.split(".", 3)
            number = numbers.setdefault((stage, block), len(numbers))
            layer = f"_blocks.{number}.{either.get(layer) or inner[layer, stage != '0']}"
        else:
            layer = top[layer]
        renamed[f"{layer}.{kind}"] = value
    return renamed


@pytest.mark.parametrize(("prefix", "layout"), [("", "efficientnet-pytorch"), ("encoder.", "SMP")])
def test_blocks_that_are_numbered_in_a_row_find_their_stage(prefix: str, layout: str) -> None:
    with torch.device("meta"):
        state = timm.create_model("tf_efficientnet_b0").state_dict()
    theirs = {prefix + key: value for key, value in efficientnet_pytorch(state).items()}
    assert f"{prefix}_blocks.15._se_expand.bias" in theirs  # as segmentation-models-pytorch 0.6 has it
    found = as_timm(theirs, state)
    assert found.layout == layout
    assert all(found.tensors[key] is state[key] for key in state)


def test_files_of_torchvision_that_are_named_otherwise_are_refused_in_one_sentence(tmp_path: Path) -> None:
    save_file(torchvision.models.mobilenet_v3_small().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ArchitectureError, match="does not contain the weights of mobilenetv3_small_100") as caught:
        build_encoder("mobilenetv3_small_100", in_channels=3, weights=str(tmp_path / "weights.safetensors"))
    assert "segmentation-models-pytorch" in str(caught.value.hint)


@pytest.mark.parametrize("content", [None, [torch.ones(1)], {}, {"a": 1}, {"state_dict": {}}, {"model": {"a": 1}}])
def test_content_without_tensors_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="no tensors"):
        unwrap(content)
