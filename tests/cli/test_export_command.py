from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from exported_networks import small_checkpoint


def test_json_is_the_summary_and_a_table_tells_it_otherwise(satseg: Callable, tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path)
    words = ("export", path, "-o", tmp_path / "half.safetensors", "--half", "--arch", arch)
    found = json.loads(satseg(*words, "--json").stdout)
    assert (found["path"], found["model"]) == (str(tmp_path / "half.safetensors"), str(path))
    assert found["sizes"][1] == {"width": 130, "height": 97}
    done = satseg(*words, "--overwrite")
    assert (done.code, done.stdout) == (0, "")
    assert "8 random images, 64 x 64 px, 130 x 97 px, 128 x 128 px, in batches of 1 and 3" in done.stderr


def test_wrong_usage_ends_before_work(satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = satseg("export", "absent.safetensors", "-o", "roofs.tflite")
    assert (done.code, done.stdout) == (2, "")
    assert "The suffix of roofs.tflite names no format of networks." in done.stderr
    monkeypatch.setattr("satseg.exporting.file_formats.find_spec", lambda name: None)
    done = satseg("export", "absent.safetensors", "-o", "roofs.onnx")
    assert done.code == 2
    assert ".onnx files need onnx, onnxscript, onnxruntime, which are not installed." in done.stderr
    assert "pip install 'satseg-cli[export]'" in done.stderr


def test_an_absent_checkpoint_is_named(satseg: Callable, tmp_path: Path) -> None:
    done = satseg("export", tmp_path / "absent.safetensors", "-o", tmp_path / "net.pt2")
    assert done.code == 1
    assert f"The checkpoint {tmp_path / 'absent.safetensors'} does not exist." in done.stderr
