"""Scores of decoders with weights from a formula, against those that reference builds give with the same weights.

The references are the decoders of segmentation-models-pytorch 0.6.0, enlarging with half-pixel centres throughout.

Covers ``fpn``, ``linknet`` and ``unetplusplus``.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from satseg.backend import create_model

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)

# Network, encoder, and what its reference says at rows 5, 25 and 45 and columns 7 and 67, of both classes.
SCORES: list[tuple[str, str, list[float]]] = [
    (
        "fpn",
        "resnet18",
        [
            -1.97325,
            -1.82457,
            -1.49176,
            -0.83026,
            1.45938,
            0.04184,
            -0.31376,
            1.02653,
            -2.54481,
            -1.72149,
            -4.38388,
            -3.5193,
        ],
    ),
    (
        "fpn",
        "convnext_atto",
        [
            -0.46273,
            -2.56087,
            -0.64143,
            -2.90434,
            -3.90987,
            0.77194,
            -1.51265,
            -1.19671,
            -0.86852,
            -3.6927,
            0.64528,
            -0.79773,
        ],
    ),
    (
        "linknet",
        "resnet18",
        [
            0.23205,
            -0.05722,
            -0.10004,
            -0.50192,
            -0.29661,
            0.08058,
            -0.17751,
            -0.02379,
            -0.34283,
            -1.09782,
            -0.32152,
            0.07616,
        ],
    ),
    (
        "linknet",
        "convnext_atto",
        [
            0.27236,
            0.29433,
            0.18939,
            0.90238,
            0.36422,
            0.43383,
            -0.06887,
            -0.18877,
            -0.14176,
            -0.20258,
            0.03747,
            -0.07808,
        ],
    ),
    (
        "unetplusplus",
        "resnet18",
        [
            -4.56624,
            -6.40952,
            -4.3366,
            -8.61185,
            -4.06357,
            -10.05999,
            1.12165,
            0.10204,
            4.63014,
            5.04856,
            4.04341,
            9.79572,
        ],
    ),
    (
        "unetplusplus",
        "convnext_atto",
        [
            -0.59132,
            -0.53234,
            -0.58648,
            -0.82048,
            -0.61961,
            -1.43131,
            0.33352,
            -0.28104,
            0.03008,
            0.19753,
            0.35655,
            0.00322,
        ],
    ),
]


def spread(shape: tuple[int, ...]) -> Tensor:
    """Return numbers between -1 and 1 that look drawn at random, the same for every tensor of this shape."""
    count = math.prod(shape)
    values = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + count) * 43758.5453
    return ((values - values.floor()) * 2 - 1).reshape(shape)


def filled(model: nn.Module) -> nn.Module:
    """Give every parameter numbers that depend on its shape alone, so that references need no map of names."""
    for parameter in model.parameters():
        scale = (6 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.2
        parameter.data.copy_(spread(tuple(parameter.shape)) * scale)
    for layer in model.modules():
        if isinstance(layer, NORMS):
            layer.weight.data.add_(1)
    return model.eval()


@pytest.mark.parametrize(("arch", "encoder", "expected"), SCORES, ids=[f"{a}-{e}" for a, e, _ in SCORES])
def test_scores_are_those_of_the_reference(arch: str, encoder: str, expected: list[float]) -> None:
    model = filled(create_model(arch, in_channels=3, num_classes=2, encoder=encoder))
    with torch.inference_mode():
        scores = model(spread((1, 3, 64, 96)).float())
    found = scores[0, :, 5:64:20, 7::60].flatten()
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)
