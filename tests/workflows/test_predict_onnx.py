"""Maps by ONNX files beside those by the checkpoints that they were made from, and by files of other programs.

Covers ``exported/onnx_checkpoint``, ``prediction/onnx_limits``.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio
import torch
from affine import Affine
from exported_networks import small_checkpoint, subject_of
from onnx_files import DEEPNESS, LIMITS, write_onnx
from scene_files import write_scene

from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError, SatsegError, UsageError
from satseg.exported.onnx_checkpoint import OnnxCheckpoint, load_checkpoint
from satseg.exporting.onnx_file import write_onnx as write_exported
from satseg.inference.distributed import SentNetwork
from satseg.inference.views import Views
from satseg.prediction.models import Models
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.records import BandStatistics, ProgressEvent
from satseg.workflows.evaluate import evaluate
from satseg.workflows.export import export
from satseg.workflows.predict import predict

SETTINGS = PredictionSettings(window=96, precision="fp32", threads=1)
HALF_A_METRE = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, str]:
    return small_checkpoint(folder)


@pytest.fixture(scope="module")
def exported(trained: tuple[Path, str]) -> Path:
    path = trained[0].with_name("net.onnx")
    write_exported(path, subject_of(*trained))
    return path


@pytest.fixture(scope="module")
def with_nodata(trained: tuple[Path, str]) -> Path:
    path = trained[0].with_name("nodata.onnx")
    write_exported(path, subject_of(*trained, nodata=80))
    return path


@pytest.fixture(scope="module")
def of_classes(trained: tuple[Path, str]) -> Path:
    path = trained[0].with_name("classes.onnx")
    write_exported(path, subject_of(*trained, argmax=True))
    return path


def values(bands: int = 2, height: int = 250, width: int = 300) -> np.ndarray:
    """Patches with noise, and a hole of 0."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(1, 200, (bands, height // 10, width // 10)), np.ones((10, 10), int))
    found = coarse + rng.integers(0, 50, (bands, height, width))
    found[:, 60:130, 100:190] = 0
    return found.astype(np.uint16)


def scene(folder: Path, pixels: np.ndarray, name: str = "scene.tif", **profile: Any) -> Path:
    options: dict[str, Any] = {"names": ("red", "nir"), "transform": HALF_A_METRE, "nodata": 0} | profile
    return write_scene(folder / name, pixels, **options)


def classes(folder: Path, path: Path, model: Any, settings: PredictionSettings = SETTINGS, **more: Any) -> np.ndarray:
    output = folder / "map.tif"
    output.unlink(missing_ok=True)
    predict(path, output=output, model=model, settings=settings, **more)
    with rasterio.open(output) as dataset:
        found: np.ndarray = dataset.read(1)
    return found


def differing(folder: Path, path: Path, trained: tuple[Path, str], file: Path, **more: Any) -> float:
    """Return the share of pixels with another class; where there is none must be equal."""
    settings = SETTINGS.changed(**more)
    ours = classes(folder, path, trained[0], settings, arch=trained[1])
    theirs = classes(folder, path, file, settings)
    assert len(np.unique(ours)) > 2
    assert ((ours == 255) == (theirs == 255)).all()
    return float((ours != theirs).mean())


def test_a_file_maps_as_its_checkpoint_does(tmp_path: Path, trained: tuple[Path, str], exported: Path) -> None:
    assert differing(tmp_path, scene(tmp_path, values()), trained, exported) <= 1e-4


@pytest.mark.parametrize("size", [0.31, 1.3])
def test_scenes_of_other_pixels_are_resampled_alike(
    size: float, tmp_path: Path, trained: tuple[Path, str], exported: Path
) -> None:
    path = scene(tmp_path, values(), transform=Affine(size, 0, 500_000, 0, -size, 5_000_000))
    assert differing(tmp_path, path, trained, exported) <= 1e-4


def test_views_are_averaged_alike(tmp_path: Path, trained: tuple[Path, str], exported: Path) -> None:
    path = scene(tmp_path, values(height=100, width=120)[:, :100, :120])
    assert differing(tmp_path, path, trained, exported, tta="d4", scales=(0.75, 1.25)) <= 1e-4


def test_a_scene_smaller_than_a_window_is_mapped_alike(
    tmp_path: Path, trained: tuple[Path, str], exported: Path
) -> None:
    pixels = np.maximum(values(height=40, width=50), 1)
    assert differing(tmp_path, scene(tmp_path, pixels), trained, exported) <= 0.01  # 64 px are the least for a file


