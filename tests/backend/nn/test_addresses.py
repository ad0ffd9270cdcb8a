"""Encoders by their address in a package: a made-up one with weights of a small encoder, and the real one.

Addresses at a hub are tested with ``encoder_weights``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from satseg.backend import named_encoder, packaged_weights, weight_packages
from satseg.backend.nn.addresses import encoder_at, is_address
from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.first_layer import match_bands
from satseg.backend.weight_packages import CLOUD_WEIGHTS, weights_at
from satseg.errors import ArchitectureError
from satseg.records import BandSpec, BandStatistics

SMALL = "tf_efficientnet_lite0"
BANDS = ("blue", "green", "red", "nir")
MEAN, STD = [0.25, 0.3, 0.35, 0.4], [0.2, 0.21, 0.22, 0.23]


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx_file(tensors: Mapping[str, Tensor]) -> bytes:
    """Return a model of ONNX that has these tensors in half precision, and no layers."""
    written = b""
    for name, tensor in tensors.items():
        dims = b"".join(b"\x08" + varint(size) for size in tensor.shape)
        raw = tensor.numpy().astype("<f2").tobytes()
        written += field(5, dims + b"\x10\x0a" + field(8, name.encode()) + field(9, raw))
    return b"\x08\x08" + field(7, written)


def small_weights() -> dict[str, Tensor]:
    """Return weights of a small encoder, named as the real ones, for four bands."""
    package = packaged_weights(SMALL)
    assert package is not None
    state = torch.load(package.path, weights_only=True)
    first = state["_conv_stem.weight"]
    state["_conv_stem.weight"] = torch.cat([first, 2 * first[:, :1]], dim=1)
    return {f"model.encoder.{name}": tensor for name, tensor in state.items() if "num_batches" not in name}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package with such weights on the path, whose code fails, and return its folder."""
    made = tmp_path / "ukis_csmask"
    made.mkdir()
    (made / "__init__.py").write_text("raise RuntimeError('this code must not run')")
    metadata = tmp_path / "ukis_csmask-0.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ukis-csmask\nVersion: 0.9\n")
    (made / "model_4b_l2a.onnx").write_bytes(onnx_file(small_weights()))
    statistics = {"img": [MEAN, STD], "band_names": BANDS}
    (made / "model_4b_l2a.json").write_text(json.dumps({"data": {"dataset_statistics": statistics}}))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(weight_packages, "CLOUD_ENCODER", SMALL)
    return made


def test_only_addresses_bring_an_encoder() -> None:
    assert all(map(is_address, ("hf-hub:timm/resnet18.a1_in1k", "ukis-csmask:4b-l2a", "ukis-csmask:")))
    assert not any(map(is_address, ("resnet18", "ukis-csmask", None, 3)))


