from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from satseg.backend.nn.encoders import build_encoder
from satseg.errors import ArchitectureError


@pytest.mark.parametrize(
    ("output_stride", "sides"), [(32, [48, 24, 12, 6, 3]), (16, [48, 24, 12, 6, 6]), (8, [48, 24, 12, 12, 12])]
)
def test_levels_have_the_announced_channels_and_strides(output_stride: int, sides: list[int]) -> None:
    with torch.device("meta"):
        encoder = build_encoder("resnet18", in_channels=5, output_stride=output_stride)
        features = encoder(torch.empty(1, 5, 96, 96))
    assert tuple(f.shape[1] for f in features) == encoder.channels == (64, 64, 128, 256, 512)
    assert [f.shape[-1] for f in features] == sides == [96 // stride for stride in encoder.strides]


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_100", "resnet18", "convnext_atto"])
def test_fewer_levels_are_the_finest_of_all_without_what_only_coarser_ones_need(name: str) -> None:
    torch.manual_seed(0)
    whole = build_encoder(name, in_channels=3).eval()
    few = build_encoder(name, in_channels=3, levels=3).eval()
    few.load_state_dict(whole.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features, finest = few(images), whole(images)[:3]
    assert (few.channels, few.strides) == (whole.channels[:3], whole.strides[:3])
    assert all(torch.equal(a, b) for a, b in zip(features, finest, strict=True))
    sum(feature.sum() for feature in few(images)).backward()
    assert all(parameter.grad is not None for parameter in few.parameters())


@pytest.mark.parametrize("levels", [2, 6])
def test_a_number_of_levels_that_the_encoder_lacks_is_refused(levels: int) -> None:
    with pytest.raises(ArchitectureError, match=f"has 5 levels; `levels` is {levels}, not 3 to 5"):
        build_encoder("resnet18", in_channels=3, levels=levels)


def rates(encoder: torch.nn.Module, stage: str) -> list[int]:
    return [block.conv2.dilation[0] for block in encoder.net[stage]]


def test_every_block_of_a_dilated_stage_is_dilated_alike() -> None:
    with torch.device("meta"):
        encoder = build_encoder("resnet50", in_channels=3, output_stride=8)
    assert (rates(encoder, "layer2"), rates(encoder, "layer3"), rates(encoder, "layer4")) == ([1] * 4, [2] * 6, [4] * 3)


def test_the_first_block_of_a_stage_without_multi_grid_may_have_the_dilation_before() -> None:
    found = []
    for factors in ((), (1, 2, 4)):
        with torch.device("meta"):
            encoder = build_encoder("resnet50", in_channels=3, output_stride=8, multi_grid=factors, gradual=True)
        found.append((rates(encoder, "layer3"), rates(encoder, "layer4")))
    assert found == [([1, *[2] * 5], [2, 4, 4]), ([1, *[2] * 5], [4, 8, 16])]


def test_multi_grid_multiplies_the_dilation_of_the_last_stage() -> None:
    with torch.device("meta"):
        encoder = build_encoder("resnet50", in_channels=3, output_stride=16, multi_grid=(1, 2, 4))
    assert (rates(encoder, "layer3"), rates(encoder, "layer4")) == ([1] * 6, [2, 4, 8])


def test_weights_of_a_file_are_loaded_and_the_first_layer_takes_other_bands(tmp_path: Path) -> None:
    source = timm.create_model("resnet18")
    save_file(source.state_dict(), tmp_path / "resnet18.safetensors")
    encoder = build_encoder("resnet18", in_channels=6, weights=str(tmp_path / "resnet18.safetensors"))
    assert torch.equal(encoder.net["layer3"][1].conv2.weight, source.layer3[1].conv2.weight)
    # Six bands see each of the three filters twice, halved: the same response to an image given twice.
    first = encoder.net["conv1"].weight
    torch.testing.assert_close(first[:, :3], source.conv1.weight / 2)
    torch.testing.assert_close(first[:, 3:], source.conv1.weight / 2)


def test_mistyped_encoder_is_answered_with_near_names() -> None:
    with pytest.raises(ArchitectureError, match="no encoder named 'resnet5O'") as caught:
        build_encoder("resnet5O", in_channels=3)
    assert "resnet50" in caught.value.hint


def test_encoder_that_cannot_be_dilated_is_refused_in_one_sentence() -> None:
    with pytest.raises(ArchitectureError, match="densenet121 has no features at output stride 8"):
        build_encoder("densenet121", in_channels=3, output_stride=8)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "encoder.pth")
    with pytest.raises(ArchitectureError, match=r"does not contain the weights of resnet34: it lacks layer1\.2"):
        build_encoder("resnet34", in_channels=3, weights=str(tmp_path / "encoder.pth"))


def test_pickled_code_in_a_file_of_weights_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ArchitectureError, match="contains no readable weights"):
        build_encoder("resnet18", in_channels=3, weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\3\4 no archive", b"\xff" * 64, pickle.dumps([1, 2]), pickle.dumps({"conv1.weight": 5})],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_that_holds_no_weights_is_said(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArchitectureError, match="contains no readable weights"):
        build_encoder("resnet18", in_channels=3, weights=str(tmp_path / name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: value * float("nan"), "are not finite: .* contains NaN"),
        (lambda value: value.to(torch.int8), "are not floating-point numbers: .* is torch.int8"),
        (lambda value: value[:1], r"cannot be used: Error.* size mismatch for [^:]*: copying[^:]*$"),
    ],
)
def test_weights_of_another_kind_are_said(tmp_path: Path, change: Callable, said: str) -> None:
    weights = build_encoder("resnet18", in_channels=3).net.state_dict()
    torch.save({name: change(v) if v.is_floating_point() else v for name, v in weights.items()}, tmp_path / "a.pth")
    with pytest.raises(ArchitectureError, match=said):
        build_encoder("resnet18", in_channels=3, weights=str(tmp_path / "a.pth"))


def test_missing_file_of_weights_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"The file nowhere\.pth does not exist"):
        build_encoder("resnet18", in_channels=3, weights="nowhere.pth")


def test_offline_is_one_sentence_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(*args: object, **options: object) -> None:
        logging.getLogger("huggingface_hub.utils").warning("Retrying")
        raise ConnectionError("Name or service\nnot known.")

    monkeypatch.setattr("satseg.backend.nn.hub.answers", lambda url: True)
    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(ArchitectureError, match="resnet18 cannot be loaded: Name or service not known") as caught:
        build_encoder("resnet18", in_channels=3, pretrained=True)
    assert "`encoder_weights`" in caught.value.hint
    assert "Retrying" not in caplog.text


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "coatnet_0_224"])
def test_encoder_for_one_size_is_refused(name: str) -> None:
    with torch.device("meta"), pytest.raises(ArchitectureError, match=f"{name} is not suitable") as caught:
        build_encoder(name, in_channels=3)
    assert "resnet50" in caught.value.hint


def test_transformer_cannot_be_dilated() -> None:
    with pytest.raises(ArchitectureError, match="test_vit has no features at output stride 8"):
        build_encoder("test_vit", in_channels=3, output_stride=8)
