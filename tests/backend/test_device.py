"""Covers ``settings``."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from satseg.backend import device as devices
from satseg.backend.device import select_device, select_precision
from satseg.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again_without_faults() -> None:
    code = """
import resource, torch
from satseg.backend.device import reuse_freed_memory
def use(): return [torch.zeros(16 * 2**20, dtype=torch.uint8) for _ in range(10)]
assert reuse_freed_memory()
use(), use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5): use()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
assert faults < 4096, faults  # pages of a single one of these fifty
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_processor_is_always_there() -> None:
    assert select_device("cpu") == CPU


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert select_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device("auto") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "mps:1", "", "cuda:-1"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is unknown"):
        select_device(name)


def test_absent_gpu_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="cuda:0 is not available") as caught:
        select_device("cuda:0")
    assert "cpu" in caught.value.hint


def test_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match="cuda:2 does not exist: torch finds 2"):
        select_device("cuda:2")


@pytest.mark.parametrize(("flag", "precision"), [("avx512_bf16", "bf16-mixed"), ("avx2", "32-true")])
def test_auto_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch, flag: str, precision: str) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(devices, "cpu_flags", lambda: frozenset({flag, "sse"}))
    assert select_precision("auto", CPU) == precision


@pytest.mark.parametrize(
    ("text", "flag", "has"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 amx_tile\n", "avx512_bf16", True),
        ("processor : 0\nFeatures\t: fp asimd bf16 i8mm\n", "bf16", True),
        ("processor : 0\nflags\t\t: fpu avx2\n", "avx512_bf16", False),
    ],
)
def test_kernel_tells_the_flags_where_torch_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, flag: str, has: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    (tmp_path / "cpuinfo").write_text(text)
    assert (flag in devices.cpu_flags(tmp_path / "cpuinfo")) is has
    assert devices.cpu_flags(tmp_path / "absent") == frozenset()


def test_kernel_and_torch_agree_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.cpu, "get_capabilities") or not Path("/proc/cpuinfo").is_file():
        pytest.skip("needs torch 2.10 and Linux")
    by_torch = devices.cpu_flags() & {"avx512_bf16", "amx_bf16"}
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert devices.cpu_flags() & {"avx512_bf16", "amx_bf16"} == by_torch


@pytest.mark.parametrize(("name", "precision"), [("fp32", "32-true"), ("bf16", "bf16-mixed"), ("32-true", "32-true")])
def test_named_precision_is_taken_as_it_is(name: str, precision: str) -> None:
    assert select_precision(name, CPU) == precision


@pytest.mark.parametrize(("name", "message"), [("fp8", "`precision='fp8'` is unknown"), ("fp16", "does not work")])
def test_precision_that_does_not_work_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select_precision(name, CPU)
