"""Exit codes and messages of the command line.

Covers ``failures`` and ``workflows/versions``.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
import torch

import satseg as package
from satseg.cli import app
from satseg.cli.console import ConsoleOutput
from satseg.errors import SceneError, UsageError
from satseg.outputs.lock import LOCK, OWNER
from satseg.records import ProgressEvent
from satseg.sample import sample


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let ``satseg models`` raise an error."""

    def fail(error: BaseException) -> None:
        def models(*given: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("satseg.workflows.models.models", models)

    return fail


def test_version_is_data(satseg) -> None:
    assert satseg("--version") == type(satseg("--version"))(0, f"satseg {package.__version__}\n", "")


def test_version_with_debug_names_the_libraries_below(satseg) -> None:
    done = satseg("--version", "--debug")
    rows = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert (done.code, rows["satseg"]) == (0, package.__version__)
    assert rows["torch"].startswith(torch.__version__)
    assert "CUDA" in rows["torch"]
    assert f"GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__}" in rows["rasterio"]


def test_debug_before_the_command_is_debug(satseg, tmp_path: Path) -> None:
    assert "Traceback" in satseg("--debug", "info", tmp_path / "none.tif").stderr
    assert "Traceback" not in satseg("info", tmp_path / "none.tif").stderr


def test_nothing_typed_shows_the_help_as_wrong_usage(satseg) -> None:
    done = satseg()
    assert (done.code, done.stdout) == (2, "")
    assert "predict" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("modles",), "error: No such command 'modles'. Did you mean 'models'?"),
        (("models", "--jsn"), "error: No such option: --jsn"),
        (("info",), "error: Missing argument 'FILE'."),
        (("train", "--steps", "many"), "error: Invalid value for '--steps': it is not a whole number."),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(satseg, words: tuple[str, ...], said: str) -> None:
    done = satseg(*words)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert "hint: Try 'satseg" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_points_at_the_help_of_the_command(satseg) -> None:
    assert "hint: Try 'satseg models --help'." in satseg("models", "--jsn").stderr
    assert "hint: Try 'satseg predict --help'." in satseg("predict", "--model").stderr


def test_a_mistyped_network_is_wrong_usage_and_gets_a_proposal(satseg) -> None:
    done = satseg("train", "--arch", "erfnt")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: There is no network named 'erfnt'.\nhint: Did you mean erfnet")


def test_an_error_of_satseg_ends_with_1_message_and_hint(satseg, failing) -> None:
    failing(SceneError("x.tif has no band.", hint="Take another."))
    done = satseg("models")
    assert (done.code, done.stdout, done.stderr) == (1, "", "error: x.tif has no band.\nhint: Take another.\n")


def test_a_usage_error_of_satseg_ends_with_2(satseg, failing) -> None:
    failing(UsageError("Too many."))
    assert (satseg("models").code, satseg("models").stderr) == (2, "error: Too many.\n")


def test_a_surprise_ends_with_1_and_one_sentence(satseg, failing) -> None:
    failing(ZeroDivisionError("division\nby zero"))
    done = satseg("models")
    assert done.code == 1
    assert done.stderr == (
        "error: Unexpected error (ZeroDivisionError: division).\n"
        "hint: Run again with --debug to see where it comes from.\n"
    )


def test_an_error_of_the_system_names_its_file(satseg, failing) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "out.tif"))
    assert satseg("models").stderr.startswith("error: No space left on device: out.tif.\n")


def test_a_library_that_leaves_keeps_its_exit_code_without_words(satseg, failing) -> None:
    failing(SystemExit(1))  # as rich does where nobody reads the help that it prints
    done = satseg("models")
    assert (done.code, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), SceneError("x")])
def test_debug_shows_the_traceback(satseg, failing, error: Exception) -> None:
    failing(error)
    done = satseg("models", "--debug")
    assert done.code == 1
    assert "Traceback" in done.stderr
    assert "error: " in done.stderr


