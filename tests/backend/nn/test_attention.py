from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from satseg.backend.nn.attention import attend


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("places", [(3, 7), (110,)])
def test_values_are_weighted_by_the_softmax_of_products(places: tuple[int, ...], generator: torch.Generator) -> None:
    queries = torch.randn(2, 4, 5, 6, generator=generator)
    keys = torch.randn(2, 4, *places, generator=generator)
    values = torch.randn(2, 9, *places, generator=generator)
    products = torch.einsum("ndhw,ndk->nhwk", queries, keys.flatten(2))
    expected = torch.einsum("nhwk,nck->nchw", (0.3 * products).softmax(-1), values.flatten(2))
    torch.testing.assert_close(attend(queries, keys, values, scale=0.3), expected)


def test_equals_the_attention_of_torch_with_one_head(generator: torch.Generator) -> None:
    layer = nn.MultiheadAttention(8, 1, bias=False, batch_first=True)
    nn.init.eye_(layer.out_proj.weight)
    pixels = torch.randn(1, 8, 4, 4, generator=generator)
    rows = pixels.flatten(2).transpose(1, 2)
    queries, keys, values = (
        (rows @ part.T).transpose(1, 2).unflatten(2, (4, 4)) for part in layer.in_proj_weight.chunk(3)
    )
    expected = layer(rows, rows, rows, need_weights=False)[0]
    found = attend(queries, keys, values, scale=8**-0.5)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), expected)


def test_the_fused_kernel_takes_values_wider_than_keys(generator: torch.Generator) -> None:
    """It needs no memory for the products of all pixels with one another; without it, this raises."""
    narrow = torch.randn(1, 2, 8, 8, generator=generator)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert attend(narrow, narrow, narrow.repeat(1, 2, 1, 1)).shape == (1, 4, 8, 8)
