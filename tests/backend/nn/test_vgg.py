from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from satseg.backend import create_model
from satseg.backend.nn import vgg
from satseg.errors import ArchitectureError


def test_weights_of_timm_go_into_the_stages_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    features = timm.create_model("vgg11_bn", features_only=True)  # spares its fully connected layers
    norms = [layer for layer in features.modules() if isinstance(layer, nn.BatchNorm2d)]
    convolutions = [layer for layer in features.modules() if isinstance(layer, nn.Conv2d)]
    norms[0].running_mean.fill_(3.0)
    asked = {}

    def build(name: str, **options: object) -> SimpleNamespace:
        asked.update(options, name=name)
        return SimpleNamespace(features=features)

    monkeypatch.setattr(vgg, "build_classifier", build)
    model = create_model("segnet", in_channels=3, num_classes=2, encoder="vgg11_bn", encoder_weights="some.file")
    assert asked == {"name": "vgg11_bn", "in_channels": 3, "pretrained": False, "weights": "some.file"}
    assert torch.equal(model.encoder[0][1].running_mean, norms[0].running_mean)
    assert torch.equal(model.encoder[4][3].weight, convolutions[7].weight)


@pytest.mark.slow
def test_fully_connected_layers_of_timm_become_the_top_of_fcn(monkeypatch: pytest.MonkeyPatch) -> None:
    source = timm.create_model("vgg11", num_classes=0)
    monkeypatch.setattr(vgg, "build_classifier", lambda name, **options: source)
    model = create_model("fcn32s", in_channels=3, num_classes=2, encoder="vgg11", pretrained=True).eval()
    assert torch.equal(model.top[0].weight, source.pre_logits.fc1.weight)
    assert torch.equal(model.top[3].weight, source.pre_logits.fc2.weight)


@pytest.mark.parametrize(("arch", "encoder"), [("segnet", "vgg16"), ("fcn8s", "vgg16_bn"), ("deeplabv1", "resnet18")])
def test_encoder_that_does_not_fit_is_refused_with_those_that_do(arch: str, encoder: str) -> None:
    with pytest.raises(ArchitectureError, match=f"cannot use the encoder '{encoder}'") as caught:
        create_model(arch, in_channels=3, num_classes=2, encoder=encoder)
    assert "vgg16" in caught.value.hint


def test_segnet_mirrors_the_depth_of_its_encoder() -> None:
    with torch.device("meta"):
        model = create_model("segnet", in_channels=3, num_classes=2, encoder="vgg11_bn")
        depths = [sum(isinstance(layer, torch.nn.Conv2d) for layer in stage) for stage in model.decoder]
        assert depths == [2, 2, 2, 1, 0]
        assert model(torch.empty(1, 3, 64, 64)).shape == (1, 2, 64, 64)
