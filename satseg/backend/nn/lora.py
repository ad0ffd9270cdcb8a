"""Low-rank adaptation (LoRA): train small factors on top of frozen weights, and add their product in the end.

Hu et al.: "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4: W + (alpha / r) B A, with
A drawn from a normal distribution and B zero, on the projections of attention; all other weights are frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from satseg.errors import UsageError

ALPHA = 16
_PROJECTIONS = ("qkv", "q", "k", "v", "kv", "q_proj", "k_proj", "v_proj", "proj", "out_proj")


class _LowRank(nn.Module):
    """The product of two factors, added to a weight (out, in)."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        start = torch.randn(rank, columns, generator=generator, device=generator.device) / columns**0.5
        self.a = nn.Parameter(start.to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.scale = ALPHA / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a)


def attention_layers(net: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear projections of attention in a network, by name: queries, keys, values and output.

    Raises:
        UsageError: The network has none.
    """
    found = {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear) and "attn" in name.split(".") and name.split(".")[-1] in _PROJECTIONS
    }
    if not found:
        raise UsageError(
            "`lora` needs an encoder that is a transformer: this network has no attention to adapt.",
            hint="Choose one such as `encoder='vit_small_patch16_dinov3'`, or use `freeze_encoder` or `encoder_rate`.",
        )
    return found


def add_lora(net: nn.Module, rank: int, *, seed: int) -> None:
    """Freeze a network, and let factors of its attention learn. Its outputs stay the same at first.

    The layers compute their weights anew whenever they are used, as some networks use them without calling the layer.

    Args:
        net: The network, such as the encoder of another one; changed in place.
        rank: Columns of B and rows of A, at least 1.
        seed: Seed of A.

    Raises:
        UsageError: The network has no attention.
    """
    generator = torch.Generator().manual_seed(seed)
    net.requires_grad_(False)
    for layer in attention_layers(net).values():
        parametrize.register_parametrization(layer, "weight", _LowRank(layer.weight, rank, generator))


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a network with all factors added to their weights, as if it had never had any."""
    state: dict[str, Tensor] = model.state_dict()
    for name, layer in _adapted(model):
        for part in layer.parametrizations.state_dict():  # type: ignore[union-attr]
            del state[f"{name}.parametrizations.{part}"]
        state[f"{name}.weight"] = layer.weight.detach()  # type: ignore[operator]
    return state


def remove_lora(model: nn.Module) -> None:
    """Add all factors to their weights for good."""
    for _, layer in list(_adapted(model)):
        parametrize.remove_parametrizations(layer, "weight")


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the factors and the frozen weights below them by name, as contiguous tensors on the CPU."""
    return {
        f"{name}.parametrizations.{part}": tensor.cpu().contiguous()
        for name, layer in _adapted(model)
        for part, tensor in layer.parametrizations.state_dict().items()  # type: ignore[union-attr]
    }


def restore_lora(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Restore what :func:`lora_state` returned, into the same network with factors of the same rank."""
    model.load_state_dict(tensors, strict=False)


def _adapted(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that have factors, by name."""
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations.weight[0], _LowRank):
            yield name, layer
