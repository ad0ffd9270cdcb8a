from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from satseg.raster.bands import Normaliser
from satseg.raster.scales import Conversion, same_scale
from satseg.records import BandSpec, BandStatistics


def normalise(images: torch.Tensor, statistics: BandStatistics, valid: torch.Tensor | None = None) -> torch.Tensor:
    return Normaliser(statistics, images.device)(images, valid)


OLD = BandSpec(("red", "nir"), "uint16", (1e-4, 1e-4), (0.0, 0.0))
NEW = replace(OLD, offsets=(-0.1, -0.1))  # Sentinel-2 since processing baseline 04.00
UNSTATED = replace(OLD, scales=(1.0, 1.0))
STATISTICS = BandStatistics(9, (1200.0, 3000.0), (400.0, 0.0), (1.0, 3000.0), (9000.0, 3000.0))


def test_an_offset_shifts_raw_values() -> None:
    conversion = Conversion.between(NEW, OLD)
    assert conversion
    assert conversion.gains == (1.0, 1.0)
    assert conversion.shifts == pytest.approx((-1000.0, -1000.0))
    assert conversion.statistics(STATISTICS).mean == pytest.approx((2200.0, 4000.0))
    assert not conversion.changes_nothing


def test_equal_scales_change_nothing_even_if_rounded() -> None:
    rounded = replace(OLD, scales=(float(np.float32(1e-4)),) * 2)
    for here, trained in [(OLD, OLD), (rounded, OLD), (UNSTATED, UNSTATED)]:
        conversion = Conversion.between(here, trained)
        assert conversion
        assert conversion.changes_nothing
        assert same_scale(here, trained)


@pytest.mark.parametrize(
    ("here", "trained"),
    [
        (UNSTATED, OLD),
        (OLD, UNSTATED),
        (replace(OLD, scales=(-1e-4, 1e-4)), OLD),
        (OLD, replace(OLD, scales=(0.0, 1.0))),
    ],
)
def test_what_nobody_can_tell_is_not_converted(here: BandSpec, trained: BandSpec) -> None:
    assert Conversion.between(here, trained) is None


def test_normalising_by_converted_statistics_is_converting_the_values() -> None:
    here = replace(OLD, scales=(0.5, 2.0), offsets=(8.0, -4.0))
    trained = replace(OLD, scales=(0.25, 0.5), offsets=(-2.0, 1.0))
    conversion = Conversion.between(here, trained)
    assert conversion
    raw = np.random.default_rng(0).integers(0, 4000, (1, 2, 5, 6)).astype(np.int16)
    converted = raw * np.reshape(conversion.gains, (2, 1, 1)) + np.reshape(conversion.shifts, (2, 1, 1))
    physical = raw * np.reshape(here.scales, (2, 1, 1)) + np.reshape(here.offsets, (2, 1, 1))
    again = converted * np.reshape(trained.scales, (2, 1, 1)) + np.reshape(trained.offsets, (2, 1, 1))
    assert np.array_equal(physical, again)
    seen = normalise(torch.from_numpy(raw), conversion.statistics(STATISTICS))
    expected = normalise(torch.from_numpy(converted), STATISTICS)
    assert torch.allclose(seen, expected, rtol=1e-5, atol=1e-5)
