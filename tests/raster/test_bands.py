from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from satseg.errors import TileError
from satseg.raster.bands import Moments, Normaliser, constant_bands, find_clipping, merge_moments
from satseg.raster.scales import Conversion
from satseg.records import BandStatistics, Clipping


def normalise(images: torch.Tensor, statistics: BandStatistics, valid: torch.Tensor | None = None) -> torch.Tensor:
    return Normaliser(statistics, images.device)(images, valid)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 1000))
def test_pieces_merge_to_the_statistics_of_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(1e6, 1, (2, 1, sum(sizes)))  # a large mean is where naive sums of squares fail
    pieces = np.split(values, np.cumsum(sizes)[:-1], axis=2)
    moments = [Moments.of(piece, np.ones(piece.shape[1:], dtype=bool)) for piece in pieces]
    found = merge_moments([piece for piece in moments if piece])
    assert found.count == sum(sizes)
    assert found.mean == pytest.approx(values.mean(axis=(1, 2)), rel=1e-12)
    assert found.std == pytest.approx(values.std(axis=(1, 2)), abs=1e-7)
    assert found.minimum == tuple(values.min(axis=(1, 2)))
    assert found.maximum == tuple(values.max(axis=(1, 2)))


def test_invalid_pixels_do_not_count() -> None:
    moments = Moments.of(np.array([[[1, 3, 999]]], dtype=np.uint16), np.array([[True, True, False]]))
    assert moments is not None
    assert merge_moments([moments]) == BandStatistics(2, (2.0,), (1.0,), (1.0,), (3.0,))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_normalising_centres_and_scales(dtype: type) -> None:
    statistics = BandStatistics(9, (10.0, 20.0), (5.0, 0.0), (0.0, 20.0), (20.0, 20.0))
    images = torch.from_numpy(np.array([[[[10, 20]], [[20, 23]]]], dtype=dtype))
    result = normalise(images, statistics)
    assert result.dtype == torch.float32
    assert result.tolist() == [[[[0.0, 2.0]], [[0.0, 3.0]]]]  # a constant band is centred only