def test_bands_are_taken_by_name(tmp_path: Path, trained: tuple[Path, str], exported: Path) -> None:
    pixels = values(3)
    path = scene(tmp_path, pixels, names=("nir", "green", "red"))
    assert differing(tmp_path, path, trained, exported) <= 1e-4
    straight = scene(tmp_path, pixels[[2, 0]], "straight.tif")
    valid = (pixels != 0).all(axis=0)
    assert (classes(tmp_path, path, exported) == classes(tmp_path, straight, exported))[valid].all()


def test_other_scales_are_converted_alike(tmp_path: Path) -> None:
    bands = {"names": ("red", "nir"), "dtype": "uint16", "scales": (0.01,) * 2, "offsets": (-0.5,) * 2}
    path, arch = small_checkpoint(tmp_path)
    card = Checkpoint.load(path).card
    path, arch = small_checkpoint(tmp_path, bands=type(card.bands)(**bands))
    file = tmp_path / "net.onnx"
    write_exported(file, subject_of(path, arch))
    reflectance = (values() * 0.01 - 0.5).astype(np.float32)
    reflectance[values() == 0] = np.nan
    found = scene(tmp_path, reflectance, nodata=np.nan)
    with rasterio.open(found, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5), (0.125, 0.125)
        dataset.write(((reflectance - 0.125) / 0.5).astype(np.float32))
    assert differing(tmp_path, found, (path, arch), file) <= 1e-4


def test_heavy_tails_are_clipped_before_they_are_resampled(tmp_path: Path) -> None:
    from satseg.records import Clipping

    path, arch = small_checkpoint(tmp_path, clipping=Clipping((110.0, 90.0), (20.0, 20.0), 2.0))
    write_exported(tmp_path / "net.onnx", subject_of(path, arch))
    pixels = scene(tmp_path, values(), transform=Affine(1.3, 0, 500_000, 0, -1.3, 5_000_000))
    assert differing(tmp_path, pixels, (path, arch), tmp_path / "net.onnx") <= 1e-4


def test_types_that_float32_cannot_hold_stay_exact(tmp_path: Path) -> None:
    far = 2.0**27  # where float32 knows multiples of 16 alone
    statistics = BandStatistics(9, (far + 110, far + 90), (45.0, 30.0), (far,) * 2, (far + 255,) * 2)
    path, arch = small_checkpoint(tmp_path, dtype="int32", statistics=statistics)
    write_exported(tmp_path / "net.onnx", subject_of(path, arch))
    pixels = np.where(values() == 0, 0, values() + far).astype("int32")
    assert differing(tmp_path, scene(tmp_path, pixels), (path, arch), tmp_path / "net.onnx") <= 1e-4


def test_the_scene_says_what_is_missing_and_not_the_file(
    tmp_path: Path, trained: tuple[Path, str], with_nodata: Path
) -> None:
    """Of 80, which the file was told to take for missing, there are many."""
    pixels = values()
    pixels[:, 150:240] = np.where(np.arange(300) % 3 == 0, 80, pixels[:, 150:240])
    assert differing(tmp_path, scene(tmp_path, pixels), trained, with_nodata) <= 1e-4


def test_files_and_checkpoints_are_averaged(tmp_path: Path, trained: tuple[Path, str], exported: Path) -> None:
    path = scene(tmp_path, values())
    both = classes(tmp_path, path, [trained[0], exported], arch=trained[1])
    assert (both == classes(tmp_path, path, exported)).mean() >= 0.9999


def test_a_file_of_classes_lets_windows_vote(tmp_path: Path, trained: tuple[Path, str], of_classes: Path) -> None:
    assert differing(tmp_path, scene(tmp_path, values()), trained, of_classes) <= 0.01


@pytest.mark.parametrize(
    ("more", "outputs"),
    [
        ({"threshold": ("roofs=0.3",)}, {}),
        ({"crf": True}, {}),
        ({}, {"confidence": "sure.tif"}),
        ({}, {"probabilities": "shares.tif"}),
    ],
)
def test_a_file_of_classes_is_not_asked_how_sure_it_is(
    more: dict[str, Any], outputs: dict[str, str], tmp_path: Path, of_classes: Path
) -> None:
    names = OutputNames(output=tmp_path / "map.tif", **{k: str(tmp_path / v) for k, v in outputs.items()})
    name = next(iter({**more, **outputs}))
    with pytest.raises(UsageError, match=rf"`{name}` needs probabilities, and .*classes\.onnx gives classes alone"):
        predict(scene(tmp_path, values()), output=names, model=of_classes, settings=SETTINGS.changed(**more))


