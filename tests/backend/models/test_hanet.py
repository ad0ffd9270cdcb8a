from __future__ import annotations

import numpy as np
import pytest
import torch
from score_places import pinpoint, places
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.catalogue import read_catalogue
from satseg.backend.models.hanet import HeightAttention
from satseg.profiling.counts import count_parameters

ROWS = 16


def attention(lower: int, higher: int) -> HeightAttention:
    """Attention in eval mode, whose norms have statistics and weights that are not the initial ones."""
    torch.manual_seed(0)
    made = HeightAttention(lower, higher)
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm1d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return made.eval().requires_grad_(False)


def convolved(x: np.ndarray, conv: nn.Conv1d) -> np.ndarray:
    """Return (K, rows) for (C, rows), tap by tap; zeros lie beyond the first and the last row."""
    weight, bias = (np.asarray(tensor, dtype=float) for tensor in (conv.weight, conv.bias))
    above, below = (np.pad(x, ((0, 0), pad))[:, cut] for pad, cut in (((1, 0), slice(-1)), ((0, 1), slice(1, None))))
    return (
        sum(tap @ rows for tap, rows in zip(weight.transpose(2, 0, 1), (above, x, below), strict=True)) + bias[:, None]
    )


def normed(x: np.ndarray, norm: nn.BatchNorm1d) -> np.ndarray:
    mean, var, weight, bias = (
        np.asarray(tensor, dtype=float)[:, None]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return np.maximum((x - mean) / np.sqrt(var + norm.eps) * weight + bias, 0)


def expected_gates(made: HeightAttention, lower: Tensor, height: int) -> np.ndarray:
    """Return the gates (K, height) of one image, in the words of section 3, for features of 32 rows."""
    conv, norm, _ = made.reduce
    middle, middle_norm, _, last, _ = made.gate
    rows = lower.double().numpy().mean(axis=2).reshape(len(lower), ROWS, -1).mean(axis=2)
    reduced = normed(np.asarray(conv.weight, dtype=float)[:, :, 0] @ rows, norm)
    for channel in range(len(reduced)):
        wave = np.sin if channel % 2 == 0 else np.cos
        reduced[channel] += wave(np.arange(ROWS) / 100 ** (channel // 2 * 2 / len(reduced)))
    gates = 1 / (1 + np.exp(-convolved(normed(convolved(reduced, middle), middle_norm), last)))
    centres = (np.arange(height) + 0.5) * ROWS / height - 0.5
    return np.stack([np.interp(centres, np.arange(ROWS), gate) for gate in gates])


@pytest.mark.parametrize("height", [7, 16, 64])
@pytest.mark.parametrize("lower", [128, 304])  # reduced to two channels, and to five
def test_rows_are_gated_by_means_of_rows_and_by_their_number(lower: int, height: int) -> None:
    made = attention(lower, 6)
    features, gated = torch.randn(1, lower, 32, 5), torch.randn(1, 6, height, 9)
    expected = gated[0].double() * torch.from_numpy(expected_gates(made, features[0], height))[..., None]
    torch.testing.assert_close(made(features, gated)[0].double(), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_columns_changes_no_gate() -> None:
    made, features, ones = attention(128, 6), torch.randn(1, 128, 20, 9), torch.ones(1, 6, 20, 9)
    torch.testing.assert_close(made(features.flip(3), ones), made(features, ones))


def test_gates_of_a_uniform_image_differ_from_row_to_row_by_the_encoding_alone() -> None:
    made, features, ones = attention(128, 6), torch.ones(1, 128, 16, 4), torch.ones(1, 6, 16, 4)
    inner = slice(2, -2)  # beyond them, zeros around the rows count
    assert made(features, ones)[0, :, inner].std(dim=1).min() > 1e-3
    made.encoding.zero_()
    torch.testing.assert_close(made(features, ones)[0, :, inner], made(features, ones)[0, :, 2:3].expand(6, 12, 4))


def test_attention_adds_what_the_paper_lets_it_cost() -> None:
    with torch.device("meta"):
        model = create_model("hanet", in_channels=3, num_classes=19)
    places = (model.encoded, model.pooled, model.projected, model.decoded)
    assert [count_parameters(place) for place in places] == [216_704, 318_976, 59_136, 9_646]
    assert count_parameters(model) - 604_462 == 59_467_571  # DeepLab v3+ without it


def test_scores_do_not_shift_with_the_image_along_rows_which_the_network_counts() -> None:
    torch.manual_seed(0)
    model = create_model("hanet", in_channels=3, num_classes=2, encoder="resnet18")
    encodings = {name: kept.clone() for name, kept in model.named_buffers() if name.endswith("encoding")}
    model = pinpoint(model)
    for name, kept in encodings.items():
        model.get_buffer(name).copy_(kept)
    assert len(encodings) == 4
    assert places(model, 256, axis=0).difference > 0.01
    assert places(model, 256, axis=1).difference < 1e-3


def test_the_catalogue_says_that_it_is_not_for_nadir_imagery() -> None:
    assert "street-level images alone" in read_catalogue()["hanet"].architecture.use
