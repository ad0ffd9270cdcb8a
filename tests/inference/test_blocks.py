"""Blocks of rows that are mapped apart join to the bytes of one pass.

Covers ``decision`` and ``reading``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moody import Moody, assert_same, moody, network_of, write_scene
from rasterio.windows import Window
from torch import Tensor

from satseg.inference.blocks import count_strips, join_parts, predict_block, row_blocks, strips
from satseg.inference.decision import OF_OBJECTS, Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell, predict_cells
from satseg.inference.plan import make_plan, span
from satseg.inference.reading import ReadOptions
from satseg.objects import ObjectOutputs
from satseg.raster.source import SceneSource
from satseg.records import MapLayer, Plan

ALL_LAYERS = frozenset({MapLayer.CLASSES, MapLayer.CONFIDENCE, MapLayer.PROBABILITIES, MapLayer.DISAGREEMENT})


class MoodyAboutObjects(Moody):
    """Its offsets depend on the whole batch, too."""

    def forward(self, images: Tensor) -> Tensor:
        classes = super().forward(images)
        return torch.cat([classes, classes * torch.tensor([0.3, 40.0, 60.0]).view(1, 3, 1, 1)], dim=1)


def about_objects() -> Network:
    return network_of(MoodyAboutObjects(), objects=ObjectOutputs.CENTRES)


def in_one_pass(
    source: SceneSource,
    plan: Plan,
    decision: Decision,
    read_options: ReadOptions,
    row: int,
    network: Callable[[], Network] = moody,
) -> list[Cell]:
    return list(predict_cells(source.open, network(), plan, decision, read_options, first_row=row))


def in_blocks(
    source: SceneSource,
    plan: Plan,
    decision: Decision,
    read_options: ReadOptions,
    row: int,
    rows: int,
    network: Callable[[], Network] = moody,
) -> list[Cell]:
    """Map blocks from the bottom up, send them through pickle, and join them."""
    mapped = []
    for block in reversed(row_blocks(plan, rows, first_row=row)):
        parts = predict_block(source.open, network(), plan, decision, read_options, block, first_row=row)
        pieces = [pickle.dumps(strip) for strip in strips(parts, plan)]
        assert len(pieces) == count_strips(plan, block)
        mapped.append(pieces)
    parts = (part for pieces in reversed(mapped) for piece in pieces for part in pickle.loads(piece))
    return list(join_parts(parts, plan, decision, budget=5000, scratch=read_options.scratch))


@pytest.mark.parametrize(
    ("height", "overlap", "rows", "batch_size", "row"),
    [
        (230, 8, 1, 3, 0),
        (230, 8, 2, 4, 0),
        (230, 20, 1, 5, 0),
        (233, 20, 1, 3, 0),  # the last row begins within the overlap of the row before
        (233, 20, 3, 1, 2),
        (230, 0, 1, 4, 0),
        (230, 8, 1, 40, 1),  # a batch of several rows
        (33, 8, 1, 2, 0),
        (20, 8, 1, 2, 0),
    ],
)
@pytest.mark.parametrize("thresholds", [{}, {1: 0.5, 2: 0.3}])
def test_blocks_join_to_the_bytes_of_one_pass(
    tmp_path: Path, height: int, overlap: int, rows: int, batch_size: int, row: int, thresholds: dict[int, float]
) -> None:
    source = write_scene(tmp_path / "scene.tif", height, 107, holes=bool(thresholds))
    plan = make_plan(height, 107, window=40, overlap=overlap, batch_size=batch_size)
    decision = Decision(3, thresholds, 0, ALL_LAYERS)
    read_options = ReadOptions(scratch=tmp_path)
    expected = in_one_pass(source, plan, decision, read_options, row)
    assert_same(in_blocks(source, plan, decision, read_options, row, rows), expected)
    assert MapLayer.DISAGREEMENT in expected[0].layers


@pytest.mark.parametrize(("height", "overlap"), [(230, 8), (233, 20)])
def test_blocks_with_centres_and_offsets_join_to_the_bytes_of_one_pass(
    tmp_path: Path, height: int, overlap: int
) -> None:
    source = write_scene(tmp_path / "scene.tif", height, 107, holes=True)
    plan = make_plan(height, 107, window=40, overlap=overlap, batch_size=3)
    decision = Decision(3, layers=frozenset({MapLayer.CLASSES, *OF_OBJECTS[ObjectOutputs.CENTRES]}))
    read_options = ReadOptions(scratch=tmp_path)
    expected = in_one_pass(source, plan, decision, read_options, 0, about_objects)
    assert_same(in_blocks(source, plan, decision, read_options, 0, 1, about_objects), expected)
    offsets = np.concatenate([cell.layers[MapLayer.OFFSETS].ravel() for cell in expected])
    assert offsets.dtype == np.int16
    assert np.abs(offsets).max() > 1000


@pytest.mark.parametrize(
    ("height", "starts"),
    [
        (205, (0, 32, 64, 96, 128, 160, 192)),  # steps within the overlap throughout; the end within it, too
        (173, (0, 64, 128, 160)),
        (140, (0, 64, 128)),
    ],
)
def test_blocks_of_any_plan_join_to_the_bytes_of_one_pass(tmp_path: Path, height: int, starts: tuple[int, ...]) -> None:
    source = write_scene(tmp_path / "scene.tif", height, 107)
    plan = replace(make_plan(height, 107, window=(128, 64), overlap=(40, 10)), row_starts=starts)
    decision, read_options = Decision(3, layers=ALL_LAYERS), ReadOptions(scratch=tmp_path)
    expected = in_one_pass(source, plan, decision, read_options, 0)
    assert_same(in_blocks(source, plan, decision, read_options, 0, 1), expected)


def test_blocks_of_an_area_join_to_the_bytes_of_one_pass(tmp_path: Path) -> None:
    class Disc:
        def touches(self, window: Window) -> bool:
            return bool(self.inside(window).any())

        def inside(self, window: Window) -> np.ndarray:
            rows, columns = np.ogrid[: int(window.height), : int(window.width)]
            return np.hypot(rows + window.row_off - 90, columns + window.col_off - 60) < 50

    source = write_scene(tmp_path / "scene.tif", 200, 150)
    plan = make_plan(200, 150, window=40, overlap=10, batch_size=3)
    decision = Decision(3, layers=ALL_LAYERS)
    read_options = ReadOptions(scratch=tmp_path, area=Disc())
    expected = in_one_pass(source, plan, decision, read_options, 0)
    assert_same(in_blocks(source, plan, decision, read_options, 0, 2), expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.integers(0, 20), st.integers(1, 5), st.integers(0, 100))
def test_blocks_cover_all_rows_once_and_may_be_parted(height: int, overlap: int, rows: int, first: int) -> None:
    plan = make_plan(height, 40, window=40, overlap=overlap)
    first %= len(plan.row_starts)
    blocks = row_blocks(plan, rows, first_row=first)
    assert list(chain(*blocks)) == list(range(first, len(plan.row_starts)))
    assert all(len(block) >= rows for block in blocks[:-1])
    for block in blocks[1:]:  # else what its first row leaves below would lack the block above
        top, bottom = span(plan.row_starts, block.start, plan.height)
        assert bottom - top >= overlap
    assert all(len(block) == rows for block in blocks[:-2])  # just the last row snaps
