"""Pictures that are stored turned are refused, whatever format says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from satseg.errors import LabelError, SceneError
from satseg.labels.raster_labels import RasterLabels
from satseg.raster.scene import Scene
from tests.scene_files import write_scene

_FORMATS = ["jpg", "tif", "png", "webp"]


def _picture(path: Path, orientation: int, values: np.ndarray | None = None) -> Path:
    values = np.zeros((6, 9, 3), "uint8") if values is None else values
    exif = Image.Exif()
    exif[274] = orientation
    more = {"tiffinfo": {274: orientation}} if path.suffix == ".tif" else {"exif": exif}
    Image.fromarray(values).save(path, **more)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("suffix", _FORMATS)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_pictures_are_refused(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = _picture(tmp_path / f"picture.{suffix}", orientation)

    with pytest.raises(SceneError, match=f"orientation {orientation}") as caught:
        Scene.open(path)
    assert "auto-orient" in str(caught.value.hint)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("suffix", _FORMATS)
def test_upright_pictures_are_read(tmp_path: Path, suffix: str) -> None:
    with Scene.open(_picture(tmp_path / f"picture.{suffix}", 1)) as scene:
        assert (scene.info.height, scene.info.width) == (6, 9)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_turned_masks_are_refused(tmp_path: Path) -> None:
    mask = _picture(tmp_path / "mask.png", 3, np.ones((6, 9), "uint8"))

    with pytest.raises(LabelError, match="180 degrees"):
        RasterLabels(str(mask))


def test_pixels_that_a_geotransform_places_are_where_it_says(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 6, 9), "uint8"))
    data = bytearray(path.read_bytes())
    assert data[:4] == b"II*\0"
    first = int.from_bytes(data[4:8], "little")
    tags = [int.from_bytes(data[at : at + 2], "little") for at in range(first + 2, first + 2 + 12 * data[first], 12)]
    at = first + 2 + 12 * tags.index(339)  # SampleFormat: uint, as it is without the tag
    data[at : at + 2] = (274).to_bytes(2, "little")
    data[at + 8 : at + 10] = (6).to_bytes(2, "little")
    path.write_bytes(data)

    with Scene.open(path) as scene:
        assert (scene.info.height, scene.info.width) == (6, 9)