def test_maps_are_continued_to_equal_bytes(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.prediction.scene_run.COMMIT_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    path = scene(tmp_path, values(height=500))
    names = OutputNames(output="map.tif", confidence="sure.tif")

    def interrupt(event: ProgressEvent) -> None:
        if event.total and event.done > event.total / 2:
            raise KeyboardInterrupt

    predict(path, output=names, model=exported, settings=SETTINGS)
    files = [tmp_path / name for name in ("map.tif", "sure.tif")]
    unbroken = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    with pytest.raises(KeyboardInterrupt):
        predict(path, output=names, model=exported, settings=SETTINGS, progress=interrupt)
    repeated: list[int] = []
    predict(
        path,
        output=names,
        model=exported,
        settings=SETTINGS.changed(resume=True),
        progress=lambda event: repeated.append(event.done),
    )
    assert min(repeated) > 300 * 500 / 4  # it did go on
    assert [file.read_bytes() for file in files] == unbroken
    assert predict(path, output=names, model=exported, settings=SETTINGS.changed(resume=True)) is None


def test_another_file_does_not_continue_a_map(tmp_path: Path, exported: Path, with_nodata: Path) -> None:
    path, output = scene(tmp_path, values()), tmp_path / "map.tif"
    predict(path, output=output, model=exported, settings=SETTINGS)
    with pytest.raises(SatsegError, match="map"):
        predict(path, output=output, model=with_nodata, settings=SETTINGS.changed(resume=True))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"compile": True}, "`compile` has no effect on .*: onnxruntime has optimised the graph already"),
        ({"device": "cuda"}, "`device='cuda'` has no effect on .*: onnxruntime runs it on the processor"),
        ({"precision": "bf16"}, "`precision` has no effect on .*: its precision was chosen when it was exported"),
    ],
)
def test_settings_of_torch_are_refused(more: dict[str, Any], message: str, tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UsageError, match=message):
        classes(tmp_path, scene(tmp_path, values()), exported, SETTINGS.changed(**more))


def test_objects_are_refused(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(CheckpointError, match=r"net\.onnx maps classes alone: ONNX files leave out"):
        classes(tmp_path, scene(tmp_path, values()), exported, SETTINGS.changed(objects=True))


def test_an_exported_file_contains_its_network(tmp_path: Path, trained: tuple[Path, str], exported: Path) -> None:
    with pytest.raises(SatsegError, match=r"net\.onnx contains its network"):
        classes(tmp_path, scene(tmp_path, values()), exported, arch=trained[1])


def test_an_exported_file_is_not_exported(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UsageError, match=r"net\.onnx is an exported file already"):
        export(exported, output=tmp_path / "again.onnx")


def test_windows_are_those_of_the_checkpoint(trained: tuple[Path, str], exported: Path) -> None:
    """Their overlap follows from what the network sees, which the file says."""
    from satseg.inference.receptive_field import effective_receptive_field

    of_checkpoint = Models((str(trained[0]),), trained[1]).network(SETTINGS)
    of_file = Models((str(exported),)).network(SETTINGS)
    assert effective_receptive_field(of_file) == effective_receptive_field(of_checkpoint)
    assert of_file.stride == of_checkpoint.stride
    assert of_file.precision == "32-true"


def test_memory_of_onnxruntime_counts(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(SatsegError, match="There is not enough memory for the network"):
        classes(tmp_path, scene(tmp_path, values()), exported, SETTINGS.changed(memory=100_000))


def test_a_file_arrives_at_other_machines(exported: Path, tmp_path: Path) -> None:
    moved = tmp_path / "net.onnx"
    moved.write_bytes(exported.read_bytes())
    packed = SentNetwork.pack([load_checkpoint(moved)], None, views=Views(), compile=False, objects=False)
    sent = pickle.dumps(packed)
    moved.unlink()
    arrived = pickle.loads(sent)(torch.device("cpu"), "32-true")
    pixels = values()[None, :, :64, :64]
    valid = np.ones((1, 64, 64), dtype=bool)
    here = Models((str(exported),)).network(SETTINGS)
    assert torch.equal(arrived.probabilities(pixels, valid), here.probabilities(pixels, valid))


def test_a_file_is_scored_on_scenes(tmp_path: Path, exported: Path) -> None:
    path = scene(tmp_path, values())
    output = tmp_path / "labels.tif"
    predict(path, output=output, model=exported, settings=SETTINGS)
    assert evaluate(exported, [path], labels=output).mean_iou > 0.99


# files of other programs


def grey(folder: Path, *, transform: Affine = HALF_A_METRE) -> tuple[Path, np.ndarray]:
    """Write a scene of three bands of 8 bits, and return it with the class of each pixel."""
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 256, (3, 20, 15)), np.ones((10, 10), int)).astype(np.uint8)
    first = pixels[0] / 255
    return write_scene(folder / "grey.tif", pixels, transform=transform), sum(first > limit for limit in LIMITS)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("softmax", {}),
        ("scores", {}),
        ("argmax", {}),
        ("softmax", {"shape": (1, 3, 64, 64)}),
        ("softmax", {"shape": (2, 3, "side", "side")}),
    ],
)
def test_a_foreign_file_maps_classes(ending: str, options: dict[str, Any], tmp_path: Path) -> None:
    path, expected = grey(tmp_path)
    file = write_onnx(tmp_path / "net.onnx", ending, **options)
    assert (classes(tmp_path, path, file, PredictionSettings(threads=1)) == expected).all()
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert "water" in str(dataset.tags())


