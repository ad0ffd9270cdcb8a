"""Initial weights, as the papers specify them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import nn

Conv = nn.Conv2d | nn.ConvTranspose2d


def he_normal(*modules: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Draw every convolution in ``modules`` from a normal distribution of variance 2 / fan; biases become zero.

    He et al.: "Delving Deep into Rectifiers", arXiv 1502.01852, 2015, section 2.2.
    """
    for conv in convolutions(*modules):
        nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
    zero_biases(*modules)


def normal(*modules: nn.Module, std: float) -> None:
    """Draw every convolution in ``modules`` from a normal distribution around zero; biases become zero."""
    for conv in convolutions(*modules):
        nn.init.normal_(conv.weight, std=std)
    zero_biases(*modules)


def zero_biases(*modules: nn.Module) -> None:
    """Set the biases of every convolution in ``modules`` to zero."""
    for conv in convolutions(*modules):
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def convolutions(*modules: nn.Module) -> Iterable[Conv]:
    """Yield the convolutions in ``modules``, themselves included."""
    return (layer for module in modules for layer in module.modules() if isinstance(layer, Conv))
