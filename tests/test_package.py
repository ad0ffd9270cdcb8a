"""What ``import satseg`` offers."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import satseg
from satseg import errors

SCRIPT = """
import satseg
from pathlib import Path

summary: satseg.TileSummary = satseg.tile("scene.tif", labels=["a.gpkg", Path("b.gpkg")], bands="1,2,3", gsd=0.5)
tiles: dict[str, int] = summary.tiles
options = satseg.PolygonOptions(classes="buildings", attributes=["area_m2"], simplify="1px")
settings = satseg.PredictionSettings(threshold={"buildings": 0.7}, scales=1.0, bands=(1, 2, 3), polygons=options)
names: tuple[str, ...] | None = options.classes
made: satseg.PredictionSummary | None = satseg.predict(Path("b.tif"), output=["m.tif", "m.gpkg"], settings=settings)
for one in satseg.predict_scenes(["a.tif", "b.tif"], output="{stem}.tif", model="best.safetensors"):
    print(one.to_dict())
satseg.vectorize("m.tif", output="m.gpkg", class_map={0: "background", 255: "roof"}, options=options)
try:
    satseg.evaluate("m.tif", labels="a.gpkg")
except satseg.LabelError as error:
    print(error.hint)
"""


def test_everything_that_is_listed_is_there() -> None:
    for name in satseg.__all__:
        assert getattr(satseg, name) is not None
    assert dir(satseg) == sorted(satseg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'tiles_of'"):
        _ = satseg.tiles_of


def test_all_errors_are_public() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.SatsegError)
    }
    assert kinds <= set(satseg.__all__)
    assert all(name in (errors.__doc__ or "") for name in kinds)


def test_an_error_tells_its_hint() -> None:
    assert str(satseg.UsageError("No such thing.", hint="Take another.")) == "No such thing.\nhint: Take another."
    assert str(satseg.UsageError("No such thing.")) == "No such thing."


FUNCTIONS = [name for name in satseg.__all__ if name != "no_progress" and inspect.isfunction(getattr(satseg, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_tell_of_every_argument(name: str) -> None:
    function = getattr(satseg, name)
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in text, parameter
    assert "{" not in str(inspect.signature(function)).split("->")[0]  # defaults that nobody can read


def test_help_begins_with_what_there_is() -> None:
    text = pydoc.render_doc(satseg, renderer=pydoc.plaintext)
    head = text.split("PACKAGE CONTENTS")[0]
    for name in FUNCTIONS:
        if name not in ("create_model", "list_architectures", "no_progress"):
            assert name in head


def test_importing_it_is_quick() -> None:
    code = "import sys, satseg; print([n for n in ('torch', 'rasterio', 'numpy', 'matplotlib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_users_script_has_types(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = str(Path(satseg.__file__).parents[1])
    words = ["-m", "mypy", "--strict", "--follow-imports=silent", "--config-file", "", str(script)]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env={"MYPYPATH": root, "PATH": ""}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
