from __future__ import annotations

import pytest
import torch
from torch import nn

from satseg.backend import create_model
from satseg.errors import ArchitectureError


@pytest.mark.parametrize(("encoder", "place"), [("resnest14d", "avd_last"), ("resnest50d_1s4x24d", "avd_first")])
def test_first_blocks_of_dilated_stages_pool_where_others_do_and_keep_the_former_dilation(
    encoder: str, place: str
) -> None:
    with torch.device("meta"):
        net = create_model("resnest", in_channels=3, num_classes=2, encoder=encoder).encoder.net
    for stage, former, stride in (("layer2", 1, 2), ("layer3", 1, 1), ("layer4", 2, 1)):
        first = net[stage][0]
        conv = next(layer for layer in first.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3))
        assert (getattr(first, place).stride, conv.dilation) == (stride, (former, former))
    assert isinstance(net["layer4"][0].downsample[0], nn.Identity)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="resnet50 is no ResNeSt"):
        create_model("resnest", in_channels=3, num_classes=2, encoder="resnet50")
