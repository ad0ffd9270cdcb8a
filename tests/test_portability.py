"""satseg runs where GIS people sit, on Windows and macOS too: by design, since the tests run on Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from made_scenes import write_labels, write_scene

from satseg.arguments import file_and_name
from satseg.backend.custom import is_custom_file, recorded_name
from satseg.errors import ArchitectureError
from satseg.files.names import is_local_file, is_remote, split_layer
from satseg.presence import require_custom_network
from satseg.vectorization import scene_names

PREPARE = """
import sys
from pathlib import Path
from without_posix import MODULES, apply, odd_names
apply()
"""

IMPORT_ALL = """
import importlib, pkgutil, satseg
names = [module.name for module in pkgutil.walk_packages(satseg.__path__, "satseg.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names), [name for name in MODULES if sys.modules[name] is not None])
"""

RUN_ALL = """
import satseg
from satseg.cli.app import main
folder = Path(sys.argv[1])
scene, other, labels = (str(folder / name) for name in ("scene.tif", "other.tif", "labels.gpkg"))
kept = {"progress": satseg.no_progress}
tiles, cut = str(folder / "tiles"), {"size": 32, "overlap": 0, "block": 64}
satseg.tile([scene], labels=labels, output=tiles, settings=satseg.TileSettings(**cut), **kept)
satseg.tile([scene], labels=labels, output=tiles, settings=satseg.TileSettings(overwrite=True, **cut), **kept)
satseg.tile([other], labels=labels, output=tiles, settings=satseg.TileSettings(append=True), **kept)
learn = satseg.TrainSettings(arch="erfnet", steps=2, batch_size=2, threads=1)
run = satseg.train(tiles, output=str(folder / "run"), settings=learn, **kept)
run = satseg.train(output=run.path, settings=satseg.TrainSettings(resume=True, steps=4), **kept)
names = ("map.tif", "map.gpkg", "map.parquet", "map.fgb", "map.geojson", "map.shp")
outputs = [str(folder / name) for name in names]
for _ in range(2):  # the second time all files are replaced
    satseg.predict(scene, model=run.best, output=outputs, **kept)
    satseg.vectorize(outputs[0], output=str(folder / "again.gpkg"), **kept)
layer = str(folder / "layer.gpkg")
both = list(satseg.predict_scenes([scene, other], model=run.best, output=[layer], **kept))
print(satseg.evaluate(outputs[0], labels=labels, **kept).pixels, len(both), odd_names(folder))
sys.exit(main(["info", scene, "--json"]))
"""


def run(script: str, *words: object) -> str:
    folder = Path(__file__).parent
    ways = os.pathsep.join([str(folder), str(folder.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", "-c", PREPARE + script, *map(str, words)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": ways}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_what_windows_lacks() -> None:
    count, there = run(IMPORT_ALL).split(maxsplit=1)
    assert int(count) > 200
    assert there == "[]\n"


def test_commands_run_without_what_windows_lacks(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(1, 255, (3, 160, 160)).astype(np.uint8)
    write_scene(tmp_path / "scene.tif", bands)
    write_scene(tmp_path / "other.tif", bands[:, ::-1])
    write_labels(
        tmp_path / "labels.gpkg", *((x, y, x + 16, y + 16) for x in range(0, 160, 32) for y in range(0, 160, 32))
    )
    assert run(RUN_ALL, tmp_path).startswith(f"{160 * 160} 2 []\n{{")


WINDOWS = [
    str(PureWindowsPath("C:/data") / "x.tif"),
    PureWindowsPath("C:/data/x.tif").as_posix(),
    str(PureWindowsPath("//server/share/x.tif")),
    str(PureWindowsPath("data") / "x.tif"),
]


@pytest.mark.parametrize("name", WINDOWS)
def test_a_drive_is_no_scheme(name: str) -> None:
    assert is_local_file(name)
    assert not is_remote(name)
    assert split_layer(f"{name}|layername=roads") == (name, "roads")


@pytest.mark.parametrize("name", [*WINDOWS, "/data/x.tif"])
def test_the_colon_of_a_drive_separates_nothing(name: str) -> None:
    assert file_and_name(f"{name}:field") == (name, "field")
    assert file_and_name(name) == ("", name)


@pytest.mark.parametrize("folder", ["C:\\nets", "C:/nets", "\\\\server\\nets", "nets", "/nets"])
def test_networks_are_found_on_drives(folder: str) -> None:
    file = str(PureWindowsPath(folder) / "mine.py")
    assert is_custom_file(file)
    assert is_custom_file(f"{file}:unet")
    assert recorded_name(f"{file}:unet") == "mine.py:unet"
    with pytest.raises(ArchitectureError) as refused:
        require_custom_network(f"{file}:unet")
    assert refused.value.message == f"The file {file} does not exist."


def test_scenes_are_named_by_the_folders_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_names, "os", SimpleNamespace(sep="\\"))
    found = scene_names.SceneNames(["C:\\a\\1.tif", "C:\\b\\1.tif", "C:\\b\\2.tif"])
    assert [found.of(path) for path in ("C:\\a\\1.tif", "C:\\b\\1.tif", "C:\\b\\2.tif")] == [
        "a/1.tif",
        "b/1.tif",
        "2.tif",
    ]
