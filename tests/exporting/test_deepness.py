from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
import torch
from affine import Affine
from deepness_windows import plugin_classes
from exported_networks import reference_of, small_checkpoint, subject_of
from scipy.ndimage import gaussian_filter

from satseg.errors import UsageError
from satseg.exporting.deepness import Restored, as_fed, plugin_metadata, tile_side
from satseg.exporting.onnx_file import open_onnx, write_onnx
from satseg.exporting.settings import ExportSettings
from satseg.records import BandStatistics
from satseg.workflows.predict import predict

LARGEST = {"uint8": 255, "uint16": 65_535, "int16": 32_767}


def checkpoint_of(folder: Path, dtype: str) -> tuple[Path, str]:
    """Write a checkpoint whose bands use the whole range of a dtype."""
    top = float(LARGEST[dtype])
    statistics = BandStatistics(9, (0.43 * top, 0.35 * top), (0.2 * top, 0.15 * top), (0.0,) * 2, (top,) * 2)
    return small_checkpoint(folder, dtype=dtype, statistics=statistics)


def write_scene(path: Path, dtype: str, height: int, width: int) -> Path:
    """Write a scene of blobs of 0.5 m px in the bands of :func:`checkpoint_of`."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(2, height, width)), (0, 6, 6), mode="wrap")
    bands = np.clip(0.4 + 0.2 * noise / noise.std(), 0, 1) * LARGEST[dtype]
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=2, dtype=dtype, **place) as dataset:
        dataset.write(bands.astype(dtype))
        dataset.descriptions = ("red", "nir")
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_plugin_maps_the_classes_of_predict(dtype: str, tmp_path: Path) -> None:
    path, arch = checkpoint_of(tmp_path, dtype)
    scene = write_scene(tmp_path / "scene.tif", dtype, 700, 940)  # 3 x 2 tiles, and zeros around what is missing
    write_onnx(tmp_path / "net.onnx", subject_of(path, arch, deepness=True))
    predict(scene, model=path, arch=arch, output=tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as dataset:
        expected = dataset.read(1)
    shares = np.bincount(expected.ravel(), minlength=3) / expected.size
    assert (shares > 0.1).sum() >= 2  # there is something to confuse
    assert (plugin_classes(tmp_path / "net.onnx", scene) == expected).mean() >= 0.999


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_probabilities_are_those_of_raw_pixels(dtype: str, tmp_path: Path) -> None:
    subject = subject_of(*checkpoint_of(tmp_path, dtype), deepness=True)
    write_onnx(tmp_path / "net.onnx", subject)
    images = np.random.default_rng(0).integers(0, LARGEST[dtype] + 1, (3, 2, 512, 512)).astype(dtype)
    expected = reference_of(subject).probabilities(images, np.ones((3, 512, 512), dtype=bool)).numpy()
    assert np.abs(open_onnx(tmp_path / "net.onnx", subject)(images) - expected).max() < 1e-5  # as the plugin gives them
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert np.abs(session.run(None, {"pixels": images.astype(np.float32)})[0] - expected).max() < 1e-5


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_integers_come_back_exactly(dtype: str) -> None:
    info = np.iinfo(dtype)
    every = np.arange(info.min, info.max + 1, dtype=dtype)
    assert not np.array_equal(as_fed(every), every)  # divided and multiplied, they are slightly off
    found = Restored(dtype, None)(torch.from_numpy(as_fed(every))).numpy()
    assert np.array_equal(found, every)


def test_missing_data_come_back_exactly() -> None:
    numbers = np.random.default_rng(0).uniform(-20_000, 20_000, 100).astype(np.float32)
    fed = as_fed(numbers)
    assert (fed != numbers).any()
    for nodata, given in zip(numbers.tolist(), torch.from_numpy(fed), strict=True):
        assert Restored("float32", nodata)(given).item() == nodata
        assert Restored("float32", nodata + 1)(given).item() == given  # a value is not taken for its neighbour
        assert Restored("float32", None)(given).item() == given


def test_a_file_says_what_the_plugin_reads(tmp_path: Path) -> None:
    subject = subject_of(*checkpoint_of(tmp_path, "uint16"), deepness=True)
    write_onnx(tmp_path / "net.onnx", subject)
    model = onnx.load(tmp_path / "net.onnx")
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert {"satseg", "satseg_export"} < set(notes)
    assert {key: json.loads(value) for key, value in notes.items() if not key.startswith("satseg")} == {
        "model_type": "Segmentor",
        "class_names": {"0": "water", "1": "wood", "2": "roofs"},
        "resolution": 50,
        "tile_size": 512,
        "tiles_size": 512,
        "tiles_overlap": 25,
        "standardization_mean": [0, 0],
        "standardization_std": [1 / 255, 1 / 255],
        "seg_thresh": 0,
        "seg_small_segment": 0,
    }
    assert model.ir_version == 8  # the plugin takes onnxruntime up to 1.17, which reads 9 at most
    (given,) = model.graph.input
    assert given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [axis.dim_param or axis.dim_value for axis in given.type.tensor_type.shape.dim] == ["batch", 2, 512, 512]


def test_other_files_say_nothing_to_the_plugin(tmp_path: Path) -> None:
    assert set(subject_of(*checkpoint_of(tmp_path, "uint8")).metadata(window=512)) == {"satseg", "satseg_export"}


@pytest.mark.parametrize(
    ("gsd", "expected"),
    [((0.29989, 0.29991), 30.0), ((10.004, 9.998), 10.0 * 100), ((0.25, 0.36), 30.0), ((0.0512, 0.0512), 5.12)],
)
def test_the_resolution_is_in_centimetres_of_the_map(gsd: tuple[float, float], expected: float, tmp_path: Path) -> None:
    card = subject_of(*small_checkpoint(tmp_path, gsd=gsd)).checkpoint.card
    assert json.loads(plugin_metadata(card, 512)["resolution"]) == expected


def test_tiles_are_windows_of_predict(tmp_path: Path) -> None:
    card = subject_of(*small_checkpoint(tmp_path, tile_size=320)).checkpoint.card
    assert tile_side(card, None, global_context=False) == 512
    assert tile_side(card, None, global_context=True) == 320
    assert tile_side(card, 473, global_context=True) == 473


def test_networks_that_the_plugin_cannot_run_are_refused(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path, gsd=None)
    with pytest.raises(UsageError, match="without a CRS"):
        subject_of(path, arch, deepness=True)
    path, arch = small_checkpoint(tmp_path, dtype="int8")
    with pytest.raises(UsageError, match="int8, which Deepness does not read"):
        subject_of(path, arch, deepness=True)
    with pytest.raises(UsageError, match="needs probabilities"):
        ExportSettings(deepness=True, argmax=True)
