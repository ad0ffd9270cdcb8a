from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError
from satseg.inference.network import Network
from satseg.inference.views import Views
from satseg.raster.bands import upload
from satseg.raster.scales import Conversion
from satseg.records import BandSpec, BandStatistics, Clipping

CPU = torch.device("cpu")
CLASSES = ClassTable.from_names(["a", "b", "c"])
IDENTITY = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))


class OneHot(nn.Module):
    """The oracle: class = value of the first band."""

    def forward(self, images: Tensor) -> Tensor:
        classes = images[:, 0].round().long().clamp(0, 2)
        return nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float() * 200


class Slanted(nn.Module):
    """Prefers the second class the more, the further right a pixel lies, whatever it shows."""

    def forward(self, images: Tensor) -> Tensor:
        slope = torch.linspace(0, 1, images.shape[-1]).expand(len(images), 1, *images.shape[-2:])
        return torch.cat([torch.zeros_like(slope), slope, torch.full_like(slope, -9.0)], dim=1)


class Recorder(OneHot):
    """The oracle, keeping what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return super().forward(images)


def network(model: nn.Module | None = None, statistics: BandStatistics = IDENTITY, **options: object) -> Network:
    return Network(model or OneHot(), classes=CLASSES, statistics=statistics, device=CPU, **options)


def class_image(height: int = 40, width: int = 56, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (2, 1, height, width)).astype(dtype)


def everywhere(images: np.ndarray) -> np.ndarray:
    return np.ones((len(images), *images.shape[-2:]), dtype=bool)


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_pixelwise_models_say_the_same_in_every_orientation(tta: str) -> None:
    images = class_image()
    found = network(views=Views(tta=tta)).probabilities(images, everywhere(images))
    assert found.shape == (2, 3, 40, 56)
    assert (found.argmax(1).numpy() == images[:, 0]).all()


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_orientations_take_a_preference_for_one_side_away(tta: str) -> None:
    images = class_image(48, 48)
    plain = network(Slanted()).probabilities(images, everywhere(images))
    found = network(Slanted(), views=Views(tta=tta)).probabilities(images, everywhere(images))
    assert not torch.allclose(plain, plain.flip(-1))
    torch.testing.assert_close(found, found.flip(-1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scales", "sizes"), [((1.0,), [(64, 96)]), ((0.5, 1.5), [(32, 48), (96, 144)])])
def test_every_scale_is_looked_at_once(scales: tuple[float, ...], sizes: list[tuple[int, int]]) -> None:
    model, images = Recorder(), class_image(64, 96)
    found = network(model, views=Views(scales=scales)).probabilities(images, everywhere(images))
    assert [tuple(seen.shape[-2:]) for seen in model.seen] == sizes
    torch.testing.assert_close(found.sum(1), torch.ones(2, 64, 96))


def test_resampling_brings_windows_to_the_pixels_of_the_training_and_back() -> None:
    model, small = Recorder(), class_image(40, 48)
    images = small.repeat(2, axis=2)  # rows half as high on the ground as in training
    halved = network(model).resampled(0.5, 1.0)
    found = halved.probabilities(images, everywhere(images))
    assert [tuple(seen.shape[-2:]) for seen in model.seen] == [(40, 48)]
    assert found.shape == (2, 3, 80, 48)
    flat = np.full_like(images, 2)
    assert (halved.probabilities(flat, everywhere(flat)).argmax(1) == 2).all()


def test_resampling_leaves_the_first_network_as_it_is() -> None:
    first = network()
    assert first.resampled(2.0, 2.0).views.resample == (2.0, 2.0)
    assert first.views.resample == (1.0, 1.0)


def test_several_models_are_averaged_as_probabilities() -> None:
    images = class_image()
    one, other = network(), network(Slanted())
    expected = (one.probabilities(images, everywhere(images)) + other.probabilities(images, everywhere(images))) / 2
    one.add(Slanted(), IDENTITY)
    assert torch.equal(one.probabilities(images, everywhere(images)), expected)


def test_each_model_normalises_with_its_own_statistics() -> None:
    first, second, images = Recorder(), Recorder(), class_image()
    both = network(first)
    both.add(second, BandStatistics(1, (1.0,), (0.5,), (0.0,), (2.0,)))
    both.probabilities(images, everywhere(images))
    assert torch.equal(second.seen[0], (first.seen[0] - 1) / 0.5)


def test_invalid_pixels_are_given_the_training_mean() -> None:
    model, images = Recorder(), class_image(dtype="float32")
    images[:, :, 3:9] = np.nan
    valid = ~np.isnan(images[:, 0])
    found = network(model).probabilities(images, valid)
    assert (model.seen[0][:, :, 3:9] == 0).all()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
def test_scenes_of_every_dtype(dtype: str) -> None:
    images = class_image(dtype=dtype)
    assert (network().probabilities(images, everywhere(images)).argmax(1).numpy() == images[:, 0]).all()


def test_equal_windows_get_equal_bits() -> None:
    model = create_model("erfnet", in_channels=1, num_classes=3)
    images = class_image(64, 64)
    views = Views(tta="d4", scales=(0.75, 1.0))
    found = [network(model, views=views).probabilities(images, everywhere(images)) for _ in range(2)]
    assert torch.equal(*found)


def test_threads_get_the_bits_that_one_thread_gets() -> None:
    """Autocast and inference mode belong to a thread; each one has to enter them by itself."""
    shared = network(create_model("erfnet", in_channels=1, num_classes=3), precision="bf16-mixed")
    images = class_image(64, 64)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = shared.probabilities(images, everywhere(images))
        found: list[Tensor] = []
        workers = [
            threading.Thread(
                target=lambda: found.extend(shared.probabilities(images, everywhere(images)) for _ in range(3))
            )
            for _ in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        torch.set_num_threads(before)
    assert len(found) == 9
    assert all(torch.equal(one, expected) for one in found)


class Fixed(OneHot):
    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window


def test_the_fixed_window_of_any_model_holds_for_all() -> None:
    both = network()
    both.add(Fixed(96), IDENTITY)
    assert both.window == 96
    with pytest.raises(CheckpointError, match="windows of 96 and 64 px"):
        both.add(Fixed(64), IDENTITY)


def checkpoint(
    path: Path, names: tuple[str, ...] = ("a", "b", "c"), *, gsd: float = 0.5, mean: float = 0
) -> Checkpoint:
    torch.manual_seed(len(path.stem))
    card = ModelCard(
        arch="erfnet",
        classes=ClassTable.from_names(names),
        bands=BandSpec(("grey",), "uint8", (1.0,), (0.0,)),
        statistics=BandStatistics(1, (mean,), (1.0,), (0.0,), (255.0,)),
        gsd=(gsd, gsd),
        tile_size=64,
    )
    save_checkpoint(path, create_model("erfnet", in_channels=1, num_classes=len(names)).state_dict(), card)
    return Checkpoint.load(path)


def test_checkpoints_are_averaged(tmp_path: Path) -> None:
    files = checkpoint(tmp_path / "one.safetensors"), checkpoint(tmp_path / "two-other.safetensors", mean=7.0)
    images = class_image(32, 32)
    single = [Network.from_checkpoint(file, device=CPU, precision="32-true") for file in files]
    both = Network.from_checkpoint(*files, device=CPU, precision="32-true")
    expected = sum(one.probabilities(images, everywhere(images)) for one in single) / 2
    assert torch.equal(both.probabilities(images, everywhere(images)), expected)


def test_the_stride_is_that_of_the_architecture(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "one.safetensors")
    assert Network.from_checkpoint(file, device=CPU, precision="32-true").stride == 8


def test_checkpoints_of_other_classes_are_refused_by_name(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one.safetensors"), checkpoint(tmp_path / "two.safetensors", "acb")
    with pytest.raises(CheckpointError, match=r"one\.safetensors and .*two\.safetensors .* a, b, c and a, c, b"):
        Network.from_checkpoint(one, two, device=CPU, precision="32-true")


def test_checkpoints_of_other_pixel_sizes_are_refused(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one.safetensors"), checkpoint(tmp_path / "two.safetensors", gsd=0.3)
    with pytest.raises(CheckpointError, match=r"pixels of \(0.5, 0.5\) and \(0.3, 0.3\) m"):
        Network.from_checkpoint(one, two, device=CPU, precision="32-true")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_compiled_network_says_the_same() -> None:
    images = class_image(64, 64)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    plain, compiled = network(model), network(model, compile=True)
    expected = plain.probabilities(images, everywhere(images))
    torch.testing.assert_close(compiled.probabilities(images, everywhere(images)), expected)


@pytest.mark.slow
def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    code = """
import numpy as np, torch
from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.inference.network import Network
from satseg.records import BandStatistics
model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.ReLU())
network = Network(model, classes=ClassTable.from_names("abc"), statistics=BandStatistics(1, (0,), (1,), (0,), (1,)),
                  device=torch.device("cpu"), compile=True)
