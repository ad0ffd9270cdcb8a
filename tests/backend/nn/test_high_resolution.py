from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.high_resolution import COARSEST, build_high_resolution_encoder, is_high_resolution
from satseg.errors import ArchitectureError

SMALL = "hrnet_w18_small"


def test_the_maps_of_all_strides_come_as_one_at_the_finest() -> None:
    with torch.device("meta"):
        encoder = build_high_resolution_encoder("hrnet_w18", aligned=AlignedInput(COARSEST), in_channels=5)
        (features,) = encoder(torch.empty(1, 5, 65, 97))
    assert (encoder.channels, encoder.strides) == ((18 + 36 + 72 + 144,), (4,))
    assert features.shape == (1, 270, 17, 25)


def test_coarse_maps_are_interpolated_with_aligned_corners_where_timm_repeats_pixels() -> None:
    encoder = build_high_resolution_encoder(SMALL, aligned=AlignedInput(COARSEST), in_channels=3)
    assert not any(isinstance(layer, nn.Upsample) for layer in encoder.modules())
    enlarge = encoder.net.stage4[0].fuse_layers[0][3][2]
    ramp = torch.arange(3.0).view(1, 1, 1, 3).expand(1, 1, 3, 3)
    torch.testing.assert_close(enlarge(ramp)[0, 0, 0], torch.linspace(0, 2, 17))


def test_weights_of_timm_are_those_of_the_trunk(tmp_path: Path) -> None:
    source = timm.create_model(SMALL)
    save_file(source.state_dict(), tmp_path / "hrnet.safetensors")
    encoder = build_high_resolution_encoder(
        SMALL, aligned=AlignedInput(COARSEST), in_channels=3, weights=str(tmp_path / "hrnet.safetensors")
    )
    expected = source.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.net.state_dict().items())


@pytest.mark.parametrize(("name", "said"), [("hrnet_w64", True), ("resnet101s", False)])
def test_hrnets_are_known_by_name(name: str, said: bool) -> None:
    assert is_high_resolution(name) == said


def test_another_encoder_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="resnet18 is no HRNet"):
        build_high_resolution_encoder("resnet18", aligned=AlignedInput(COARSEST), in_channels=3)
