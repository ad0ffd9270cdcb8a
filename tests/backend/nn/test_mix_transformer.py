from __future__ import annotations

from pathlib import Path

import pytest
import torch

from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.lora import attention_layers
from satseg.backend.nn.mix_transformer import DEPTHS, MixTransformer
from satseg.errors import ArchitectureError

COUNTS = (3_319_392, 13_151_424, 24_196_288, 44_072_128, 60_842_688, 81_443_008)


@pytest.mark.parametrize(("name", "expected"), list(zip(DEPTHS, COUNTS, strict=True)))
def test_each_variant_has_its_published_parameters(name: str, expected: int) -> None:
    with torch.device("meta"):
        net = MixTransformer(name, in_channels=3)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_levels_have_the_announced_channels_and_strides_at_any_size() -> None:
    with torch.device("meta"):
        encoder = build_encoder("mit_b0", in_channels=5)
        levels = encoder(torch.empty(2, 5, 33, 47))
    assert encoder.strides == (4, 8, 16, 32)
    assert [tuple(level.shape[1:]) for level in levels] == [(32, 9, 12), (64, 5, 6), (160, 3, 3), (256, 2, 2)]


def test_branches_are_left_out_for_some_images_in_training_alone() -> None:
    torch.manual_seed(0)
    net = MixTransformer("mit_b0", in_channels=1)
    block = net.stages[-1].blocks[-1]
    x = torch.rand(500, 1, 2, 256)
    assert torch.equal(block.eval()(x), block(x))
    torch.nn.init.zeros_(block.mlp.fc2.weight)  # leaves attention as the only branch that says something
    left_out = (block.train()(x) == x).flatten(1).all(dim=1).float().mean()
    assert abs(left_out - 0.1) < 0.05


def as_published(name: str) -> str:
    """Return the name that the authors' code gives to a tensor."""
    stage, kind, rest = name.removeprefix("stages.").split(".", 2)
    rest = rest.replace("mlp.conv", "mlp.dwconv.dwconv").replace("attn.reduce", "attn.sr")
    kinds = {"patches": "patch_embed", "blocks": "block", "norm": "norm"}
    return f"{kinds[kind]}{int(stage) + 1}.{rest}"


def test_weights_of_the_authors_are_loaded_and_the_first_layer_takes_other_bands(tmp_path: Path) -> None:
    source = MixTransformer("mit_b0", in_channels=3)
    published = {as_published(name): tensor for name, tensor in source.state_dict().items()}
    torch.save({**published, "head.weight": torch.zeros(1000, 256)}, tmp_path / "mit_b0.pth")
    encoder = build_encoder("mit_b0", in_channels=6, weights=str(tmp_path / "mit_b0.pth"))
    assert torch.equal(encoder.net.stages[2].blocks[1].mlp.fc1.weight, source.stages[2].blocks[1].mlp.fc1.weight)
    first = encoder.net.stages[0].patches.proj.weight
    torch.testing.assert_close(first[:, :3], source.stages[0].patches.proj.weight / 2)


def test_attention_can_be_adapted_by_low_rank_factors() -> None:
    with torch.device("meta"):
        net = MixTransformer("mit_b0", in_channels=3)
    assert {name.split(".")[-1] for name in attention_layers(net)} == {"q", "kv", "proj"}


def test_pretrained_weights_are_said_to_be_had_by_file_alone() -> None:
    with pytest.raises(ArchitectureError, match="weights of the encoder mit_b0") as caught:
        build_encoder("mit_b0", in_channels=3, pretrained=True)
    assert "encoder_weights" in caught.value.hint


def test_levels_cannot_be_chosen() -> None:
    with pytest.raises(ArchitectureError, match="mit_b0 has features at strides 4 to 32, and at no others"):
        build_encoder("mit_b0", in_channels=3, output_stride=16)