def test_invalid_pixels_become_zero_even_if_nan() -> None:
    statistics = BandStatistics(9, (10.0,), (5.0,), (0.0,), (20.0,))
    images = torch.tensor([[[[float("nan"), 20.0]]]])
    assert normalise(images, statistics, torch.tensor([[[False, True]]])).tolist() == [[[[0.0, 2.0]]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_moments_of_integers_are_rounded_once(dtype: type) -> None:
    limits = np.iinfo(dtype)
    bands = np.random.default_rng(0).integers(limits.max - 200, limits.max, (2, 70, 90), endpoint=True, dtype=dtype)
    valid = np.random.default_rng(1).random((70, 90)) < 0.7
    moments = Moments.of(bands, valid)
    for band, values in enumerate(bands[:, valid].tolist()):
        mean = Fraction(sum(values), len(values))
        assert moments.mean[band] == float(mean)
        assert moments.squares[band] == float(sum((value - mean) ** 2 for value in values))


def test_moments_of_large_values_keep_their_digits() -> None:
    bands = (1e9 + np.random.default_rng(0).random((1, 50, 40))).astype(np.float64)
    pieces = [Moments.of(bands[:, top : top + 7], np.ones((7, 40), dtype=bool)) for top in range(0, 49, 7)]
    merged = merge_moments([piece for piece in pieces if piece])
    assert merged.std[0] == pytest.approx(bands[0, :49].std(), rel=1e-6)  # a mean has seven digits after the point
    assert merged == merge_moments(list(reversed(pieces)))


def test_moments_of_nothing_are_none() -> None:
    assert Moments.of(np.ones((1, 4, 4)), np.zeros((4, 4), dtype=bool)) is None
    with pytest.raises(TileError, match="no valid pixels"):
        merge_moments([])


@pytest.mark.parametrize(
    ("dtype", "base"),
    [
        (np.float32, 1e9),
        (np.float64, 1e15),
        (np.uint32, 4e9),
        (np.int32, -2e9),
        (np.int64, 1e12),
        (np.uint64, 1e12),
        (np.uint16, 6e4),
    ],
)
def test_differences_of_large_values_are_kept(dtype: type, base: float) -> None:
    values = (base + np.arange(-500, 500) * (64 if dtype is np.float32 else 1)).astype(dtype)
    mean, std = float(base) + 13.37, float(values.astype(np.float64).std())
    statistics = BandStatistics(9, (mean,), (std,), (0.0,), (0.0,))
    found = normalise(torch.from_numpy(values)[None, None, None], statistics)[0, 0, 0].numpy()
    expected = (values.astype(np.float64) - mean) / std
    assert np.abs(found - expected).max() < (1e-4 if dtype is np.uint16 else 1e-6)


@pytest.mark.parametrize("odd", [-3.4028235e38, 1e37, float("inf"), float("nan")])
def test_a_pixel_with_a_value_out_of_range_becomes_the_mean_in_all_bands(odd: float) -> None:
    statistics = BandStatistics(9, (10.0, 10.0), (5.0, 1e-3), (0.0,) * 2, (20.0,) * 2)
    images = torch.tensor([[[[15.0, 15.0]], [[odd, 10.0]]]])
    assert normalise(images, statistics).tolist() == [[[[0.0, 1.0]], [[0.0, 0.0]]]]
    alone = torch.tensor([[True, False]])[None]
    assert normalise(images, statistics, alone).tolist() == [[[[0.0, 0.0]], [[0.0, 0.0]]]]


def test_types_that_float32_holds_are_normalised_in_it_and_no_pixel_of_them_is_left_out() -> None:
    statistics = BandStatistics(9, (1000.0,), (1e-3,), (0.0,), (20.0,))
    found = normalise(torch.tensor([[[[65535]]]], dtype=torch.uint16), statistics)
    assert found.item() == pytest.approx(64_535_000, rel=1e-6)


def test_moments_leave_out_what_no_band_can_hold() -> None:
    bands = np.array([[[1, 3, -3.4e38], [2, 2, 2]], [[5, 5, 5], [5, 9.97e36, 5]]], dtype=np.float32)
    found = Moments.of(bands, np.ones((2, 3), dtype=bool))
    assert found is not None
    assert (found.count, found.mean.tolist(), found.minimum.tolist()) == (4, [2.0, 5.0], [1.0, 5.0])
    assert Moments.of(np.full((1, 1, 2), -3.4e38, dtype=np.float32), np.ones((1, 2), dtype=bool)) is None


def test_constant_bands_are_named_with_their_value() -> None:
    statistics = BandStatistics(9, (10.0, 4e9), (5.0, 0.0), (0.0, 4e9), (20.0, 4e9))
    assert constant_bands(statistics, ("red", "nir")) == ["nir is 4e+09 everywhere"]


SPECKLE = BandStatistics(count=1, mean=(6.0,), std=(40.0,), minimum=(0.0,), maximum=(900.0,))
MIDDLE = Clipping(centre=(1.0,), spread=(2.0,), limit=8.0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64])
def test_values_far_from_the_centre_are_clipped(dtype: torch.dtype) -> None:
    raw = torch.tensor([[[[0, 1, 5, 17, 18, 120]]]], dtype=dtype)
    found = Normaliser(SPECKLE, raw.device, MIDDLE)(raw)
    assert found.flatten().tolist() == [-0.5, 0.0, 2.0, 8.0, 8.0, 8.0]


def test_what_is_not_measured_stays_invalid_where_values_are_clipped() -> None:
    raw = torch.tensor([[[[torch.nan, torch.inf, -torch.inf, -3.4e38, 1e5, 5.0]]]])
    valid = torch.tensor([[[True] * 5 + [False]]])
    plain, clipped = (Normaliser(SPECKLE, raw.device, clipping)(raw, valid).flatten() for clipping in (None, MIDDLE))
    assert clipped.tolist() == [0, 0, 0, 0, 8, 0]
    assert torch.equal(plain != 0, clipped != 0)


def test_values_at_another_scale_are_clipped_where_they_mean_the_same() -> None:
    scaled = Normaliser(SPECKLE, torch.device("cpu"), MIDDLE).after(Conversion((0.5,), (0.0,)))
    assert scaled(torch.tensor([[[[2.0, 34.0, 36.0]]]])).flatten().tolist() == [0, 8, 8]


def test_heavy_tails_are_found_by_extremes_and_normalised_by_percentiles() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(50, 10, 100_000), np.exp(rng.normal(0, 0.3, 100_000)), np.zeros(100_000)])
    values[1:, :50] = 1e4  # echoes; the last band holds nothing else
    moments = Moments.of(values[:, None], np.ones((1, 100_000), dtype=bool))
    assert moments is not None
    statistics = merge_moments([moments])
    found = find_clipping(statistics, values, 8.0)
    assert found is not None
    assert (found.centre[0], found.spread[0]) == (statistics.mean[0], statistics.std[0])
    assert (found.centre[1], found.spread[1]) == pytest.approx((1.0, 0.3), rel=0.02)
    assert statistics.std[1] > 100
    assert (found.centre[2], found.spread[2]) == (statistics.mean[2], statistics.std[2])
    assert (
        find_clipping(merge_moments([Moments.of(values[:1, None], np.ones((1, 100_000), bool))]), values[:1], 8) is None
    )  # type: ignore[list-item]
