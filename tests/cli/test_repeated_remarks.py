"""Remarks of the libraries, as the command line tells them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from satseg.cli.console import ConsoleOutput, LogHandler


@pytest.fixture
def out() -> ConsoleOutput:
    return ConsoleOutput()


@pytest.fixture
def log(out: ConsoleOutput) -> Iterator[logging.Logger]:
    """A logger whose messages are printed; the rest when the test asks for it."""
    logger = logging.getLogger("satseg.tests.remarks")
    handler = LogHandler(out)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger
    logger.removeHandler(handler)


def rest(log: logging.Logger) -> None:
    (handler,) = log.handlers
    assert isinstance(handler, LogHandler)
    handler.tell_rest()


def test_a_remark_is_told_once(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(13):
        log.info("The network sees %d px around a pixel.", 181)
    rest(log)
    assert capsys.readouterr().err.count("The network sees 181 px") == 1


def test_of_remarks_that_differ_by_the_scene_three_are_told_and_the_others_counted(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1000):
        log.warning("%s looks unlike the training scenes: %s.", f"{number}.tif", "it is dark")
        log.warning("%s %s.", f"{number}.tif", "has no CRS")
        log.warning("%s", f"another remark {number % 2}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 + 3 + 2
    rest(log)
    assert capsys.readouterr().err.splitlines() == [
        "warning: 997 more like this: 0.tif looks unlike the training scenes: it is dark.",
        "warning: 997 more like this: 0.tif has no CRS.",
    ]


def test_all_are_told_with_debug(log: logging.Logger, out: ConsoleOutput, capsys: pytest.CaptureFixture[str]) -> None:
    out.debug = True
    for number in range(10):
        log.info("%s is a scene.", number)
    rest(log)
    assert len(capsys.readouterr().err.splitlines()) == 10


def test_quiet_tells_no_infos_nor_how_many_they_were(
    log: logging.Logger, out: ConsoleOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    out.quiet = True
    for number in range(10):
        log.info("%s is a scene.", number)
    rest(log)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("mountain " * 20, "mountain " * 11 + "..."),
        ("mountain, " * 20, "mountain, " * 9 + "mountain ..."),
    ],
)
def test_the_remark_that_stands_for_others_is_cut_between_words(
    what: str, told: str, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        log.warning("%s holds it: %s", f"{number}.tif", what)
    capsys.readouterr()
    rest(log)
    assert capsys.readouterr().err == f"warning: 1 more like this: 0.tif holds it: {told}\n"