@pytest.mark.usefixtures("folder")
def test_an_address_brings_the_name_and_the_weights_of_an_encoder(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    address = "ukis-csmask:4b-l2a"
    assert encoder_at(address) == SMALL
    assert named_encoder({"encoder": address}) == {"encoder": SMALL, "encoder_weights": address}
    by_name = build_encoder(SMALL, in_channels=4, weights=address)
    by_address = build_encoder(address, in_channels=4)
    source = small_weights()
    for encoder in (by_name, by_address):
        tensors = encoder.net.state_dict()
        assert torch.equal(tensors["conv_stem.weight"], source["model.encoder._conv_stem.weight"].half().float())
        last = source["model.encoder._blocks.15._project_conv.weight"]
        assert torch.equal(tensors["blocks.6.0.conv_pwl.weight"], last.half().float())
    assert "taken from ukis-csmask 0.9, model_4b_l2a (ImageNet-1k, then clouds in Sentinel-2" in caplog.text


@pytest.mark.usefixtures("folder")
def test_reflectances_mean_to_the_first_layer_what_the_weights_expect() -> None:
    names = ("B08", "Red", "green", "blue")  # of the tiles, in reverse
    spec = BandSpec(names, "uint16", (1e-4,) * 4, (-0.1,) * 4)
    mean, std = (4300.0, 4100.0, 3900.0, 3700.0), (1500.0, 1400.0, 1300.0, 1200.0)
    statistics = BandStatistics(1, mean, std, (0.0,) * 4, (10_000.0,) * 4)
    raw = np.random.default_rng(0).integers(0, 10_000, (4, 64, 64)).astype(np.float64)
    columns = [np.array(values)[:, None, None] for values in (mean, std, MEAN, STD)]
    seen = (raw - columns[0]) / columns[1]
    expected = (raw[::-1] * 1e-4 - 0.1 - columns[2]) / columns[3]
    encoder, plain = (build_encoder("ukis-csmask:4b-l2a", in_channels=4).eval() for _ in range(2))
    origin = match_bands(encoder, spec, statistics)
    assert origin is not None
    assert origin.licence == "Apache-2.0"
    with torch.no_grad():
        ours, theirs = (
            net.net.bn1(net.net.conv_stem(torch.tensor(np.ascontiguousarray(image), dtype=torch.float32)[None]))
            for net, image in ((encoder, seen), (plain, expected))
        )
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("other", ["resnet18", "efficientnet_lite0"])  # the second would take them, but pads otherwise
def test_another_encoder_does_not_take_them(other: str) -> None:
    with pytest.raises(ArchitectureError, match=rf"ukis-csmask:4b-l2a are weights of {SMALL}, not of {other}"):
        build_encoder(other, in_channels=4, weights="ukis-csmask:4b-l2a")


def test_a_tensor_that_lacks_or_has_another_shape_is_refused(folder: Path) -> None:
    weights, name = small_weights(), "model.encoder._blocks.3._bn1.bias"
    tensor = weights.pop(name)
    (folder / "model_4b_l2a.onnx").write_bytes(onnx_file(weights))
    with pytest.raises(ArchitectureError, match=rf"model_4b_l2a\.onnx does not contain the weights of {SMALL}"):
        build_encoder("ukis-csmask:4b-l2a", in_channels=4)
    (folder / "model_4b_l2a.onnx").write_bytes(onnx_file({**weights, name: tensor[:-1]}))
    with pytest.raises(ArchitectureError, match=r"model_4b_l2a cannot be used: .*size mismatch"):
        build_encoder("ukis-csmask:4b-l2a", in_channels=4)
    (folder / "model_4b_l2a.onnx").write_bytes(b"not a model")
    with pytest.raises(ArchitectureError, match=r"model_4b_l2a\.onnx contains no readable weights"):
        build_encoder("ukis-csmask:4b-l2a", in_channels=4)


def test_bands_that_do_not_fit_the_kernels_are_refused(folder: Path) -> None:
    statistics = {"img": [MEAN[:3], STD[:3]], "band_names": BANDS[:3]}
    (folder / "model_4b_l2a.json").write_text(json.dumps({"data": {"dataset_statistics": statistics}}))
    with pytest.raises(ArchitectureError, match="model_4b_l2a take 4 bands, but name 3"):
        build_encoder("ukis-csmask:4b-l2a", in_channels=4)


FEATURES = {  # of the graph of each file at float32, by onnxruntime 1.32: in the middle and in the first corner
    "4b-l1c": [(16.2968, -6.6858), (17.7953, 13.9438), (78.0208, -28.8067), (93.438, -55.0769), (-12.1538, -12.1919)],
    "4b-l2a": [(14.1369, -6.7752), (-0.3187, 26.8358), (67.2193, 2.7062), (-5.2283, 133.7608), (9.6151, 0.8774)],
    "6b-l1c": [(7.4214, 1.3845), (27.4002, 17.24), (55.4801, 48.277), (203.6303, 96.3466), (17.9745, 21.9929)],
    "6b-l2a": [(8.4787, -4.1262), (20.8132, 0.6702), (61.8507, -40.5811), (39.4524, 79.4485), (16.597, 11.1269)],
}


@pytest.mark.slow
@pytest.mark.parametrize("which", CLOUD_WEIGHTS)
def test_features_are_those_inside_of_the_real_networks(which: str) -> None:
    """252 pixels make 63 at stride 4: for odd numbers, timm pads the next layer as its fixed padding there."""
    weights = weights_at(f"ukis-csmask:{which}")  # fails without the package: `make multispectral` installs it
    row, column = np.arange(252.0)[:, None], np.arange(252.0)
    reflectances = np.stack(
        [
            0.25 + 0.15 * np.sin(0.11 * row + 0.7 * band) * np.cos(0.05 * column - 0.3 * band)
            for band in range(len(weights.bands))
        ]
    )
    mean, std = (np.array(values)[:, None, None] for values in (weights.mean, weights.std))
    images = torch.tensor((reflectances - mean) / std, dtype=torch.float32)[None]
    encoder = build_encoder(f"ukis-csmask:{which}", in_channels=len(weights.bands)).eval()
    with torch.no_grad():
        levels = encoder(images)
    assert encoder.strides == (2, 4, 8, 16, 32)
    for level, expected in zip(levels, FEATURES[which], strict=True):
        middle = level.shape[-1] // 2
        signs = torch.cos(torch.arange(level.shape[1], dtype=torch.float64))
        found = [float(signs @ level[0, :, place, place].double()) for place in (middle, 0)]
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-3)


@pytest.mark.slow
def test_the_real_networks_name_their_bands() -> None:
    assert weights_at("ukis-csmask:4b-l1c").bands == BANDS
    assert weights_at("ukis-csmask:6B-L2A").bands == (*BANDS, "swir16", "swir22")
