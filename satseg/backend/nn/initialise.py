"""Initial weights, as the papers specify them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import nn

Conv = nn.Conv2d | nn.ConvTranspose2d


def he_normal(module: nn.Module, *, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Draw every convolution in ``module`` from a normal distribution of variance 2 / fan; biases become zero.

    He et al.: "Delving Deep into Rectifiers", arXiv 1502.01852, 2015, section 2.2.
    """
    for conv in convolutions(module):
        nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
    zero_biases(module)


def normal(module: nn.Module, *, std: float) -> None:
    """Draw every convolution in ``module`` from a normal distribution around zero; biases become zero."""
    for conv in convolutions(module):
        nn.init.normal_(conv.weight, std=std)
    zero_biases(module)


def zero_biases(module: nn.Module) -> None:
    """Set the biases of every convolution in ``module`` to zero."""
    for conv in convolutions(module):
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


def convolutions(module: nn.Module) -> Iterable[Conv]:
    """Yield the convolutions in ``module``, itself included."""
    return (layer for layer in module.modules() if isinstance(layer, Conv))
