from __future__ import annotations

import json
from itertools import pairwise

import pytest

from satseg.errors import UsageError
from satseg.inference.plan import LARGEST_SHARE, fit_window, make_plan, wanted_overlap
from satseg.records import Plan, as_json


@pytest.mark.parametrize("window", [256, 384, 512, 768])
@pytest.mark.parametrize("length", [1000, 1024, 1100, 1500, 2048, 3000, 4096, 5000, 8192, 20_000, 400_000])
def test_fitted_windows_forward_few_pixels_twice(length: int, window: int) -> None:
    wanted = wanted_overlap(window, None)
    size, overlap = fit_window(length, window, wanted)
    plan = make_plan(length, length, window=size, overlap=overlap)
    fixed = make_plan(length, length, window=window, overlap=wanted)
    assert plan.forwarded <= max(1.35, fixed.forwarded)
    if length >= 6 * window:
        assert plan.forwarded <= 1.35
        assert overlap >= 0.75 * LARGEST_SHARE * size - 2


@pytest.mark.parametrize("length", [33, 500, 512])
def test_a_scene_that_fits_a_window_has_one(length: int) -> None:
    size, overlap = fit_window(length, 512, 71)
    plan = make_plan(length, length, window=size, overlap=overlap)
    assert (plan.row_starts, plan.column_starts) == ((0,), (0,))


def test_the_overlap_is_what_the_network_sees_unless_that_is_too_much() -> None:
    assert wanted_overlap(512, 30) == 30
    assert wanted_overlap(512, 300) == wanted_overlap(512, None) == 71


def test_a_plan_comes_back_from_json_with_sides_by_name() -> None:
    plan = make_plan(1000, 900, window=(256, 128), overlap=(32, 7))
    stored = json.loads(json.dumps(as_json(plan)))
    assert stored["window"] == {"width": 128, "height": 256}
    assert Plan.from_dict(stored) == plan
    assert str(plan.window) == "128 x 256"


def test_fixed_values_are_honoured() -> None:
    plan = make_plan(1000, 900, window=(256, 128), overlap=(32, 7), batch_size=5, streams=2, threads=3)
    assert (plan.window, plan.overlap, plan.batch_size, plan.streams, plan.threads) == ((256, 128), (32, 7), 5, 2, 3)
    assert plan.row_starts[-1] + 256 == 1000
    assert plan.column_starts[1] == 121


@pytest.mark.parametrize("options", [{"window": 16}, {"window": 64, "overlap": 33}, {"overlap": -1}, {"batch_size": 0}])
def test_what_makes_no_sense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        make_plan(100, 100, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("align", [8, 16, 32])
@pytest.mark.parametrize("length", [700, 999, 1024, 2013, 5000])
def test_windows_begin_at_multiples_of_the_stride(length: int, align: int) -> None:
    size, overlap = fit_window(length, 256, 35, align=align)
    plan = make_plan(length, length, window=size, overlap=overlap, align=align)
    assert all(start % align == 0 for start in plan.row_starts)
    assert 0 <= plan.row_starts[-1] + size - length < align
    assert all(size - (below - above) >= overlap for above, below in pairwise(plan.row_starts))


def test_alignment_keeps_the_overlap_that_was_asked_for() -> None:
    plan = make_plan(2000, 2000, window=512, overlap=71, align=16)
    assert plan.overlap == (71, 71)
    assert plan.row_starts[1] == 432


def test_a_window_of_a_fixed_size_stays_of_that_size() -> None:
    assert fit_window(5000, 256, 35, align=32, resize=False)[0] == 256