try:
    network.probabilities(np.zeros((1, 1, 32, 32), "uint8"), np.ones((1, 32, 32), bool))
except UsageError as error:
    print(error.message, error.hint)
"""
    # What needs a compiler must be neither found nor left over from an earlier run.
    alone = {**os.environ, "PATH": "/nonexistent", "CXX": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=alone, check=True, capture_output=True, text=True).stdout
    assert said.startswith("The network cannot be compiled here: ")
    assert "compiler" in said
    assert "`compile`" in said


def test_a_scene_of_another_scale_is_seen_as_if_it_were_stored_like_the_training_scenes() -> None:
    images = class_image()
    stored = (images.astype(np.int16) + 3) * 4
    plain = network()
    converted = plain.converted(Conversion((0.25,), (-3.0,)))
    expected = plain.probabilities(images, everywhere(images))
    assert torch.equal(converted.probabilities(stored, everywhere(images)), expected)
    assert not torch.equal(plain.probabilities(stored, everywhere(images)), expected)
    assert plain.converted(Conversion((1.0,), (0.0,))) is plain


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "int32", "float64"])
def test_large_values_go_to_the_device_as_they_are(dtype: str) -> None:
    base = 200 if dtype == "uint8" else 2**31 - 5
    images = (np.arange(3).reshape(1, 1, 1, 3) + base).astype(dtype).repeat(40, axis=2)
    net = network(statistics=BandStatistics(1, (float(base),), (1.0,), (0.0,), (255.0,)))
    found = net.probabilities(images, everywhere(images)).argmax(1)
    assert (found == torch.tensor([0, 1, 2])).all()


def test_apples_gpus_are_given_what_needs_float64_once_it_is_centred() -> None:
    assert upload(np.zeros(3), torch.device("mps")).device == CPU
    assert upload(np.zeros(3, dtype=np.uint32), torch.device("mps")).device == CPU


def test_several_models_are_shown_what_all_of_them_take_for_measured() -> None:
    net = network(statistics=BandStatistics(1, (0.0,), (1e-3,), (0.0,), (1.0,)))
    net.add(OneHot(), BandStatistics(1, (10.0,), (1.0,), (0.0,), (20.0,)))
    assert net.values.low == (-65.0,)
    assert net.values.high == (65.0,)
    assert net.converted(Conversion((2.0,), (0.0,))).values.high == (32.5,)


@pytest.mark.parametrize("clipping", [None, Clipping((0.0,), (4.0,), 8.0)])
def test_a_checkpoint_normalises_as_its_card_says(tmp_path: Path, clipping: Clipping | None) -> None:
    """Cards of earlier versions clip nothing: their networks see raw values of any height as before."""
    model = create_model("enet", in_channels=1, num_classes=3)
    card = ModelCard(
        arch="enet",
        classes=CLASSES,
        bands=BandSpec(("vv",), "float32", (1.0,), (0.0,)),
        statistics=IDENTITY,
        gsd=None,
        tile_size=64,
        clipping=clipping,
    )
    save_checkpoint(tmp_path / "one.safetensors", model.state_dict(), card)
    found = Network.from_checkpoint(Checkpoint.load(tmp_path / "one.safetensors"), device=CPU, precision="32-true")
    (member,) = found.converted(Conversion((2.0,), (0.0,))).members
    assert member.normalise(torch.full((1, 1, 1, 1), 50.0)).item() == (8.0 if clipping else 100.0)
