from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from satseg.backend import ENCODER_PACKAGES, packaged_weights
from satseg.backend import weight_packages as module
from satseg.backend.weight_packages import CLOUD_EXTRA, CLOUD_PACKAGE, CLOUD_WEIGHTS, weights_at
from satseg.errors import ArchitectureError


@pytest.mark.parametrize("encoder", ENCODER_PACKAGES)
def test_installed_weights_are_found_with_their_origin(encoder: str) -> None:
    found = packaged_weights(encoder)
    assert found is not None
    assert found.path.is_file()
    assert (found.encoder, found.package, found.version) == (encoder, ENCODER_PACKAGES[encoder], "0.1.0")
    assert (found.trained_on, found.licence) == ("ImageNet-1k", "Apache-2.0")


def test_the_tag_of_the_same_weights_is_accepted_and_other_encoders_have_none() -> None:
    assert packaged_weights("tf_efficientnet_lite0.in1k") == packaged_weights("tf_efficientnet_lite0")
    assert packaged_weights("efficientnet_lite0.ra_in1k") is None
    assert packaged_weights("resnet18") is None


def test_without_the_package_there_are_none_and_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert packaged_weights("tf_efficientnet_lite0") is None
    assert module.how_to_install("tf_efficientnet_lite0") == "pip install 'satseg-cli[encoders]' brings them."
    assert "tf_efficientnet_lite2" in module.how_to_install("resnet18")


def test_looking_for_weights_imports_neither_torch_nor_the_package() -> None:
    code = (
        "import sys; from satseg.backend import packaged_weights; assert packaged_weights('tf_efficientnet_lite0'); "
        "print([name for name in sys.modules if name in ('torch', 'timm') or 'lite0' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("extra", ["encoders", "dev"])
def test_the_extra_has_the_packages(extra: str) -> None:
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    wanted = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"][extra]
    assert {line.split(">")[0] for line in wanted} >= set(ENCODER_PACKAGES.values())


def test_the_extra_for_satellite_images_has_its_package_and_make_the_oldest_version() -> None:
    root = Path(__file__).resolve().parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (wanted,) = extras[CLOUD_EXTRA.removeprefix("satseg-cli[").removesuffix("]")]
    assert wanted.startswith(f"{CLOUD_PACKAGE}>=")
    assert wanted.replace(">=", "==") in (root / "Makefile").read_text(encoding="utf-8").split()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an empty package on the path in place of the one with weights for clouds, and return its folder."""
    (tmp_path / "ukis_csmask").mkdir()
    (tmp_path / "ukis_csmask" / "__init__.py").write_text("raise RuntimeError('this code must not run')")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "ukis_csmask"


def of_bands(names: list[str], mean: list[float], std: list[float]) -> str:
    return json.dumps({"data": {"dataset_statistics": {"band_names": names, "img": [mean, std]}}})


@pytest.mark.parametrize("which", CLOUD_WEIGHTS)
def test_weights_at_an_address_are_found_with_the_bands_that_they_expect(folder: Path, which: str) -> None:
    file = folder / f"model_{which.replace('-', '_')}.onnx"
    file.touch()
    file.with_suffix(".json").write_text(of_bands(["red", "nir"], [0.2, 0.3], [0.1, 0.4]))
    found = weights_at(f"ukis-csmask:{which.upper()}")
    assert (found.encoder, found.path, found.licence) == ("tf_efficientnet_b4", file, "Apache-2.0")
    assert (found.bands, found.mean, found.std) == (("red", "nir"), (0.2, 0.3), (0.1, 0.4))
    assert file.stem in found.source


def test_an_address_that_is_wrong_names_the_right_ones() -> None:
    with pytest.raises(ArchitectureError, match="There are no weights ukis-csmask:5b") as caught:
        weights_at("ukis-csmask:5b")
    assert str(caught.value.hint).endswith("ukis-csmask:6b-l1c and ukis-csmask:6b-l2a.")


def test_without_the_package_an_address_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ArchitectureError, match="in the package ukis-csmask, which is not installed") as caught:
        weights_at("ukis-csmask:6b-l2a")
    assert str(caught.value.hint).startswith("pip install 'satseg-cli[multispectral]'")


UNREADABLE = {
    "missing": None,
    "no JSON": "x",
    "no entries": "{}",
    "too many": of_bands(["red"], [0.2, 0.3], [0.1]),
    "constant": of_bands(["red"], [0.2], [0.0]),
    "no number": of_bands(["red"], [0.2], [float("nan")]),
    "no bands": of_bands([], [], []),
    "no deviations": json.dumps({"data": {"dataset_statistics": {"band_names": ["red"], "img": [[0.2]]}}}),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_package_that_does_not_say_what_its_weights_expect_is_refused(folder: Path, content: str | None) -> None:
    (folder / "model_4b_l1c.onnx").touch()
    if content is not None:
        (folder / "model_4b_l1c.json").write_text(content)
    with pytest.raises(ArchitectureError, match=r"model_4b_l1c\.json does not say which bands"):
        weights_at("ukis-csmask:4b-l1c")
