"""The README and the pages of the documentation name what exists: commands, options, files, errors, make targets."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer
import yaml
from pages import NAMES, ROOT, blocks, command_lines

import satseg
from satseg.cli.app import app
from satseg.cli.models import COLUMNS

sys.path.append(str(ROOT / "docs" / "_extensions"))
COMMANDS = typer.main.get_command(app).commands
FLAGS = {
    flag
    for command in COMMANDS.values()
    for option in command.params
    for flag in (*option.opts, *option.secondary_opts)
} | {"--help", "--version", "--install-completion", "--show-completion"}
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}


@pytest.mark.parametrize("page", NAMES)
def test_every_command_line_is_one_that_satseg_takes(page: str) -> None:
    for name, *rest in command_lines(page):
        if name == "--version":
            assert rest == ["--debug"]
        else:
            assert COMMANDS[name].make_context(name, rest).params


def test_the_pages_use_every_command() -> None:
    assert {words[0] for page in NAMES for words in command_lines(page)} >= set(COMMANDS)


def test_every_command_has_a_page() -> None:
    assert {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")} == {*COMMANDS, "index"}


@pytest.mark.parametrize("page", NAMES)
def test_every_option_in_the_text_of_a_page_exists(page: str) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    named = {
        flag for code in re.findall(r"`([^`\n]+)`", text) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    others = {"--extra-index-url", "--from", "--head", "--address"}  # of pip, uvx and ray
    assert named - FLAGS - others == set()


@pytest.mark.parametrize("page", NAMES)
def test_links_and_pictures_lead_to_files(page: str) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]) if "://" not in target]
    folder = (ROOT / page).parent
    assert [target for target in targets if not (folder / target.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", NAMES)
def test_pictures_have_a_text_for_those_who_cannot_see_them(page: str) -> None:
    assert [text for text in re.findall(r"!\[([^\]]*)\]", TEXTS[page]) if len(text.split()) < 8] == []


@pytest.mark.parametrize("page", NAMES)
def test_python_on_the_pages_is_valid(page: str) -> None:
    for _, code in blocks(page, "python"):
        compile(code, page, "exec")


def test_make_has_every_target_that_is_named() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", "".join(TEXTS.values()))) <= set(targets)


def test_the_picture_is_light() -> None:
    picture = ROOT / "docs" / "demo.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 600_000


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 130


def test_the_docstring_shown_for_a_new_network_is_one_that_is_understood(tmp_path: Path) -> None:
    from satseg.backend.catalogue import read_source

    source = TEXTS["CONTRIBUTING.md"].split("```python\n")[1].split("```")[0]
    (tmp_path / "mynet.py").write_text(re.sub(r"^   ", "", source, flags=re.MULTILINE))
    (network,) = read_source(tmp_path / "mynet.py")
    assert (network.name, network.title, network.parameters) == ("mynet", "MyNet", 1_234_567)


def test_the_table_of_networks_says_what_the_command_says() -> None:
    from generated_pages import network_row

    found = network_row(next(entry for entry in satseg.list_architectures() if entry.name == "unet"))
    assert found[:5] == ("`unet`", "U-Net", "encoder-decoder", "2015", "31.0 M")
    assert found[5:12] == ("193.0 G", "16", "188", "own +", "edges", "yes", "0.003")
    assert len(found) == len(COLUMNS) + 2


def test_troubleshooting_quotes_sentences_that_the_source_has() -> None:
    from generated_pages import sentences

    quoted = re.findall(r"^### (.+)$", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    assert len(quoted) > 30
    known = set(sentences())
    assert [sentence for sentence in quoted if sentence not in known] == []


def test_the_citation_is_that_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == satseg.__version__
    assert citation["type"] == "software"
    assert all(citation[key] for key in ("message", "title", "authors", "license", "abstract"))
    assert all("name" in author or "family-names" in author for author in citation["authors"])
