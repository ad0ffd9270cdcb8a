"""Seconds per training step of networks, with and without our weight gradients, and against the machine's matrix speed.

A step is a forward pass, cross-entropy, a backward pass and AdamW, on a batch held in memory. Its multiply-adds are
three times those of a forward pass; `share` is their rate over that of a product of large matrices in the same run.
Both ways take turns; figures are medians. Prints one JSON line for each network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F

from satseg.backend import create_model
from satseg.backend.conv_gradients import ConvGradients
from satseg.backend.cores import available_cores
from satseg.backend.device import reuse_freed_memory
from satseg.profiling.counts import count_multiply_adds

NETWORKS: dict[str, dict[str, Any]] = {
    "erfnet": {},
    "unet": {},
    "unet resnet18": {"encoder": "resnet18"},
    "unet tf_efficientnet_lite0": {"encoder": "tf_efficientnet_lite0"},
}


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def matrix_rate() -> float:
    """Return the multiply-adds per second of a product of large float32 matrices."""
    left, right = torch.rand(2048, 2048), torch.rand(2048, 2048)
    return 2048**3 / min(seconds(lambda: left @ right) for _ in range(8))


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one network."""
    model = create_model(name.split()[0], in_channels=3, num_classes=2, **NETWORKS[name])
    model.to(memory_format=torch.channels_last).train()
    images = torch.rand(options.batch_size, 3, options.size, options.size)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(2, (options.batch_size, options.size, options.size))
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        optimizer.step()

    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(options.repeats + 1):
        for way, context in (("plain", nullcontext()), ("ours", ConvGradients())):
            with context:
                times[way].append(seconds(step))
    plain, ours = (median(found[1:]) for found in times.values())  # the first one chooses kernels
    counted = count_multiply_adds(model, in_channels=3, height=options.size, width=options.size)
    rate = 3 * options.batch_size * counted / ours
    return {
        "network": name,
        "seconds_plain": round(plain, 3),
        "seconds": round(ours, 3),
        "ratio": round(plain / ours, 3),
        "giga_multiply_adds_per_second": round(rate / 1e9, 1),
        "share": round(rate / matrix_rate(), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(available_cores())
    reuse_freed_memory()
    for name in options.networks:
        print(json.dumps(measure(name, options)), flush=True)


if __name__ == "__main__":
    main()