def test_an_interruption_ends_with_130(satseg, failing) -> None:
    failing(KeyboardInterrupt())
    done = satseg("models")
    assert (done.code, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_an_interruption_of_compiled_code_is_one(satseg, failing) -> None:
    error = SystemError("<built-in> returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    failing(error)
    done = satseg("models")
    assert (done.code, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_an_interruption_that_knows_how_to_go_on_is_told_once(satseg, failing) -> None:
    failing(KeyboardInterrupt("Interrupted after step 7; --resume continues from runs/x."))
    done = satseg("models", "--quiet")
    assert (done.code, done.stderr) == (130, "warning: Interrupted after step 7; --resume continues from runs/x.\n")


def interrupt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT while a result is being told."""
    tell = ConsoleOutput.emit

    def emit(self: ConsoleOutput, record: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        tell(self, record)

    monkeypatch.setattr(ConsoleOutput, "emit", emit)


def test_ctrl_c_while_the_result_is_told_comes_too_late(satseg, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_once(monkeypatch)
    done = satseg("models", "--json")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("[{")


def test_ctrl_c_between_two_results_stops_the_work_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_once(monkeypatch)
    out = ConsoleOutput(json=True)
    before = signal.signal(signal.SIGINT, out.interrupt)
    try:
        out.report({}, lambda record: [])
        with pytest.raises(KeyboardInterrupt):
            out.progress(ProgressEvent("Predicting", 1, 2, "px"))
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_about_a_checkpoint_from_the_environment_says_where_it_came_from(
    satseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, missing = tmp_path / "named.safetensors", tmp_path / "missing.safetensors"
    monkeypatch.setenv("SATSEG_MODEL", str(missing))
    words = ["predict", sample().held_out, "-o", tmp_path / "a.gpkg"]
    assert "hint: The checkpoint was named by $SATSEG_MODEL. Train a network: `satseg train`." in satseg(*words).stderr
    assert "SATSEG_MODEL" not in satseg(*words, "-m", named).stderr


def test_run_returns_the_code_and_leaves_the_process_alone() -> None:
    assert app.run(["models", "--jsn"], ConsoleOutput()) == 2


def test_remarks_of_the_rooms_go_to_stderr(satseg, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    def models(*given: object, **options: object) -> list[object]:
        logging.getLogger("satseg").warning("values of %s look odd", "x.tif")
        logging.getLogger("satseg").info("taking %s", "y")
        return []

    monkeypatch.setattr("satseg.workflows.models.models", models)
    assert satseg("models", "--json").stderr == "warning: values of x.tif look odd\nnote: taking y\n"
    assert satseg("models", "--json", "--quiet").stderr == "warning: values of x.tif look odd\n"


def test_main_puts_the_logger_and_the_signals_back(satseg) -> None:
    import logging

    logger = logging.getLogger("satseg")
    before = (list(logger.handlers), logger.level, logger.propagate, signal.getsignal(signal.SIGTERM))
    satseg("models", "--json")
    assert (list(logger.handlers), logger.level, logger.propagate, signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("word", ["models", "--help"])
def test_a_reader_that_leaves_early_is_no_error(word: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "satseg", word], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


def kill_at_work(words: list[object], folder: Path, number: signal.Signals) -> tuple[int, str]:
    """Send a signal to a command as soon as files appear in its work folder; return its exit code and its stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "satseg", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let background jobs ignore it
    ) as process:
        deadline = time.monotonic() + 60
        while not is_at_work(folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, number)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr


def is_at_work(folder: Path) -> bool:
    return any(path.is_file() and path.name not in (LOCK, OWNER) for path in folder.glob(".*.satseg/**/*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_killed_tile_ends_with_130_and_leaves_what_can_be_resumed(number: signal.Signals, tmp_path: Path) -> None:
    scene, labels = sample().labelled, sample().labels
    words = ["tile", scene, "-l", labels, "-o", tmp_path / "tiles", "--size", "64", "--overlap", "48"]
    code, stderr = kill_at_work(words, tmp_path, number)
    assert (code, stderr.count("nterrupted")) == (130, 1)
    assert list(tmp_path.iterdir()) == [tmp_path / ".tiles.satseg"]
    assert f"{tmp_path / '.tiles.satseg'}; continue with --resume" in stderr


def test_a_killed_predict_ends_with_130_and_leaves_no_map(model: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    words = ["predict", sample().labelled, "-m", model, "-o", maps / "a.tif", "-o", maps / "a.gpkg"]
    code, stderr = kill_at_work(words, maps, signal.SIGINT)
    assert (code, stderr.count("nterrupted")) == (130, 1)
    assert not list(maps.glob("a.*"))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["tile", "--pairs", "a", "b", "--pairs", "c", "d"], "--pairs"),
        (["tile", "a.tif", "-l", "b.gpkg", "-o", "one", "--output", "two"], "--output"),
        (["evaluate", "map.tif", "-l", "a.gpkg", "--aoi", "b.gpkg", "--aoi", "c.gpkg"], "--aoi"),
    ],
)
def test_files_of_which_only_the_last_would_count_are_refused(satseg: Callable, words: list[str], name: str) -> None:
    done = satseg(*words)
    assert (done.code, done.stdout) == (2, "")
    assert f"{name} is given 2 times; it takes one value." in done.stderr
