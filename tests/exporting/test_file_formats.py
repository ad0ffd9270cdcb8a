from __future__ import annotations

from pathlib import Path

import pytest

from satseg.errors import UsageError
from satseg.exporting import file_formats
from satseg.exporting.settings import ExportSettings


@pytest.mark.parametrize(("name", "suffix"), [("a.onnx", ".onnx"), ("a.ONNX", ".onnx"), ("b.c.pt2", ".pt2")])
def test_the_suffix_names_the_format(name: str, suffix: str) -> None:
    assert file_formats.format_of(Path(name), ExportSettings()).suffix == suffix


@pytest.mark.parametrize("name", ["roofs", "roofs.pth", "roofs.onnx.gz"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"The suffix of {name} names no format") as found:
        file_formats.format_of(Path(name), ExportSettings())
    assert found.value.hint == "Formats are .onnx, .pt2, .safetensors."


def test_a_checkpoint_is_copied_in_half_precision_alone() -> None:
    with pytest.raises(UsageError, match=r"a\.safetensors would be the checkpoint as it is"):
        file_formats.format_of(Path("a.safetensors"), ExportSettings())
    with pytest.raises(UsageError, match="`argmax` has no effect on a checkpoint"):
        file_formats.format_of(Path("a.safetensors"), ExportSettings(half=True, argmax=True))
    assert file_formats.format_of(Path("a.safetensors"), ExportSettings(half=True)).suffix == ".safetensors"


def test_missing_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"onnx": None, "onnxscript": None}
    monkeypatch.setattr(file_formats, "find_spec", lambda name: there.get(name, object()))
    with pytest.raises(UsageError, match=r"\.onnx files need onnx, onnxscript, which are not installed") as found:
        file_formats.FORMATS[".onnx"].require_packages()
    assert found.value.hint == "Install what exports need: pip install 'satseg-cli[export]'"
    file_formats.FORMATS[".pt2"].require_packages()


def test_settings_of_int8_networks_fit_onnx_and_each_other() -> None:
    quantize = ExportSettings(quantize=True)
    assert file_formats.format_of(Path("a.onnx"), quantize.changed(max_loss=0.1)).suffix == ".onnx"
    for name in ("a.pt2", "a.safetensors"):
        with pytest.raises(UsageError, match=rf"{name} cannot hold an int8 network"):
            file_formats.format_of(Path(name), quantize)
    with pytest.raises(UsageError, match="in int8 or in half precision"):
        file_formats.format_of(Path("a.onnx"), quantize.changed(half=True))
    with pytest.raises(UsageError, match="`max_loss` is a limit for int8 networks alone"):
        file_formats.format_of(Path("a.onnx"), ExportSettings(max_loss=0.1))


@pytest.mark.parametrize("name", ["a.pt2", "a.safetensors"])
def test_deepness_reads_onnx_alone(name: str) -> None:
    with pytest.raises(UsageError, match=rf"`deepness` has no effect on {name}: the plugin reads \.onnx files alone"):
        file_formats.format_of(Path(name), ExportSettings(deepness=True, half=True))
    assert file_formats.format_of(Path("a.onnx"), ExportSettings(deepness=True)).suffix == ".onnx"
