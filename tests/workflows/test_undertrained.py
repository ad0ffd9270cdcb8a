"""Warnings about networks that were trained too little.

Covers ``prediction/map_warnings``.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from training_runs import run

from satseg.classes import ClassTable
from satseg.evaluation.confusion import score
from satseg.prediction.map_warnings import warn_of_map
from satseg.runs.log import LogRow
from satseg.workflows.predict import predict_scenes
from satseg.workflows.undertrained import CollapseWatch, only_class, warn_of_training

NAMES = ("background", "roof", "road")


NETS = """
import torch
from torch import nn

class Fixed(nn.Module):
    def __init__(self, in_channels, num_classes, every):
        super().__init__()
        self.classify = nn.Conv2d(in_channels, num_classes, 1)
        self.every = every

    def forward(self, images):
        logits = 0.001 * torch.tanh(self.classify(images))
        logits[:, 0] += 1
        if self.every:
            logits[:, 1, ::self.every, ::self.every] += 2
        return logits

def background(*, in_channels, num_classes):
    return Fixed(in_channels, num_classes, 0)

def crumbs(*, in_channels, num_classes):
    return Fixed(in_channels, num_classes, 4)
"""


def training(confusion: list[list[int]], seconds: float = 20.0, steps: int = 40) -> Any:
    report = score(np.array(confusion), NAMES)
    return SimpleNamespace(validation=report, only_class=only_class(report), seconds=seconds, steps=steps, lr=0.003)


def validation(step: int, *ious: float, left: float = 60.0) -> LogRow:
    return LogRow(
        step=step, epoch=1.0, loss=0.7, lr=0.003, miou=0.3, global_accuracy=0.6,
        ious=dict(zip(NAMES, ious, strict=True)), averages={}, pixels_per_second=1.0, seconds=60.0,
        seconds_left=left, kept="",
    )  # fmt: skip


def longer(minutes: int) -> str:
    return f"satseg train --resume --minutes {minutes}"


def card(background: float = 0.8, roof: float = 0.5, road: float | None = None) -> Any:
    scores = {"iou background": background, "iou roof": roof} | ({} if road is None else {"iou road": road})
    return SimpleNamespace(classes=ClassTable.from_names(NAMES), metrics=scores, training={"steps": 6})


def mapped(background: int, roof: int, polygons: int | None, specks: int = 0) -> Any:
    pixels = {"background": background, "roof": roof, "road": 0, "nodata": 7}
    found = None if polygons is None else {"roof": polygons, "road": 0}
    return SimpleNamespace(scene="a.tif", pixels=pixels, polygons=found, specks=None if found is None else specks)


def test_a_short_run_that_finds_one_class_of_several_should_be_longer(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_training(training([[90, 0, 0], [10, 0, 0], [0, 0, 0]]), longer)
    assert caplog.messages == [
        "The network predicts only background on the validation tiles, which have 2 classes. Train longer: satseg "
        "train --resume --minutes 10; or start again with a lower learning rate: `lr=0.0003` in place of 0.003"
    ]
    warn_of_training(training([[90, 0, 0], [10, 0, 0], [0, 0, 0]], seconds=1200), longer)
    assert "--minutes 40" in caplog.text


def test_a_long_run_that_finds_one_class_had_too_high_a_rate(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_training(training([[90, 0, 0], [10, 0, 0], [0, 0, 0]], steps=8000), longer)
    assert "Start again with a lower learning rate: `lr=0.0003` in place of 0.003; or train longer" in caplog.text


def test_a_run_is_told_of_its_collapse_once_while_it_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    watch = CollapseWatch(lr=0.003)
    for row in (validation(200, 0.9, 0.0, math.nan), validation(220, 0.9, 0.0, math.nan)):
        watch.see(row)
    assert caplog.messages == [
        "After 200 steps, the network finds only background on the validation tiles, which have 2 classes. If that "
        "does not change soon, stop and start again with a lower learning rate: `lr=0.0003` in place of 0.003"
    ]


@pytest.mark.parametrize(
    "row",
    [
        validation(200, 0.9, 0.01, 0.0),  # two classes are found
        validation(200, 0.9, math.nan, math.nan),  # there is but one
        validation(99, 0.9, 0.0, 0.0),  # few steps
        validation(200, 0.9, 0.0, 0.0, left=600.0),  # most of the run is to come
        validation(200, 0.9, 0.0, 0.0, left=0.0),  # the run is over, which is told of at its end
    ],
)
def test_no_collapse_is_seen_where_it_is_too_early_or_none(row: LogRow, caplog: pytest.LogCaptureFixture) -> None:
    CollapseWatch(lr=0.003).see(row)
    assert not caplog.records


def test_a_run_by_the_clock_that_came_to_few_steps_says_so_and_how_long_it_would_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    summary = training([[90, 1, 0], [10, 0, 0], [0, 0, 0]])
    summary.steps, summary.epochs = 2, 0.25
    warn_of_training(summary, longer)  # by steps: that is what was asked for
    assert not caplog.records
    warn_of_training(summary, longer, learning_minutes=0.5)
    assert caplog.messages == [
        "The run had only 2 steps (0.2 epochs) in 0.5 minutes of training: the network has hardly learnt anything. "
        "Train longer: satseg train --resume --minutes 25"
    ]
    summary.steps, summary.epochs = 50, 1.5
    warn_of_training(summary, longer, learning_minutes=0.5)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "confusion", [[[90, 1, 0], [10, 0, 0], [0, 0, 0]], [[90, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0]] * 3]
)
def test_one_labelled_class_or_two_found_ones_are_no_fault(
    confusion: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_training(training(confusion), longer)
    assert not caplog.records


def test_a_map_of_one_class_is_doubted_where_the_network_never_found_another(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_map(mapped(1000, 0, None), card(roof=0.0, road=0.0))
    (record,) = caplog.records
    assert "All of a.tif became background" in record.getMessage()
    assert "6 steps: train longer (`satseg.train`, `minutes`)" in record.getMessage()


@pytest.mark.parametrize("known", [card(), card(background=0.0, roof=0.4)])
def test_a_scene_of_one_class_is_no_fault_of_a_network_that_knows_more(
    known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_map(mapped(1000, 0, 0), known)
    assert not caplog.records


def test_a_map_of_crumbs_is_told_of_with_the_next_step(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_map(mapped(1_000_000, 1_241_000, 3_000, specks=70_000), card())
    (record,) = caplog.records
    assert "73,000 regions of 17 px on average" in record.getMessage()
    assert "`minutes`" in record.getMessage()
    assert "`min_area`" in record.getMessage()


@pytest.mark.parametrize(("pixels", "polygons"), [(600_000, 564), (30_000, 1_200), (900, 300), (0, 0)])
def test_objects_are_no_crumbs(pixels: int, polygons: int, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_map(mapped(1_000_000, pixels, polygons), card())
    assert not caplog.records


def test_train_and_predict_warn(
    bright_tiles: Path, bright_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    told, found = {}, {}
    for name in ("background", "crumbs"):
        arch = f"{tmp_path / 'nets.py'}:{name}"
        caplog.clear()
        found[name] = run(bright_tiles, tmp_path / name, arch=arch, steps=1)
        list(predict_scenes([bright_scene], model=tmp_path / name, arch=arch, output=tmp_path / f"{name}.gpkg"))
        told[name] = caplog.text
    first = found["background"].validation.classes[0].name
    assert {name: summary.only_class for name, summary in found.items()} == {"background": first, "crumbs": None}
    assert "The network predicts only" in told["background"]
    assert f"`lr={found['background'].lr / 10:.3g}` in place of {found['background'].lr:g}" in told["background"]
    assert "the network found nothing else" in told["background"]
    assert "is fragmented" not in told["background"]
    assert "The network predicts only" not in told["crumbs"]
    assert "is fragmented: 6,0" in told["crumbs"]  # every fourth pixel of every fourth row, but for nodata
