"""An interrupted tiling goes on where it stood and ends with the same bytes.

Covers ``tiling/build``, ``tiling/journal`` and ``tiling/run``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from made_scenes import write_labels, write_scene

from satseg.errors import OutputError, SceneError
from satseg.records import ProgressEvent
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 4000, (2, 300, 420), dtype=np.uint16)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "houses.gpkg", *((i, i, i + 20, i + 20) for i in range(0, 280, 40)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Stop:
    """Interrupts once some tiles are cut, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, event: ProgressEvent) -> None:
        if event.task == "Cutting tiles" and event.done >= self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "options", [{}, {"limit": 30, "keep_empty": 0.5}, {"sampling": "random", "buffer": "16px", "objects": True}]
)
def test_a_resumed_run_ends_with_the_same_bytes(
    tmp_path: Path, scene: Path, labels: Path, options: dict[str, object]
) -> None:
    tile([scene], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=32, **options))
    for after in (5, 20):
        with pytest.raises(KeyboardInterrupt):
            tile(
                [scene],
                labels=labels,
                output=tmp_path / "tiles",
                settings=TileSettings(size=32, resume=True, **options),
                progress=Stop(after),
            )
        assert not (tmp_path / "tiles").exists()
    seen: list[float] = []
    tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=32, resume=True, **options),
        progress=lambda event: seen.append(event.done),
    )
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")
    assert not (tmp_path / ".tiles.satseg").exists()


def test_what_was_cut_is_not_cut_again(
    tmp_path: Path, scene: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32), progress=Stop(50))
    work = tmp_path / ".tiles.satseg" / "new" / "tiles" / "images"
    before = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, resume=True))
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tiles" / "images").iterdir()}
    assert sum(before[name] == after[name] for name in before) >= 50


def test_an_interruption_says_how_to_go_on(tmp_path: Path, scene: Path, labels: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"\.tiles\.satseg; continue with `resume=True`"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32), progress=Stop(9))


def test_without_resume_it_starts_anew(tmp_path: Path, scene: Path, labels: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32), progress=Stop(9))
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    tile([scene], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=64))
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")


def test_other_arguments_or_labels_are_not_resumed(tmp_path: Path, scene: Path, labels: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32), progress=Stop(9))
    with pytest.raises(OutputError, match="an interrupted run with other arguments, scenes or labels"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, seed=1, resume=True))
    write_labels(labels, (0, 0, 90, 90))
    with pytest.raises(OutputError, match="an interrupted run with other arguments, scenes or labels"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, resume=True))
    assert (tmp_path / ".tiles.satseg" / "journal.jsonl").exists()


def test_a_finished_tile_set_that_is_resumed_is_told_again(tmp_path: Path, scene: Path, labels: Path) -> None:
    first = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32))
    again = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, resume=True))
    assert (again.tiles, again.pixels) == (first.tiles, first.pixels)
    with pytest.raises(OutputError, match="exists already"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, resume=True))


def test_an_append_is_resumed_too(tmp_path: Path, scene: Path, labels: Path) -> None:
    other = write_scene(tmp_path / "other.tif", np.ones((2, 200, 200), dtype=np.uint16))
    for name in ("whole", "tiles"):
        tile([scene], labels=labels, output=tmp_path / name, settings=TileSettings(size=32))
    tile([other], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=32, append=True))
    before = contents(tmp_path / "tiles")
    with pytest.raises(KeyboardInterrupt):
        tile(
            [other],
            labels=labels,
            output=tmp_path / "tiles",
            settings=TileSettings(size=32, append=True),
            progress=Stop(9),
        )
    assert contents(tmp_path / "tiles") == before
    tile([other], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, append=True, resume=True))
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")


@pytest.mark.parametrize("moved", [1, 3, 5, 6, 7])  # images, labels, description, moments, index
def test_an_append_killed_while_it_joins_ends_with_the_same_bytes(
    tmp_path: Path, scene: Path, labels: Path, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_scene(tmp_path / "other.tif", np.ones((2, 64, 64), dtype=np.uint16))
    tile([scene], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=32, limit=6))
    shutil.copytree(tmp_path / "whole", tmp_path / "tiles")
    tile([other], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=32, limit=2, append=True))
    calls: list[object] = []

    def stop_early(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) > moved:
            raise KeyboardInterrupt
        os.rename(source, target)

    files = {"labels": labels, "output": tmp_path / "tiles"}
    settings = TileSettings(size=32, limit=2, append=True)
    with monkeypatch.context() as patch:
        patch.setattr("satseg.tiling.run.os.replace", stop_early)
        patch.setattr("satseg.tiling.build.clear", lambda folder: None)
        with suppress(KeyboardInterrupt):  # the last one comes after all is done
            tile([other], **files, settings=settings)
    assert (tmp_path / ".tiles.satseg").exists()
    tile([other], **files, settings=settings.changed(resume=True))
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")
    assert not (tmp_path / ".tiles.satseg").exists()


