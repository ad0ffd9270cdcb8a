"""What goes to stdout, what goes to stderr, and what is drawn.

Covers ``progress``.
"""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import pytest

from satseg.cli.console import ConsoleOutput, table
from satseg.cli.progress import Bar
from satseg.cli.table import cell
from satseg.progress import amount, clock
from satseg.records import ClassScore, ProgressEvent

TITLE = "Scores of the best map of all"
SCORE = ClassScore(name="roof", iou=0.5, f1=float("nan"), precision=1.0, recall=0.5, pixels=12345)


def score_table(score: ClassScore):
    return table(("class", "px", "IoU"), [(score.name, score.pixels, score.iou)], title="Scores of the best map of all")


class Screen(io.StringIO):
    """A terminal that remembers what was drawn."""

    def isatty(self) -> bool:
        return True

    @property
    def last_frame(self) -> list[str]:
        """The lines of the last bar that was drawn, without control codes."""
        drawn = re.split(r"\x1b\[2K|\r", self.getvalue())
        frames = [re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", part).strip("\n") for part in drawn]
        return [frame for frame in frames if frame.strip()][-1].splitlines()


def terminal(monkeypatch: pytest.MonkeyPatch, *, columns: int = 120) -> Screen:
    """Let stderr be a terminal."""
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_an_answer_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleOutput(quiet=True).answer(SCORE, score_table)
    captured = capsys.readouterr()
    assert captured.out == TITLE + "\nclass      px     IoU\nroof   12,345  0.5000\n"
    assert captured.err == ""


def test_a_report_is_talk(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleOutput().report(SCORE, score_table)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "12,345" in captured.err


def test_a_quiet_report_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleOutput(quiet=True).report(SCORE, score_table)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["answer", "report"])
def test_json_is_one_line_on_stdout(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(ConsoleOutput(json=True), method)(SCORE, score_table)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    assert json.loads(captured.out)["f1"] is None


def test_messages_are_not_wrapped_nor_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleOutput().error("[red]" + "word " * 60 + "end", hint=":smile: [/]")
    assert capsys.readouterr().err == "error: [red]" + "word " * 60 + "end\nhint: :smile: [/]\n"


def test_colour_follows_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.delenv("NO_COLOR", raising=False)
    ConsoleOutput().error("x")
    assert "\x1b[1;31m" in screen.getvalue()
    screen.truncate(0)
    monkeypatch.setenv("NO_COLOR", "1")
    ConsoleOutput().error("x")
    assert "error: x" in screen.getvalue()
    assert "31m" not in screen.getvalue()


def test_progress_is_drawn_on_a_terminal_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    out = ConsoleOutput()
    for done in (0, 4e6, 8e6):
        out.progress(ProgressEvent("Mapping", done, 80e6, "px", "note"))
    out.close()
    (line,) = screen.last_frame
    assert all(part in line for part in ("Mapping", "8.0 Mpx / 80.0 Mpx", "px/s", "left", "note"))


def test_on_a_narrow_terminal_the_bar_is_one_line_and_its_note_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch, columns=80)
    out = ConsoleOutput()
    for done in range(3):
        out.progress(ProgressEvent("Training", 100 + done, 2000, "step", "epoch 1.2, loss 0.713, best mIoU 0.812"))
    out.close()
    (line,) = screen.last_frame
    assert "102 / 2000 step" in line
    assert line.rstrip().endswith("…")


@pytest.mark.parametrize(
    ("seconds", "parts"), [(58, ("1:20 / 10:00", "8:40 left")), (1058, ("10:00 / 10:00", "0:00 left"))]
)
def test_clocks_go_on_between_events(seconds: float, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    now = [100.0]
    monkeypatch.setattr("satseg.cli.progress.monotonic", lambda: now[0])
    out = ConsoleOutput()
    out.progress(ProgressEvent("Training", 22, 600, "s"))
    now[0] += seconds
    out.close()
    (line,) = screen.last_frame
    assert all(part in line for part in parts)


def talk_of(seconds: int, events: list[ProgressEvent], monkeypatch: pytest.MonkeyPatch, **how: bool) -> list[str]:
    """Show events, so many seconds apart, to an output whose stderr is a file, and return the lines in it."""
    now = [100.0]
    for module in ("progress", "console"):
        monkeypatch.setattr(f"satseg.cli.{module}.monotonic", lambda: now[0])
    out, file = ConsoleOutput(**how), io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    for event in events:
        out.progress(event)
        now[0] += seconds
    return file.getvalue().splitlines()


def test_a_file_gets_a_line_of_progress_for_each_tenth_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [ProgressEvent("Predicting", done * 1e6, 1000e6, "px", "note") for done in range(1001)]
    lines = talk_of(1, events, monkeypatch)
    assert len(lines) == 10
    assert lines[0] == "Predicting: 100.0 Mpx / 1.0 Gpx, 1.0 Mpx/s, 15:00 left, note"


def test_a_file_gets_no_progress_of_short_work_and_some_of_slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk_of(1, [ProgressEvent("Cutting", done, 29, "tile") for done in range(30)], monkeypatch) == []
    slow = [ProgressEvent("Training", done, 10_000, "step") for done in range(120)]
    assert talk_of(10, slow, monkeypatch) == ["Training: 60 / 10000 step, 10.0 s/step, 27:36:40 left"]


def test_files_get_no_progress_with_json_or_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [ProgressEvent("Cutting", done, 9, "tile") for done in range(9)]
    assert talk_of(100, events, monkeypatch)
    assert talk_of(100, events, monkeypatch, json=True) == []
    assert talk_of(100, events, monkeypatch, quiet=True) == []


def test_progress_is_not_drawn_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = ConsoleOutput()
    out.progress(ProgressEvent("Mapping", 1, 2, "px"))
    out.close()
    assert capsys.readouterr() == ("", "")


def test_progress_is_not_drawn_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    out = ConsoleOutput(quiet=True)
    out.progress(ProgressEvent("Mapping", 1, 2, "px"))
    out.close()
    assert screen.getvalue() == ""


def test_a_bar_names_its_unit_once(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    out = ConsoleOutput()
    out.progress(ProgressEvent("Cutting", 3, 20, "tile"))
    out.close()
    assert "3 / 20 tile" in screen.last_frame[0]


def test_a_new_task_takes_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    out = ConsoleOutput()
    out.progress(ProgressEvent("Finding", 20, 20, "tile"))
    out.progress(ProgressEvent("Cutting", 1, 20, "tile"))
    out.close()
    (line,) = screen.last_frame
    assert "Cutting" in line
    assert "Finding" not in line


def test_a_bar_that_counts_seconds_shows_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    out = ConsoleOutput()
    out.progress(ProgressEvent("Training", 0, 600, "s"))
    out.progress(ProgressEvent("Training", 60, 600, "s"))
    out.close()
    (line,) = screen.last_frame
    assert "1:00 / 10:00" in line
    assert "9:00 left" in line
    assert "/s" not in screen.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (1234567, "1,234,567"), (0.25, "0.2500"), (True, "yes"), ("a", "a")],
)
def test_cells_read_well(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(12_400_000, "px", "12.4 Mpx"), (999, "px", "999 px"), (3000, "step", "3000 step"), (75, "s", "1:15")],
)
def test_amounts_carry_their_unit(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


def test_a_clock_shows_hours_only_when_there_are_some() -> None:
    assert (clock(59.6), clock(3599), clock(3661)) == ("1:00", "59:59", "1:01:01")


def test_without_a_terminal_tables_wrap_only_where_the_environment_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def longest() -> int:
        ConsoleOutput().answer(SCORE, lambda score: table(("class", "note"), [(score.name, "word " * 40)]))
        return max(map(len, capsys.readouterr().out.splitlines()))

    monkeypatch.delenv("COLUMNS", raising=False)
    assert longest() > 200
    monkeypatch.setenv("COLUMNS", "80")
    assert longest() <= 80


def test_a_bar_stays_below_the_tables_of_scenes_until_the_last_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch)

    class Counted(Bar):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.closed = False
            made.append(self)

        def close(self) -> None:
            super().close()
            self.closed = True

    made: list[Counted] = []
    monkeypatch.setattr("satseg.cli.progress.Bar", Counted)
    out = ConsoleOutput()
    open_after_table = []
    for number in (1, 2, 3):
        out.progress(ProgressEvent("Predicting", number, 3, "scene"))
        out.report(number, lambda count: table(("scene",), [(f"number {count}",)]))
        open_after_table.append(not made[-1].closed)
    assert len(made) == 1
    assert open_after_table == [True, True, False]
    assert all(f"number {number}" in screen.getvalue() for number in (1, 2, 3))
    assert "0 / 3" not in screen.getvalue()
