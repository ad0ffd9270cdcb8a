"""Values of the command line that stand for pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from satseg.cli.app import app
from satseg.cli.inputs import pixels


@pytest.mark.parametrize("text", ["256", "256px", " 256 px ", 256])
def test_pixels_may_have_their_unit(text: str | int) -> None:
    assert pixels(text) == 256


@pytest.mark.parametrize("text", ["2.5", "2m", "px", "256 x 256", "1,024", ""])
def test_what_is_no_whole_number_of_pixels_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a whole number of pixels"):
        pixels(text)


def test_every_option_of_pixels_takes_the_unit(satseg: Callable, tmp_path: Path) -> None:
    required = {"benchmark": ["--arch", "erfnet"], "vectorize": ["map.tif", "-o", "map.gpkg"]}
    asked = 0
    for name, command in typer.main.get_command(app).commands.items():
        for option in (entry for entry in command.params if entry.metavar == "PX"):
            words = [*required.get(name, []), option.opts[0], "64px"]
            assert pixels(command.make_context(name, words).params[option.name]) == 64
            asked += 1
    assert asked >= 6
    done = satseg("tile", tmp_path / "a.tif", "-l", tmp_path / "b.gpkg", "--size", "2.5px")
    assert done.code == 2
    assert "--size is '2.5px', not a whole number of pixels." in done.stderr
