"""Device, precision and memory that this process can use. torch is imported when it is needed."""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from satseg.errors import UsageError

if TYPE_CHECKING:
    import torch

_PRECISIONS = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
    "32-true": "32-true",
    "bf16-mixed": "bf16-mixed",
    "16-mixed": "16-mixed",
}
# Instructions that multiply bfloat16 natively, as the kernel and torch spell them: x86, then ARM.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16", "sve_bf16"})


def autocast(device: torch.device | str, precision: str) -> AbstractContextManager[None]:
    """Return the context in which a network computes in a precision, as Lightning Fabric spells it.

    Casts are not cached: each weight is used once per pass, and threads would clear the cache of one another.
    """
    import torch

    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    return nullcontext() if dtype is None else torch.autocast(torch.device(device).type, dtype, cache_enabled=False)


def reuse_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensors, instead of returning it to the kernel.

    A training step frees and allocates hundreds of megabytes; if the kernel provides them anew, every page faults
    again. Measured on two cores: 12 % of an ERFNet step. Acts on the whole process and cannot be undone, so that a
    command calls it once, before the first tensor. Blocks above 32 MiB are still returned, and at most 2 GiB are kept.

    Returns:
        Whether it took effect: it does with glibc (Linux), and leaves other C libraries alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h; the largest values that glibc takes.
    return bool(mallopt(-1, 2**31 - 1) and mallopt(-3, 32 * 2**20))


def share_heap() -> None:
    """Let the threads that begin from now on share the C library's heaps, instead of making one each.

    What one thread frees then serves the next one that asks: measured while a map is made, 20 to 30 MB less in all, and
    40 % fewer page faults. Acts on this whole process, and stays, so a command calls it once, before it starts threads.
    Does nothing without glibc, or where threads have made more than eight heaps already.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX of malloc.h


def release_freed_memory() -> None:
    """Hand memory that was freed back to the system; takes milliseconds. Does nothing without glibc.

    Large tensors that come and go between small objects that stay leave holes which glibc neither fills nor returns:
    a process that holds 100 MB may occupy several times that. Called now and then, it keeps to what it holds.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def select_device(name: str = "auto") -> torch.device:
    """Return a device by its name.

    Args:
        name: ``auto`` (a CUDA GPU, else an Apple GPU, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: The device does not exist, or torch cannot use it.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise UsageError(f"`device={name!r}` is unknown.", hint="Devices are auto, cpu, cuda, cuda:1 and mps.")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise UsageError(f"The device {name} is not available to torch.", hint="Set `device='cpu'`.")
    if index and int(index) >= torch.cuda.device_count():
        raise UsageError(f"The device {name} does not exist: torch finds {torch.cuda.device_count()} GPUs.")
    return torch.device(name)


def select_precision(name: str, device: torch.device) -> str:
    """Return a precision as Lightning Fabric spells it.

    Args:
        name: ``auto`` (bf16 if the device supports it natively, else fp32), ``fp32``, ``bf16`` or ``fp16``; Fabric's
            own ``32-true``, ``bf16-mixed`` and ``16-mixed`` are returned unchanged.
        device: Device of the network.

    Raises:
        UsageError: The precision is unknown, or does not work on this device.
    """
    if name == "auto":
        return "bf16-mixed" if has_native_bf16(device) else "32-true"
    if name not in _PRECISIONS:
        raise UsageError(f"`precision={name!r}` is unknown.", hint="Precisions are auto, fp32, bf16 and fp16.")
    if _PRECISIONS[name] == "16-mixed" and device.type == "cpu":
        raise UsageError("`precision='fp16'` does not work on a CPU.", hint="Use 'auto', 'bf16' or 'fp32'.")
    return _PRECISIONS[name]


def has_native_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0) or torch.version.hip is not None
    # Without oneDNN (macOS), bfloat16 convolutions on a CPU are slow even if it has the instructions.
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and bool(cpu_flags() & _BF16_FLAGS)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the CPU features, from torch (2.10 and newer) or the Linux kernel; empty if unknown."""
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    # x86 calls the line "flags", ARM "Features"; the first core speaks for all.
    found = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(found.partition(":")[2].split())


def can_compile() -> bool:
    """Tell whether torch.compile has what it needs for an NVIDIA GPU: Triton and a C compiler."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    return find_spec("triton") is not None and compiler is not None
