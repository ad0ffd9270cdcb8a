"""Settings in sentences, as flags; the library names settings only."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import satseg as satseg_package
from satseg.cli.flags import with_flags

FLAGS = {
    name: "--" + name.replace("_", "-")
    for name in ("gsd", "resume", "overwrite", "class_map", "min_area", "bands", "pairs")
}
OTHERS = {"tile": {"size": "--size", "gsd": "--gsd"}, "train": {"epochs": "--epochs", "pictures": "--pictures"}}


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("`gsd='scene'` is slow.", "--gsd scene is slow."),
        ("Leave out `resume=True`.", "Leave out --resume."),
        ("Replace it with `overwrite`.", "Replace it with --overwrite."),
        ("Drop `resume=False`.", "Drop --no-resume."),
        ("Pass `bands=[4, 3, 2]`.", "Pass --bands 4,3,2."),
        ("Pass `bands=('a, b', 'c')`.", """Pass --bands '"a, b",c'."""),
        ("Pass `pairs=('images', 'the masks')`.", "Pass --pairs images 'the masks'."),
        ("`class_map={0: 'background', 1: 'a b'}`", "--class-map '0=background,1=a b'"),
        ("Such as `class_map={0: ...}`.", "Such as --class-map 0=...."),
        ("`min_area=0.5m2` is small.", "--min-area 0.5m2 is small."),
        ("`min_area=10`", "--min-area 10"),
        ("`other='a'` and `gsd`", "`other='a'` and --gsd"),
        ("Run `satseg.tile` with `size=128`.", "Run `satseg tile` with --size 128."),
        ("`train` takes `epochs=3`", "`satseg train` takes --epochs 3"),
        ("`size=128` of `tile`", "`size=128` of `satseg tile`"),
        ("`bands[2]` is empty.", "--bands[2] is empty."),
        ("Train one: `satseg.train(tiles, epochs=3)`", "Train one: satseg train TILES --epochs 3"),
        ("`satseg.tile('my scene.tif', size=128, gsd=...)`", "satseg tile 'my scene.tif' --size 128 --gsd ..."),
        ("`satseg.train(settings=TrainSettings(epochs=3, pictures=False))`", "satseg train --epochs 3 --no-pictures"),
        ("`satseg.train(resume=True)` and `print(3)`", "satseg train --resume and `print(3)`"),
        ("`not python =`", "`not python =`"),
        ("nothing here", "nothing here"),
    ],
)
def test_settings_become_flags(sentence: str, shown: str) -> None:
    assert with_flags(sentence, FLAGS, OTHERS) == shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["vectorize", "a.tif", "-o", "a.gpkg", "--simplify", "1 mile"], "error: --simplify '1 mile' has 'mile'"),
        (
            ["vectorize", "a.tif", "-o", "a.gpkg", "--threshold", "1", "--class-map", "1=a"],
            "hint: Leave out --class-map.",
        ),
        (["predict", "a.tif", "-o", "a.tif", "--overlap", "wide"], "error: --overlap is 'wide', neither"),
        (["predict", "a.tif", "-o", "a.tif", "--regularize", "2m", "--smooth"], "error: --regularize replaces"),
        (["predict", "a.tif", "-o", "a.tif", "--regularize", "2m", "--smooth"], "--smooth and --connectivity 8."),
        (["predict", "a.tif", "-o", "a.tif", "--engine", "dask"], "error: --engine is 'dask', not 'local' or 'ray'."),
    ],
)
def test_errors_and_hints_of_commands_show_flags(satseg: Callable, words: list[str], sentence: str) -> None:
    done = satseg(*words)
    assert sentence in done.stderr
    assert "`" not in done.stderr
    assert done.code == 2


def test_remarks_of_the_library_show_flags(
    satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def remark(*_: object, **__: object) -> None:
        logging.getLogger("satseg").warning(
            "Nothing is left; lower `min_area` or set `raw=True`, then run `satseg.tile`."
        )

    monkeypatch.setattr("satseg.cli.vectorize.inputs.require_scenes", remark)
    done = satseg("vectorize", tmp_path / "absent.tif", "-o", tmp_path / "a.gpkg")
    assert "warning: Nothing is left; lower --min-area or set --raw, then run `satseg tile`." in done.stderr


def test_no_sentence_of_the_library_names_a_flag() -> None:
    package = Path(satseg_package.__file__).parent
    of_other_programs = r"--(head|calc|outfile|colorinterp|formats|ntasks-per-node)"
    for path in sorted(package.rglob("*.py")):
        if path.is_relative_to(package / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                sentence = re.sub(of_other_programs, "", re.sub(r"``[^`]*``", "", node.value))  # not in docstrings
                assert not re.search(r"(?<![\w-])--[a-z]", sentence), f"{path}, line {node.lineno}: {sentence}"
