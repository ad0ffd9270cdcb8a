"""Scores of decoders with weights from a formula, against those that reference builds give with the same weights.

The references are the decoders of segmentation-models-pytorch 0.6.0, enlarging with half-pixel centres throughout. In
that of MA-Net, the weights of each pixel over all others were made to sum to one, and the result put in its place.

Covers ``dpt``, ``fpn``, ``linknet``, ``manet``, ``pan``, ``segformer``, ``unetplusplus``, ``upernet``,
``backend/nn/mix_transformer``
and ``backend/nn/token_encoder``.
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
    (
        "segformer",
        "mit_b0",
        [
            -2.6579,
            -1.81519,
            -1.63604,
            -2.40623,
            -2.41976,
            -3.23465,
            2.56434,
            1.69206,
            0.6228,
            1.12328,
            0.24175,
            0.26423,
        ],
    ),
    (
        "segformer",
        "convnext_atto",
        [
            -1.37997,
            -0.79184,
            -3.22322,
            -4.95558,
            -5.22474,
            -5.42771,
            -1.89918,
            -0.40415,
            1.36164,
            1.42095,
            1.8074,
            1.84103,
        ],
    ),
    (
        "upernet",
        "resnet18",
        [
            -0.76895,
            -2.09482,
            0.28536,
            -0.50595,
            -1.52203,
            -1.33703,
            1.72343,
            2.12148,
            1.56781,
            1.13495,
            1.7947,
            1.40573,
        ],
    ),
    (
        "upernet",
        "convnext_atto",
        [-2.12335, 0.00989, -2.13785, 0.19537, -2.54404, -1.45448, 2.33365, 2.20091, 3.1254, 2.44329, 2.30369, 2.69722],
    ),
    (
        "manet",
        "resnet18",
        [
            -3.16889,
            -11.74122,
            -9.07983,
            -19.4228,
            -9.27362,
            -16.45053,
            -0.82503,
            -4.39722,
            -2.74807,
            -7.89875,
            -1.78299,
            -5.11471,
        ],
    ),
    (
        "pan",
        "resnet18",
        [
            -18.9809,
            -35.34974,
            -85.88765,
            -176.54803,
            26.18421,
            -28.79889,
            -41.46034,
            -0.54894,
            -23.1247,
            22.65253,
            -38.44052,
            -39.73724,
            62.94051,
            94.5985,
            18.21771,
            -9.99932,
            -0.51962,
            53.9402,
            16.13592,
            -6.77858,
            -5.50421,
            2.40141,
            17.893,
            -61.90998,
            -22.20793,
            -0.49871,
            8.87354,
            30.46548,
            -5.40828,
            -56.54687,
        ],
    ),
    (
        "pan",
        "convnext_atto",
        [
            -1.49444,
            -4.50137,
            -2.68285,
            -3.0168,
            -2.76328,
            -2.43205,
            -2.89509,
            -1.89079,
            -1.20769,
            -3.321,
            -1.28918,
            -2.75619,
            -3.24162,
            -2.14674,
            -2.56242,
            0.69504,
            0.97551,
            0.46815,
            1.54986,
            2.14152,
            0.94912,
            -0.32119,
            1.73262,
            0.39418,
            -0.14772,
            0.24048,
            1.96164,
            1.3938,
            -0.00618,
            -0.14329,
        ],
    ),
    (
        "dpt",
        "test_vit",
        [
            -75.2473,
            -296.34988,
            -283.64621,
            -662.64734,
            -305.53461,
            -428.21381,
            323.23792,
            379.16907,
            266.68033,
            412.87964,
            155.67677,
            157.62192,
        ],
    ),
]


SIDES = {"pan": (128, 256)}  # its reference needs 128 px, and sides that halve to the end


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
        scores = model(spread((1, 3, *SIDES.get(arch, (64, 96)))).float())
    found = scores[0, :, 5:64:20, 7::60].flatten()
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-4)