def test_a_kill_before_the_work_folder_goes_loses_nothing(
    tmp_path: Path, scene: Path, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / ".tiles.satseg"
    with monkeypatch.context() as patch:
        patch.setattr("satseg.tiling.build.clear", lambda folder: None)
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, limit=6))
    assert (work / "journal.jsonl").exists()
    before = contents(tmp_path / "tiles")
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, limit=6, resume=True))
    assert contents(tmp_path / "tiles") == before
    assert not work.exists()


def test_other_inputs_are_not_told_to_be_finished(tmp_path: Path, scene: Path, labels: Path) -> None:
    other = write_scene(tmp_path / "other.tif", np.ones((2, 300, 420), dtype=np.uint16))
    area = write_labels(tmp_path / "area.gpkg", (0, 0, 400, 280))
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, limit=6, labelled_area=area))

    def again(image: Path = scene) -> None:
        tile(
            [image],
            labels=labels,
            output=tmp_path / "tiles",
            settings=TileSettings(size=32, limit=6, labelled_area=area, resume=True),
        )

    again()
    before = contents(tmp_path / "tiles")
    with pytest.raises(OutputError, match="exists already, made from other scenes"):
        again(other)
    write_labels(area, (0, 0, 300, 280))
    with pytest.raises(OutputError, match="exists already, made from other labelled area"):
        again()
    write_labels(labels, (0, 0, 300, 280))
    with pytest.raises(OutputError, match="exists already, made from other labels and labelled area"):
        again()
    assert contents(tmp_path / "tiles") == before


def test_masks_of_pairs_and_masks_beside_scenes_are_noticed(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (1, 64, 64), dtype=np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            write_scene(tmp_path / folder / f"{name}.tif", values % 2 if folder == "masks" else values)
    files = {"pairs": (tmp_path / "images", tmp_path / "masks"), "output": tmp_path / "tiles"}
    tile(**files, settings=TileSettings(size=32))
    tile(**files, settings=TileSettings(size=32, resume=True))
    write_scene(tmp_path / "masks" / "b.tif", 1 - values % 2)
    with pytest.raises(OutputError, match="made from other labels"):
        tile(**files, settings=TileSettings(size=32, resume=True))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "images" / "c.tif", "r+") as dataset:
        dataset.write_mask(np.eye(64, dtype=bool))
    with pytest.raises(OutputError, match="made from other scenes and labels"):
        tile(**files, settings=TileSettings(size=32, resume=True))


def test_a_tile_that_a_kill_left_half_written_is_written_anew(tmp_path: Path, scene: Path, labels: Path) -> None:
    settings = TileSettings(size=32, threads=1)
    tile([scene], labels=labels, output=tmp_path / "whole", settings=settings)
    with pytest.raises(KeyboardInterrupt):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=settings, progress=Stop(3))
    images = tmp_path / ".tiles.satseg" / "new" / "tiles" / "images"
    for whole in (tmp_path / "whole" / "images").iterdir():
        if not (images / whole.name).exists():
            directory = int.from_bytes(whole.read_bytes()[4:8], "little")
            (images / whole.name).write_bytes(whole.read_bytes()[: directory + 1])

    tile([scene], labels=labels, output=tmp_path / "tiles", settings=settings.changed(resume=True))

    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")


def test_bad_input_leaves_nothing_to_resume(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(SceneError):
        tile([tmp_path / "none.tif"], labels=labels, output=tmp_path / "tiles")
    assert not (tmp_path / ".tiles.satseg").exists()


def test_a_killed_process_is_resumed(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "whole", settings=TileSettings(size=32, overlap=20))
    words = ["tile", scene, "-l", labels, "-o", tmp_path / "tiles", "--size", "32", "--overlap", "20", "--resume", "-q"]
    command = [sys.executable, "-m", "satseg", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    images = tmp_path / ".tiles.satseg" / "new" / "tiles" / "images"
    while process.poll() is None and (not images.exists() or len(os.listdir(images)) < 40):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read() if process.stderr else None
    assert not (tmp_path / "tiles").exists()
    assert subprocess.run(command, check=False).returncode == 0
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")