def test_a_single_plane_maps_two_classes(tmp_path: Path) -> None:
    path, _ = grey(tmp_path)
    with rasterio.open(path) as dataset:
        expected = dataset.read(1) / 255 > 0.5
    metadata = {**DEEPNESS, "class_names": {0: "roofs"}}
    file = write_onnx(tmp_path / "net.onnx", "sigmoid", lines=[(1.0, -0.5)], metadata=metadata)
    assert (classes(tmp_path, path, file) == expected).all()
    predict(path, output=tmp_path / "roofs.gpkg", model=file, settings=SETTINGS)  # without its background


def test_standardisation_of_metadata_is_applied(tmp_path: Path) -> None:
    path, _ = grey(tmp_path)
    with rasterio.open(path) as dataset:
        expected = sum((dataset.read(1) / 255 - 0.2) / 0.5 > limit for limit in LIMITS)
    more = {"standardization_mean": [0.2] * 3, "standardization_std": [0.5] * 3}
    file = write_onnx(tmp_path / "net.onnx", metadata={**DEEPNESS, **more})
    assert (classes(tmp_path, path, file) == expected).all()


def test_scenes_are_resampled_to_the_resolution_of_metadata(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "satseg")
    path, expected = grey(tmp_path, transform=Affine(0.25, 0, 500_000, 0, -0.25, 5_000_000))
    found = classes(tmp_path, path, write_onnx(tmp_path / "net.onnx", shape=(1, 3, 64, 64)))
    assert "0.25 m per pixel and the network was trained at 0.5 m: the scene is resampled" in caplog.text
    inside = np.zeros_like(found, dtype=bool)
    inside.reshape(20, 10, 15, 10)[:, 3:7, :, 3:7] = True  # of the patches
    assert (found == expected)[inside].all()


def test_scenes_of_other_types_are_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "deep.tif", np.ones((3, 70, 70), np.uint16), transform=HALF_A_METRE)
    with pytest.raises(CheckpointError, match="its dtype is uint16, but the network was trained on uint8"):
        classes(tmp_path, path, write_onnx(tmp_path / "net.onnx"))


def test_a_file_that_says_nothing_is_refused(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "net.onnx", metadata={})
    told = r"net\.onnx does not say which bands it takes .* neither metadata of satseg nor of Deepness"
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(file)


@pytest.mark.parametrize("card", ["no JSON", "{}", '{"format": 99}'])
def test_a_card_that_is_invalid_is_refused(card: str, tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "net.onnx", metadata={"satseg": card})
    with pytest.raises(CheckpointError, match=r"net\.onnx cannot be used\. It"):
        load_checkpoint(file)


def test_what_a_file_says_of_its_export_is_checked(tmp_path: Path, exported: Path) -> None:
    model = onnx.load(exported)
    (said,) = (entry for entry in model.metadata_props if entry.key == "satseg_export")
    said.value = '{"smallest": "64 px"}'
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match=r"net\.onnx cannot be used\. Invalid metadata: satseg_export\.smallest"):
        load_checkpoint(tmp_path / "net.onnx")


def test_a_graph_that_contradicts_its_card_is_refused(tmp_path: Path, exported: Path) -> None:
    model = onnx.load(exported)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CheckpointError, match=r"net\.onnx cannot be used\. Its graph has 4 bands, but its card"):
        load_checkpoint(tmp_path / "net.onnx")


def test_files_leave_out_objects(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path, objects=True)
    write_exported(tmp_path / "net.onnx", subject_of(path, arch))
    found = load_checkpoint(tmp_path / "net.onnx")
    assert isinstance(found, OnnxCheckpoint)
    assert found.card == replace(Checkpoint.load(path).card, objects=False)
