"""Scores belong to the pixels that they come from, in every part of a window.

Covers ``models/*`` and ``nn/alignment``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from score_places import CELL, Places, pinpoint, places

from satseg.backend import create_model, find_architecture, list_architectures
from satseg.backend.nn.alignment import AlignedInput

HEAVY = 60e9  # multiply-adds, from which a network is for the slow tests
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((architecture.name, {}) for architecture in list_architectures()),
    ("deeplabv2", {"encoder": "resnet18", "multi_scale": True}),
    ("deeplabv3", {"encoder": "resnet18", "output_stride": 8}),
    ("deeplabv3plus", {"encoder": "convnext_atto"}),  # whose features are of cells
    ("hanet", {"encoder": "resnet18"}),
    ("refinenet", {"encoder": "resnet18d"}),
    ("unet", {"bilinear": True}),
    ("unet", {"encoder": "resnet18"}),
]
CASES = [
    pytest.param(
        (arch, options),
        id="-".join([arch, *map(str, options.values())]),
        marks=pytest.mark.slow if find_architecture(arch).multiply_adds > HEAVY and "encoder" not in options else (),
    )
    for arch, options in VARIANTS
]


@pytest.fixture(scope="module", params=CASES)
def network(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, int]:
    """A network that looks at single pixels, and how far from the edge its features reach."""
    arch, options = request.param
    torch.manual_seed(0)
    stride = find_architecture(arch).output_stride
    return pinpoint(create_model(arch, in_channels=3, num_classes=2, **options)), 2 * stride if stride > 32 else CELL


@pytest.fixture(scope="module")
def rows(network: tuple[torch.nn.Module, int]) -> Places:
    return places(network[0], 256, axis=0, margin=network[1])


@pytest.fixture(scope="module")
def columns(network: tuple[torch.nn.Module, int]) -> Places:
    return places(network[0], 512, axis=1, margin=network[1])


def test_scores_shift_with_an_image_that_shifts_by_a_multiple_of_the_stride(rows: Places, columns: Places) -> None:
    assert max(rows.difference, columns.difference) < 1e-3


def test_impulses_come_out_where_they_went_in_at_both_ends_of_a_window(
    request: pytest.FixtureRequest, network: tuple[torch.nn.Module, int], rows: Places, columns: Places
) -> None:
    """Cells may have a constant offset, as a pixel of them has from their centre; aligned corners leave none."""
    shifts = [rows.near, rows.far, columns.near, columns.far]
    assert max(shifts) - min(shifts) < 0.5
    aligned = [layer for layer in network[0].modules() if isinstance(layer, AlignedInput) and layer.corners]
    if aligned and "convnext_atto" not in request.node.name:
        assert max(map(abs, shifts)) < 0.5
