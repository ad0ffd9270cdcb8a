"""The files were written by the package onnx 1.23, which is not needed to read them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch

from satseg.backend.nn.onnx_tensors import read_onnx_tensors

MODEL = (
    "CA4SBG9ubng6mAEKEAoBeBIBeSIISWRlbnRpdHkSAWcqHQgCCAIQCkILaGFsZi53ZWlnaHRKCAA4AMD/ewEAKiEIAxABQg1zaW5nbGUud2VpZ2h0"
    "SgwAAMA/AACAvuaxYX8qExAHQgVjb3VudEoILAEAAAAAAABaFAoBeBIPCg0IARIJCgMSAW4KAggEYhQKAXkSDwoNCAESCQoDEgFuCgIIBEIECgAQ"
    "EQ=="
)
REFUSED = {
    "values that are not bytes": (
        "CA4SBG9ubng6WAoQCgF4EgF5IghJZGVudGl0eRIBZyoVCAIQASIIAACAPwAAAEBCBXR5cGVkWhQKAXgSDwoNCAESCQoDEgFuCgIIBGIUCgF5"
        "Eg8KDQgBEgkKAxIBbgoCCARCBAoAEBE="
    ),
    "values in another file": (
        "CA4SBG9ubng6YwoQCgF4EgF5IghJZGVudGl0eRIBZyogCAMQAUIDZmFyahMKCGxvY2F0aW9uEgdmYXIuYmlucAFaFAoBeBIPCg0IARIJCgMS"
        "AW4KAggEYhQKAXkSDwoNCAESCQoDEgFuCgIIBEIECgAQEQ=="
    ),
    "flags": (
        "CA4SBG9ubng6UAoQCgF4EgF5IghJZGVudGl0eRIBZyoNCAEQCUIEZmxhZ0oBAVoUCgF4Eg8KDQgBEgkKAxIBbgoCCARiFAoBeRIPCg0IARIJ"
        "CgMSAW4KAggEQgQKABAR"
    ),
    "no tensors": (
        "CA4SBG9ubng6QQoQCgF4EgF5IghJZGVudGl0eRIBZ1oUCgF4Eg8KDQgBEgkKAxIBbgoCCARiFAoBeRIPCg0IARIJCgMSAW4KAggEQgQKABAR"
    ),
    "two of one name": (
        "CA4SBG9ubng6fwoQCgF4EgF5IghJZGVudGl0eRIBZyodCAIIAhAKQgtoYWxmLndlaWdodEoIADgAwP97AQAqHQgCCAIQCkILaGFsZi53ZWln"
        "aHRKCAA4AMD/ewEAWhQKAXgSDwoNCAESCQoDEgFuCgIIBGIUCgF5Eg8KDQgBEgkKAxIBbgoCCARCBAoAEBE="
    ),
}


def write(folder: Path, content: bytes) -> Path:
    (folder / "model.onnx").write_bytes(content)
    return folder / "model.onnx"


def test_names_types_shapes_and_values_are_those_that_were_written(tmp_path: Path) -> None:
    found = read_onnx_tensors(write(tmp_path, base64.b64decode(MODEL)))
    wanted = {
        "half.weight": torch.tensor([[0.5, -2], [65504, 6e-8]], dtype=torch.float16),
        "single.weight": torch.tensor([1.5, -0.25, 3e38]),
        "count": torch.tensor(300),
    }
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_tensors_that_cannot_be_read_as_they_are_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="It holds"):
        read_onnx_tensors(write(tmp_path, base64.b64decode(content)))


def test_a_file_that_is_cut_off_is_refused_wherever_that_touches_tensors(tmp_path: Path) -> None:
    content = base64.b64decode(MODEL)
    behind = content.index(b"\x42\x04\x0a\x00\x10\x11")  # the versions of operators, behind the graph
    for length in range(0, behind, 3):
        with pytest.raises(ValueError, match="It "):
            read_onnx_tensors(write(tmp_path, content[:length]))
    assert len(read_onnx_tensors(write(tmp_path, content[:behind]))) == 3


def test_a_shape_that_does_not_fit_the_values_is_refused(tmp_path: Path) -> None:
    content = base64.b64decode(MODEL).replace(b"\x08\x02\x08\x02\x10\x0a", b"\x08\x02\x08\x03\x10\x0a")
    with pytest.raises(ValueError, match="cannot reshape"):
        read_onnx_tensors(write(tmp_path, content))


@pytest.mark.parametrize("content", [b"\x80" * 30, b"\x0b\x00", b"\x3a\xff\xff\xff\xff\x0f"], ids=repr)
def test_what_is_no_message_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="no message of protocol buffers"):
        read_onnx_tensors(write(tmp_path, content))
