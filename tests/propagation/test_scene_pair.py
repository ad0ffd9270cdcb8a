from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_scenes import GRID, write_scene
from rasterio import Affine
from rasterio.windows import Window
from scene_dates import SHIFT, Dates, write_dates

from satseg.errors import SceneError
from satseg.labels.label_files import open_labels
from satseg.propagation.scene_pair import ScenePair


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Dates:
    return write_dates(tmp_path_factory.mktemp("dates"))


def test_labels_do_not_depend_on_the_windows_in_which_they_are_carried(dates: Dates) -> None:
    with ScenePair(str(dates.earlier), str(dates.later), limit=16) as pair:
        assert (pair.displacements.median) == pytest.approx(SHIFT, abs=0.25)
        with open_labels(dates.labels).on(pair.info) as labels:
            whole, lost = pair.carry(labels, Window(0, 0, 640, 640), deviation=4)
            for top, left, height, width in ((0, 0, 256, 640), (256, 0, 128, 320), (384, 480, 256, 160)):
                part, gone = pair.carry(labels, Window(left, top, width, height), deviation=4)
                place = np.s_[top : top + height, left : left + width]
                assert (part != whole[place]).mean() < 1e-4  # running sums are rounded
                assert (gone != lost[place]).mean() < 1e-4


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (1, 300, 300)).astype(np.uint8)


def test_scenes_of_other_ground_are_refused(tmp_path: Path) -> None:
    here = write_scene(tmp_path / "here.tif", noise(1))
    there = write_scene(tmp_path / "there.tif", noise(1), transform=GRID * Affine.translation(900, 0))
    with pytest.raises(SceneError, match=r"there\.tif does not lie where .*here\.tif does"):
        ScenePair(str(there), str(here), limit=16)


def test_scenes_that_are_nowhere_alike_are_refused(tmp_path: Path) -> None:
    one, other = (write_scene(tmp_path / f"{seed}.tif", noise(seed)) for seed in (1, 2))
    with pytest.raises(SceneError, match=r"Nothing in .*2\.tif looks like .*1\.tif, even if moved by 16 px"):
        ScenePair(str(one), str(other), limit=16)
