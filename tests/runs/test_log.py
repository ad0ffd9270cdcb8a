from __future__ import annotations

from pathlib import Path

import pytest

from satseg.errors import TrainingError
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


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"step,loss\n10\n", b"step,loss\nten,0.5\n", b"loss\n0.5\n", b"step,loss\n1,0\0\n"]
)
def test_a_log_that_was_edited_is_told(log: RunLog, content: bytes) -> None:
    log.path.write_bytes(content)
    for ask in (log.rows, lambda: log.rewind(5)):
        with pytest.raises(TrainingError, match=r"log\.csv cannot be read"):
            ask()


def test_a_log_that_was_killed_before_its_first_row_is_empty(log: RunLog) -> None:
    for content in (b"", b"step,lo"):
        log.path.write_bytes(content)
        assert log.rows() == []
    log.rewind(5)
    assert not log.path.exists()


def test_rewinding_keeps_the_bytes_of_what_stays(log: RunLog) -> None:
    before = log.path.read_bytes()
    log.rewind(100)
    assert log.path.read_bytes() == before


def test_the_log_of_an_earlier_version_keeps_its_columns(log: RunLog) -> None:
    log.path.write_text("step,gone,miou\n1,7,0.5\n")
    log.add({"step": 2, "miou": 0.25, "miou ema": 0.75})
    assert log.rows()[1] == {"step": "2", "gone": "nan", "miou": "0.25"}
