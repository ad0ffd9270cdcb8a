"""The README says what the code does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
import typer
from readme_tables import command_rows, network_rows, up_to_date

from satseg.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


def blocks(language: str) -> Iterator[str]:
    for found in re.finditer(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE):
        yield found[1]


def command_lines() -> list[list[str]]:
    """Return the words after ``satseg`` of each command line in a shell block."""
    found: list[list[str]] = []
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="|")
        words.whitespace_split = True
        for is_pipe, part in groupby(words, key=lambda word: word == "|"):
            program, *rest = part
            if not is_pipe and program == "satseg":
                found.append(rest)
    return found


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_command_line_is_one_that_satseg_takes(words: list[str]) -> None:
    name, *rest = words
    assert COMMANDS[name].make_context(name, rest).params


def test_the_command_lines_cover_every_command() -> None:
    assert {words[0] for words in command_lines()} == set(COMMANDS)


def test_the_tables_are_those_of_the_code() -> None:
    assert command_rows()[0] in README
    assert network_rows()[0] in README
    assert up_to_date(README) == README, "run `make readme`"


def test_links_within_the_repository_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_make_has_every_target_that_is_named() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= set(targets)


def test_the_picture_is_light() -> None:
    picture = ROOT / "docs" / "demo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 600_000


@pytest.mark.parametrize("page", ["README.md", *[str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")]])
def test_pictures_have_a_text_for_those_who_cannot_see_them(page: str) -> None:
    texts = re.findall(r"!\[([^\]]*)\]", (ROOT / page).read_text())
    assert [text for text in texts if len(text.split()) < 8] == []


def test_python_in_the_readme_is_valid() -> None:
    for block in blocks("python"):
        compile(block, "README.md", "exec")


def test_the_docstring_shown_for_a_new_network_is_one_that_is_understood(tmp_path: Path) -> None:
    from satseg.backend.catalogue import read_source

    source = next(block for block in blocks("python") if "def mynet" in block)
    (tmp_path / "mynet.py").write_text(source)
    (network,) = read_source(tmp_path / "mynet.py")
    assert (network.name, network.title, network.parameters) == ("mynet", "MyNet", 1_234_567)
