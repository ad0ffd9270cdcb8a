"""Milliseconds of each network in onnxruntime against torch, once exported, and how far its probabilities differ.

Both go from raw pixels of one image to probabilities, in float32 on one thread, torch as `satseg predict` runs it. They
take turns, and figures are minima of processor time, which other work on the machine hardly changes. Weights are
random, and norms have seen images. `ratio` is torch over onnxruntime; `difference`, the `precision` of torch beside it
and `differing` are those of the check of `satseg export`, and `export_seconds` what it took of the processor with this
check. Prints one JSON line for each network; `refused` says why there is no file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from satseg.backend import list_architectures
from satseg.backend.device import reuse_freed_memory
from satseg.checkpoint import Checkpoint
from satseg.errors import SatsegError, one_line
from satseg.exporting.onnx_file import open_onnx
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject
from satseg.inference.network import Network
from satseg.workflows.export import export

sys.path.append(str(Path(__file__).resolve().parents[1]))
from exported_networks import untrained_checkpoint


def measure(arch: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Export and measure one network."""
    path = untrained_checkpoint(folder, arch)
    begun = process_time()
    try:
        summary = export(path, output=folder / f"{arch}.onnx")
    except SatsegError as error:
        return {"network": arch, "refused": one_line(error)}
    taken = process_time() - begun
    subject = Subject(Checkpoint.load(path), ExportSettings())
    reference = Network.from_checkpoint(subject.checkpoint, device=torch.device("cpu"), precision="32-true")
    size = subject.network().window or options.size
    images = np.random.default_rng(0).integers(0, 256, (1, subject.channels, size, size)).astype(np.uint8)
    run, valid = open_onnx(Path(summary.path), subject), np.ones((1, size, size), dtype=bool)
    onnx, plain = fastest((lambda: run(images), lambda: reference.probabilities(images, valid)), options.repeats)
    return {
        "network": arch,
        "size": size,
        "difference": float(f"{summary.difference:.2g}"),
        "precision": summary.precision,
        "differing": summary.differing,
        "onnxruntime_ms": round(onnx, 1),
        "torch_ms": round(plain, 1),
        "ratio": round(plain / onnx, 2),
        "megabytes": round(summary.bytes / 1e6, 1),
        "export_seconds": round(taken, 1),
    }


def fastest(ways: tuple[Callable[[], object], ...], repeats: int) -> list[float]:
    """Return the least milliseconds of the processor that each of several ways takes; they take turns."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats + 1):
        for way, taken in zip(ways, times, strict=True):
            begun = process_time()
            way()
            taken.append(1e3 * (process_time() - begun))
    return [min(taken[1:]) for taken in times]  # the first one chooses kernels


def main() -> None:
    """Measure the networks that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[entry.name for entry in list_architectures()])
    parser.add_argument("--size", type=int, default=256, help="pixels along a side")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    reuse_freed_memory()
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(name, Path(folder), options)), flush=True)


if __name__ == "__main__":
    main()
