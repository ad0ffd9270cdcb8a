from __future__ import annotations

from pathlib import Path

import pytest

from satseg.runs.log import RunLog


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    log = RunLog(tmp_path / "log.csv")
    for step in (10, 20, 30):
        log.add({"step": step, "loss": 1 / step, "iou a,b": float("nan")})
    return log


def test_rows_come_back(log: RunLog) -> None:
    assert log.rows()[2] == {"step": "30", "loss": "0.0333333", "iou a,b": "nan"}


def test_rewinding_drops_later_rows(log: RunLog) -> None:
    log.rewind(20)
    assert [row["step"] for row in log.rows()] == ["10", "20"]


def test_rewinding_drops_a_row_that_was_cut_short(log: RunLog) -> None:
    with log.path.open("a") as file:
        file.write("40,0.0")
    log.rewind(100)
    assert [row["step"] for row in log.rows()] == ["10", "20", "30"]


def test_rewinding_to_the_start_leaves_no_file(log: RunLog) -> None:
    log.rewind(0)
    assert not log.path.exists()
    assert log.rows() == []
    log.rewind(0)
