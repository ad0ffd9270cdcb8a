"""The help: complete, quick, and free of heavy imports.

Covers ``options``, ``demo`` and ``train``.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import satseg.cli as package
from satseg.cli.app import app

HEAVY = ("torch", "timm", "geopandas", "pandas", "shapely", "rasterio", "numba", "numpy", "scipy", "matplotlib")


def commands() -> Iterator[tuple[str, object]]:
    yield from typer.main.get_command(app).commands.items()


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_and_every_parameter_has_help(name: str) -> None:
    command = dict(commands())[name]
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name}"
        assert parameter.help.endswith("."), f"{name}: {parameter.name} is no sentence"


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_takes_json_quiet_and_debug(name: str) -> None:
    options = {option for parameter in dict(commands())[name].params for option in parameter.opts}
    assert {"--json", "--quiet", "-q", "--debug"} <= options


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_options_are_called_like_their_parameters(name: str) -> None:
    for parameter in dict(commands())[name].params:
        if parameter.param_type_name == "option":
            word = parameter.name.removesuffix("_")  # of words that Python keeps for itself
            assert f"--{word.replace('_', '-')}" in parameter.opts


def test_every_file_of_a_command_is_registered() -> None:
    paths = Path(package.__file__).parent.glob("*.py")
    files = {path.stem for path in paths if f"\ndef {path.stem}(\n    ctx: typer.Context,\n" in path.read_text()}
    assert {name for name, _ in commands()} == files


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_is_a_function_of_the_package(name: str) -> None:
    import satseg

    assert name in satseg.__all__
    assert getattr(satseg, name).__module__ == f"satseg.workflows.{name}"


def test_the_help_lists_the_commands_in_the_order_of_a_project(satseg: Callable) -> None:
    text = satseg("--help").stdout
    places = [text.index(f" {name} ") for name, _ in commands()]
    assert places == sorted(places)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_of_a_command_is_an_answer(name: str, satseg: Callable) -> None:
    done = satseg(name, "--help")
    assert (done.code, done.stderr) == (0, "")
    assert f"satseg {name}" in done.stdout


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_shows_no_types_of_the_language(name: str, satseg: Callable) -> None:
    for words in ([name, "--help"], ["--help"]):
        assert not re.search(r"<(bool|str|int|float|list|path)", satseg(*words).stdout)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_is_whole_at_80_columns(name: str, satseg: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = satseg(name, "--help").stdout
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["train", "--arch", "nothing"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    script = (
        "import contextlib, io, json, sys\n"
        "from satseg.cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({words!r})\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & set(HEAVY)


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"]])
def test_help_costs_little_more_than_the_libraries_that_print_it(words: list[str]) -> None:
    """Processor time, as a ratio: 1.8 to 3.0 were measured on several machines. With torch it would be 10."""

    def seconds(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    libraries = ("-c", "import typer.rich_utils, rich.markdown, rich.traceback")
    pairs = [(seconds("-m", "satseg", *words), seconds(*libraries)) for _ in range(5)]
    assert min(pair[0] for pair in pairs) < 5 * min(pair[1] for pair in pairs)


def test_completion_proposes_commands_options_and_networks(satseg_process: Callable) -> None:
    def proposals(line: str) -> str:
        words = line.split(" ")
        environment = {"_SATSEG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        return satseg_process(env=environment).stdout

    assert proposals("satseg mod").split() == ["models"]
    assert "--json" in proposals("satseg models --j")
    assert "erfnet" in proposals("satseg train --arch er")


@pytest.mark.parametrize(
    ("shell", "environment"),
    [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}), ("powershell", {})],
)
def test_completion_speaks_to_other_shells_too(
    shell: str, environment: dict[str, str], satseg_process: Callable
) -> None:
    words = {"_SATSEG_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "satseg mod"}
    assert "models" in satseg_process(env=os.environ | words | environment).stdout
