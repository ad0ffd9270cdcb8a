"""The bar of the library: drawn where somebody watches, gone when a function ends."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import satseg
from satseg import progress
from satseg.records import Progress, ProgressEvent, no_progress
from satseg.signatures import checked

ERASE = "\r\x1b[K"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    return now


def event(done: float, total: float | None = 10, task: str = "Cutting tiles", note: str = "") -> ProgressEvent:
    return ProgressEvent(task, done, total, "tile", note)


def test_a_bar_is_one_line_that_is_drawn_anew_and_goes_in_the_end(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    with satseg.progress_bar(stream) as bar:
        bar(event(0))
        clock[0] += 2
        bar(event(5, note="loss 0.5"))
        clock[0] += 0.01
        bar(event(6))  # too soon to be read
        bar(event(10))
    assert stream.getvalue().split(ERASE) == [
        "",
        "[....................] Cutting tiles: 0 / 10 tile",
        "[##########..........] Cutting tiles: 5 / 10 tile, 2.5 tile/s, 0:02 left, loss 0.5",
        "",
    ]


def test_a_bar_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    satseg.progress_bar(stream)(event(5, note="n" * 100))
    assert len(stream.getvalue()) == len(ERASE) + 39


def test_another_task_begins_anew(clock: list[float]) -> None:
    stream = io.StringIO()
    bar = satseg.progress_bar(stream)
    bar(event(5))
    bar(event(1, task="Drawing"))
    bar(event(0, None, task="Waiting"))
    assert [line.split(":")[0].split("] ")[-1] for line in stream.getvalue().split(ERASE)[1:]] == [
        "Cutting tiles",
        "Drawing",
        "Waiting",
    ]


@checked
def work(*, progress: Progress = progress.automatic, fails: bool = False) -> None:
    progress(event(5))
    if fails:
        raise satseg.SceneError("It is broken.")


@checked
def works(*, progress: Progress = progress.automatic) -> Iterator[int]:
    def one_by_one() -> Iterator[int]:
        for number in range(2):
            progress(event(number + 1))
            yield number

    return one_by_one()


def test_scripts_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    work()
    assert capsys.readouterr().err == ""


def test_at_the_prompt_there_is_a_bar_until_the_function_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    work()
    assert capsys.readouterr().err == ""  # it goes into a file
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    work()
    with pytest.raises(satseg.SceneError):
        work(fails=True)
    drawn = f"{ERASE}[####....] Cutting tiles: 5 / 10 tile{ERASE}"
    assert capsys.readouterr().err == 2 * drawn
    work(progress=no_progress)
    assert capsys.readouterr().err == ""
    assert list(works()) == [0, 1]
    assert capsys.readouterr().err.endswith(ERASE)


def test_between_results_the_line_is_free_and_the_bar_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    for number in works():
        clock[0] += 1
        print(f"got {number}", file=sys.stderr)
    lines = capsys.readouterr().err.replace(ERASE, "\n").split("\n")
    assert [line for line in lines if line] == [
        "[#.......] Cutting tiles: 1 / 10 tile",
        "got 0",
        "[##......] Cutting tiles: 2 / 10 tile, 1.0 tile/s, 0:08 left",
        "got 1",
    ]


def test_no_time_is_left_once_the_budget_is_spent() -> None:
    """The last step of a training ends after its minutes."""
    late = ProgressEvent("Training", 123.0, 120.0, "s")
    assert progress.spell(late, progress.Course(0.0, 0.0, 123.0, 0.0), 123.0).endswith("0:00 left")


def test_a_callback_of_the_user_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[ProgressEvent] = []
    work(progress=events.append)
    assert events == [event(5)]
    with pytest.raises(satseg.UsageError) as caught:
        work(progress=True)  # type: ignore[arg-type]
    assert "progress_bar()" in str(caught.value.hint)


@pytest.mark.parametrize(("words", "told"), [(["-i"], "True"), ([], "False")])
def test_who_types_is_known(words: list[str], told: str, tmp_path: Path) -> None:
    code = "from satseg.progress import is_interactive\nprint(is_interactive())\n"
    done = subprocess.run([sys.executable, *words], input=code, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == told


def test_the_default_is_readable_in_help() -> None:
    assert "progress: 'Progress' = automatic" in str(__import__("inspect").signature(satseg.tile))
