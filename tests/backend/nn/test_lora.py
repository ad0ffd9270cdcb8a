from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from satseg.backend.nn.encoders import build_encoder
from satseg.backend.nn.lora import add_lora, attention_layers, lora_state, merged_state, remove_lora, restore_lora
from satseg.errors import UsageError


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7)) * 2 - 1


def encoder(name: str = "test_vit") -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(name, in_channels=3).eval().net


def adapted(name: str = "test_vit", *, rank: int = 4) -> nn.Module:
    """An encoder with factors as after training, when the second one is not zero any more."""
    net = encoder(name)
    add_lora(net, rank, seed=1)
    generator = torch.Generator().manual_seed(2)
    for part, parameter in net.named_parameters():
        if part.endswith(".b"):
            parameter.data.normal_(std=0.1, generator=generator)
    return net


def features(net: nn.Module) -> Tensor:
    with torch.no_grad():
        return net(images(1, 3, 64, 96))[-1]


def test_queries_keys_values_and_outputs_of_every_block_are_adapted() -> None:
    expected = {f"model.blocks.{i}.attn.{layer}" for i in range(6) for layer in ("qkv", "proj")}
    assert attention_layers(encoder()).keys() == expected


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(UsageError, match="`lora` needs an encoder that is a transformer"):
        add_lora(encoder("resnet10t"), 4, seed=0)


def test_factors_change_nothing_at_first_and_only_they_learn() -> None:
    plain, net = encoder(), encoder()
    add_lora(net, 3, seed=1)
    assert torch.equal(features(net), features(plain))
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if p.requires_grad}
    assert len(shapes) == 2 * 2 * 6
    assert shapes["model.blocks.0.attn.qkv.parametrizations.weight.0.a"] == (3, 64)
    assert shapes["model.blocks.0.attn.qkv.parametrizations.weight.0.b"] == (192, 3)


def test_the_product_of_the_factors_is_added_times_alpha_over_rank() -> None:
    plain, net = encoder(), adapted(rank=4)
    a, b = (net.state_dict()[f"model.blocks.2.attn.proj.parametrizations.weight.0.{part}"] for part in "ab")
    expected = plain.state_dict()["model.blocks.2.attn.proj.weight"] + 16 / 4 * b @ a
    assert torch.equal(merged_state(net)["model.blocks.2.attn.proj.weight"], expected)


@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_dinov3_qkvb"])
def test_merged_weights_give_the_features_of_the_factors(name: str) -> None:
    """The biases of EVA's queries and values are parameters of their own, so that the layer itself is not called."""
    plain, net = encoder(name), adapted(name)
    before = features(plain)
    plain.load_state_dict(merged_state(net))
    assert torch.equal(features(plain), features(net))
    assert not torch.allclose(features(plain), before)
    with torch.no_grad():
        found = features(net)
        remove_lora(net)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(features(net), found)


def test_the_seed_alone_decides_on_the_factors() -> None:
    nets = []
    for seed in (1, 1, 2):
        nets.append(encoder())
        torch.rand(len(nets))
        add_lora(nets[-1], 4, seed=seed)
    first, same, other = (net.state_dict()["model.blocks.0.attn.qkv.parametrizations.weight.0.a"] for net in nets)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_factors_and_the_weights_below_are_put_back_to_the_bit() -> None:
    trained, again = adapted(), encoder()
    again.load_state_dict(merged_state(trained))
    add_lora(again, 4, seed=5)
    restore_lora(again, lora_state(trained))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in trained.state_dict().items())


def test_other_parametrizations_are_left_alone() -> None:
    net = nn.Sequential(weight_norm(nn.Linear(2, 2)))
    assert merged_state(net).keys() == net.state_dict().keys()
    assert lora_state(net) == {}
