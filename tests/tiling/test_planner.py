"""Tiles and blocks that fill every split, on scenes of all shapes; labels are arrays here, and no file is read.

Covers ``plan`` and ``sources``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, SceneInfo
from satseg.tiles.extents import Extents
from satseg.tiles.splits import SPLITS
from satseg.tiling.plan import Block, ExistingTiles, Layout
from satseg.tiling.planner import LayoutRequest, Plan, Planner
from satseg.tiling.sources import SceneFiles

OPEN = LayoutRequest(None, None, None, whole_scenes=False)


@dataclass
class Counted:
    """Stands for a Builder: finds blocks in arrays (row, col) of class ids."""

    truth: Sequence[np.ndarray]
    layout: Layout
    classes: int = 2
    looked: int = 0

    @property
    def sources(self) -> list[Any]:
        return [SceneFiles(SceneSource(info.path)) for info in self.infos]

    @property
    def infos(self) -> list[SceneInfo]:
        bands = BandSpec(("b",), "uint8", (1.0,), (0.0,))
        return [
            SceneInfo(
                f"{number}.tif", *shape[::-1], bands, None, Affine.translation(5000 * number, 0), None, None, False
            )
            for number, shape in enumerate(array.shape for array in self.truth)
        ]

    @property
    def labels(self) -> Any:
        return type("Labels", (), {"classes": ClassTable.from_names(["background", *"abcdefgh"[: self.classes - 1]])})

    def find_blocks(self, layout: Layout, within: Sequence[Block] | None) -> list[Block]:
        self.looked += 1
        found = []
        for number, info in enumerate(self.infos):
            for block in layout.part(number, info, None):
                inner = self.truth[number][block.window.toslices()]
                counts = np.bincount(inner.ravel(), minlength=IGNORE_INDEX + 1)[: self.classes]
                found += [replace(block, pixels=tuple(counts.tolist()))] if counts.any() else []
        assert within is None or {block.scene for block in found} <= {block.scene for block in within}
        return found


def planner(
    *truth: np.ndarray, shares: tuple[float, ...] = (0.7, 0.15, 0.15), seed: int = 0, buffer: int = 0
) -> Planner:
    layout = Layout(256, 128, at_random=False, whole_scenes=False, block=512, buffer=buffer, shares=shares, seed=seed)
    nothing = ExistingTiles(Extents.of([], [], [], None), np.empty(0, dtype=object))
    return Planner(Counted(truth, layout), nothing, None)  # type: ignore[arg-type]


def scattered(height: int, width: int) -> np.ndarray:
    """Class 1 on a chequered board of 20 px, class 0 elsewhere."""
    rows, columns = np.indices((height, width)) // 20
    return ((rows + columns) % 2).astype(np.uint8)


def corner(height: int, width: int, labelled: int, elsewhere: int) -> np.ndarray:
    truth = np.full((height, width), elsewhere, dtype=np.uint8)
    truth[:labelled, :labelled] = scattered(labelled, labelled)
    return truth


def half_nodata(height: int, width: int) -> np.ndarray:
    truth = scattered(height, width)
    truth[np.add.outer(np.arange(height), np.arange(width)) > (height + width) // 2] = IGNORE_INDEX
    return truth


SHAPES = {
    "452 x 413": [scattered(413, 452)],
    "300 x 300": [scattered(300, 300)],
    "512 x 512": [scattered(512, 512)],
    "100 x 90": [scattered(90, 100)],
    "64 x 64": [scattered(64, 64)],
    "1000 chips": [scattered(256, 256)] * 1000,
    "44 chips": [scattered(1000, 1000)] * 44,
    "two scenes": [scattered(452, 413), scattered(60, 60)],
    "two chips": [scattered(256, 256)] * 2,
    "long": [scattered(300, 5000)],
    "longer": [scattered(60, 5000)],
    "half nodata": [half_nodata(452, 413)],
    "labelled area": [corner(2000, 2000, 300, IGNORE_INDEX)],
    "corner": [corner(452, 413, 200, 0)],
    "corner of a large scene": [corner(1200, 1300, 300, 0)],
}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", SHAPES)
def test_all_splits_get_near_their_share(name: str, seed: int) -> None:
    plan = planner(*SHAPES[name], seed=seed).choose(OPEN)
    check_filled(plan)
    assert plan.layout.overlap == plan.layout.size // 2
    assert plan == planner(*SHAPES[name], seed=seed).choose(OPEN)


def check_filled(plan: Plan) -> None:
    areas = plan.areas
    for split, share in zip(SPLITS, plan.layout.shares, strict=True):
        assert areas[split] >= share / 2 * sum(areas.values())
        assert any(tile.split == split for tile in plan.planned) == bool(share)
        objects = sum(block.pixels[1] for block, given in zip(plan.found, plan.splits, strict=True) if given == split)
        assert (objects > 0) == bool(share)


@pytest.mark.parametrize(
    ("name", "size", "block"),
    [
        ("452 x 413", 128, 256),
        ("512 x 512", 128, 256),
        ("300 x 300", 128, 128),
        ("64 x 64", 32, 32),
        ("1000 chips", 256, 512),
        ("44 chips", 256, 1024),
        ("long", 256, 512),
        ("corner of a large scene", 128, 256),
        ("longer", 64, 128),
    ],
)
def test_tiles_are_as_large_as_that_allows(name: str, size: int, block: int) -> None:
    layout = planner(*SHAPES[name]).choose(OPEN).layout
    assert (layout.size, layout.block) == (size, block)


def test_large_scenes_are_looked_at_once() -> None:
    many = planner(*SHAPES["1000 chips"])
    begun = time.process_time()
    many.choose(OPEN)
    assert many.builder.looked == 1  # type: ignore[attr-defined]
    assert time.process_time() - begun < 10


def test_splits_that_are_not_asked_for_stay_empty() -> None:
    plan = planner(scattered(300, 300), shares=(0.8, 0.2, 0)).choose(OPEN)
    check_filled(plan)
    assert planner(scattered(300, 300), shares=(1, 0, 0)).choose(OPEN).layout.size == 256


def test_pairs_are_dealt_as_a_whole_where_they_are_enough() -> None:
    asked = replace(OPEN, whole_scenes=None)
    assert planner(*[scattered(256, 256)] * 40).choose(asked).layout.whole_scenes
    few = planner(*[scattered(256, 256)] * 2).choose(asked)
    assert not few.layout.whole_scenes
    check_filled(few)


@pytest.mark.parametrize(
    "asked",
    [
        LayoutRequest(256, None, 512, whole_scenes=False),
        LayoutRequest(None, None, 512, whole_scenes=False),
        LayoutRequest(64, None, 512, whole_scenes=False),
        LayoutRequest(None, None, None, whole_scenes=True),
        LayoutRequest(256, 100, 300, whole_scenes=False),
    ],
)
@pytest.mark.parametrize("name", ["452 x 413", "300 x 300", "two scenes", "labelled area", "half nodata"])
def test_where_sizes_leave_splits_empty_those_are_named_that_fill_them(name: str, asked: LayoutRequest) -> None:
    found = planner(*SHAPES[name])
    plan = found.choose(asked)
    remedy = found.remedy(asked, plan)
    assert plan.empty
    assert remedy is not None
    assert ("`split_by='block'`" in remedy) == bool(asked.whole_scenes)
    size, block = (int(re.search(rf"`{name}=(\d+)`", remedy)[1]) for name in ("size", "block"))  # type: ignore[index]
    typed = planner(*SHAPES[name]).choose(LayoutRequest(size, asked.overlap, block, whole_scenes=False))
    assert not typed.empty
    assert (typed.layout.size, typed.layout.block) == (size, block)
    if asked.size == 64:  # what need not change does not
        assert size == 64


def test_nothing_fills_the_splits_of_one_tile() -> None:
    found = planner(scattered(40, 40))
    plan = found.choose(OPEN)
    assert plan.empty == ["val", "test"]
    assert found.remedy(OPEN, plan) is None


def test_an_overlap_that_no_smaller_tile_has_is_named_too() -> None:
    asked = LayoutRequest(None, 200, None, whole_scenes=False)
    found = planner(scattered(413, 452))
    plan = found.choose(asked)
    assert plan.empty == ["val", "test"]
    assert found.remedy(asked, plan) == "`size=128` `overlap=64` `block=256`"


def test_a_buffer_that_leaves_no_training_tile_is_seen() -> None:
    asked = LayoutRequest(64, 0, 64, whole_scenes=False)
    found = planner(scattered(256, 256), buffer=70)
    plan = found.choose(asked)
    assert plan.empty == ["train"]
    assert found.remedy(asked, plan) == "`size=32` `block=64`"
    assert not found.choose(LayoutRequest(32, 0, 64, whole_scenes=False)).empty


@settings(max_examples=30, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(96, 700), st.integers(96, 700)), min_size=1, max_size=4),
    seed=st.integers(0, 5),
)
def test_scenes_of_any_size_fill_all_splits(shapes: list[tuple[int, int]], seed: int) -> None:
    plan = planner(*(scattered(*shape) for shape in shapes), seed=seed).choose(OPEN)
    assert not plan.empty


def test_very_small_tiles_are_not_taken_for_the_classes_alone() -> None:
    plan = planner(corner(1200, 1300, 60, 0)).choose(OPEN)
    assert plan.near
    assert plan.layout.size == 256


def test_blocks_of_very_large_scenes_are_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.tiling.planner.RECOUNTED", 10**6)
    large = planner(corner(1200, 1300, 300, 0))
    assert large.choose(OPEN).layout.size == 256
    assert large.builder.looked == 1  # type: ignore[attr-defined]
