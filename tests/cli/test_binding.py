"""Settings classes on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from satseg.arguments import Given, Words, words
from satseg.cli.binding import takes
from satseg.settings import INPUTS, PERFORMANCE, QUALITY, Option, Settings


class Outlines(Settings):
    """How outlines are drawn."""

    raw: Annotated[bool, Option("Keep every edge. Needs satseg[ray]; excludes `min_area`.")] = False
    min_area: Annotated[str | float | None, Option("Smallest region to keep.", metavar="AREA")] = None


class Mapping(Settings):
    """How scenes are mapped."""

    threads: Annotated[int | None, Option("Threads.", panel=PERFORMANCE, minimum=1)] = None
    bands: Annotated[Given[Words | None, tuple[str, ...] | None], Option("Bands.", panel=INPUTS, short="-b")] = Given(
        words
    )
    tta: Annotated[Literal["none", "flips"], Option("Views.", panel=QUALITY)] = "none"
    connectivity: Annotated[Literal[4, 8], Option("Neighbours.", panel="Other")] = 4
    values: Annotated[Given[Words, tuple[str, ...]], Option("Values.", repeated=True)] = Given(words, ())
    pictures: Annotated[bool, Option("Draw pictures.")] = True
    cache: Annotated[int, Option("Bytes.", python_only=True)] = 5
    outlines: Outlines = Outlines()


Taken = dict[str, Any]


@pytest.fixture
def run() -> Callable[..., tuple[Any, Taken]]:
    app, taken = typer.Typer(), {}

    @app.command()
    @takes(Mapping)
    def command(
        ctx: typer.Context,
        scenes: Annotated[list[str], typer.Argument(help="Scenes.")],
        settings: Mapping,
        json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
    ) -> None:
        """Map scenes."""
        taken.update(scenes=scenes, settings=settings, json=json, command=ctx.info_name)

    def call(*args: str) -> tuple[Any, Taken]:
        taken.clear()
        return CliRunner().invoke(app, args, env={"COLUMNS": "200"}), dict(taken)

    return call


def test_the_command_gets_the_record(run: Callable) -> None:
    words = ("a.tif", "--threads", "2", "-b", "4,3", "--connectivity", "8", "--no-pictures", "--json")
    _, taken = run(*words, "--values", "x", "--values", "y", "--raw", "--min-area", "3px")
    outlines = Outlines(raw=True, min_area="3px")
    wanted = Mapping(threads=2, bands="4,3", connectivity=8, pictures=False, values=["x", "y"], outlines=outlines)
    assert taken["settings"] == wanted
    assert (taken["scenes"], taken["json"]) == (["a.tif"], True)


def test_only_what_was_given_is_passed(run: Callable) -> None:
    assert run("a.tif")[1]["settings"].given == frozenset()
    assert run("a.tif", "--tta", "none")[1]["settings"].given == {"tta"}
    assert run("a.tif", "--min-area", "1px")[1]["settings"].outlines.given == {"min_area"}


def test_numbers_are_read_by_the_parser_and_all_else_by_the_settings(run: Callable) -> None:
    done, _ = run("a.tif", "--threads", "0")
    assert done.exit_code == 2
    assert "--threads" in done.output
    done, _ = run("a.tif", "--tta", "d5")
    assert str(done.exception) == "`tta` is 'd5', not 'none' or 'flips'."


def test_python_only_settings_have_no_flag(run: Callable) -> None:
    assert run("a.tif", "--cache", "3")[0].exit_code == 2


def test_the_help_shows_flags_choices_and_defaults(run: Callable) -> None:
    text = " ".join(run("--help")[0].output.split())
    assert "Needs satseg[ray]; excludes --min-area." in text
    assert "none|flips" in text
    assert "[default: none]" in text


def test_panels_come_in_one_order_after_options_without_one(run: Callable) -> None:
    text = run("--help")[0].output
    places = [text.index(f" {panel} ") for panel in ("Options", "Inputs", "Quality", "Performance", "Other")]
    assert places == sorted(places)
