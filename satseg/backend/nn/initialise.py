"""Initial weights, as the papers specify them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

Conv = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d


def he_normal(*modules: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """Draw every convolution in ``modules`` from a normal distribution of variance 2 / fan; biases become zero.

    He et al.: "Delving Deep into Rectifiers", arXiv 1502.01852, 2015, section 2.2.
    """
    for conv in convolutions(*modules):
        nn.init.kaiming_normal_(conv.weight, mode=mode, nonlinearity="relu")
    zero_biases(*modules)


@torch.no_grad()
def looks_linear(*modules: nn.Module, paired: bool = False) -> None:
    """Draw convolutions with ReLUs between them so that together they begin as a linear map; biases become zero.

    Each channel of the first half is rectified beside its negative in the second half, and the next convolution takes
    the difference of both, so that nothing is lost on the way. Where neither norms nor shortcuts help, features drawn
    independently are nearly the same for all images after a dozen layers, and gradients are noise. Features keep the
    scale of the images.

    Balduzzi et al.: "The Shattered Gradients Problem", ICML 2017, arXiv 1702.08591.

    Args:
        modules: Modules whose convolutions, of even numbers of filters, run one after the other.
        paired: Whether the first convolution takes such pairs, too, and not an image.
    """
    for conv in convolutions(*modules):
        filters, channels, *kernel = conv.weight.shape
        half = torch.empty(filters // 2, channels // 2 if paired else channels, *kernel)
        half.normal_(std=half[0].numel() ** -0.5)
        difference = torch.cat([half, -half], dim=1) if paired else half
        conv.weight.copy_(torch.cat([difference, -difference]))
        paired = True
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
