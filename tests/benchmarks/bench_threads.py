"""Seconds of a training step and of a map, alone and beside busy processes, with our threads and with those of torch.

Ours wait briefly and take the cores that are free (`satseg.openmp`, `satseg.backend.cores`); the baseline loads torch
first, which spins, and trains on all cores. Each has a process of its own; they take turns, and figures are medians.
Busy processes run in sessions of their own, as those of other users do. Prints one JSON line: `alone` is ours over the
baseline with nothing else running, `beside_1` is ours beside one busy process over ours alone, and `beside_4` is the
baseline over ours beside four.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO

WAYS = ("ours", "baseline")
WORK = ("train", "predict")
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


def training_step(options: argparse.Namespace) -> Callable[[], object]:
    """Return a step on a batch held in memory."""
    import torch
    import torch.nn.functional as F

    from satseg.backend import create_model
    from satseg.backend.conv_gradients import fast_conv_gradients
    from satseg.backend.device import reuse_freed_memory

    reuse_freed_memory()
    model = create_model(options.arch, in_channels=3, num_classes=2).to(memory_format=torch.channels_last).train()
    images = torch.rand(options.batch_size, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(2, (options.batch_size, 256, 256))
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        with fast_conv_gradients(images.device):
            loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()

    return step


def map_maker(options: argparse.Namespace, folder: Path) -> Callable[[], object]:
    """Return a call that maps a scene of noise as ``predict`` does."""
    import numpy as np
    import rasterio
    import torch
    from affine import Affine

    from satseg.backend import create_model
    from satseg.classes import ClassTable
    from satseg.inference.network import Network
    from satseg.prediction.outputs import OutputPaths
    from satseg.prediction.predictor import Predictor
    from satseg.prediction.provenance import Provenance
    from satseg.prediction.settings import PredictionSettings
    from satseg.raster.source import SceneSource
    from satseg.records import BandStatistics

    network = Network(
        create_model(options.arch, in_channels=3, num_classes=2).eval(),
        classes=ClassTable.from_names(["background", "building"]),
        statistics=BandStatistics(1, (128.0,) * 3, (64.0,) * 3, (0.0,) * 3, (255.0,) * 3),
        device=torch.device("cpu"),
    )
    side, scene = options.side, folder / "scene.tif"
    profile = {"height": side, "width": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32645"}
    profile["transform"] = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)
    with rasterio.open(scene, "w", **profile) as dataset:
        dataset.write(np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8))
    settings = PredictionSettings()
    predictor = Predictor(network, Provenance("benchmark", settings), settings)
    return lambda: predictor.predict(SceneSource.of(scene), OutputPaths.of_files(folder / "map.tif"))


def serve(options: argparse.Namespace) -> None:
    """Do the work once for each line of stdin, and print how long it took; "begin" chooses the threads anew."""
    if options.way == "baseline":
        import torch  # before satseg, which then leaves it as it is

    import torch

    from satseg.backend.cores import available_cores, threads_for

    torch.set_num_threads(available_cores())
    with tempfile.TemporaryDirectory() as folder:
        work = training_step(options) if options.work == "train" else map_maker(options, Path(folder))
        for line in sys.stdin:
            began = time.perf_counter()
            if line.strip() == "begin" and (options.way, options.work) == ("ours", "train"):
                torch.set_num_threads(threads_for(torch.device("cpu")))
            elif line.strip() == "work":
                work()
            print(time.perf_counter() - began, torch.get_num_threads(), flush=True)


class Server:
    """A process that works when it is told to."""

    def __init__(self, way: str, work: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        words = [sys.executable, __file__, *sys.argv[1:], "--way", way, "--work", work]
        self._process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def do(self, what: str) -> tuple[float, int]:
        """Return the seconds it took, and the threads of torch."""
        to, answers = self._pipes()
        to.write(what + "\n")
        to.flush()
        seconds, threads = answers.readline().split()
        return float(seconds), int(threads)

    def end(self) -> None:
        """End the process."""
        self._pipes()[0].close()
        self._process.wait()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep cores busy, each by a process in a session of its own."""
    words = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(words, start_new_session=True) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(work: str, options: argparse.Namespace) -> dict[str, object]:
    """Measure both ways at each load."""
    servers = {way: Server(way, work) for way in WAYS}
    seconds: dict[tuple[str, int], float] = {}
    threads: dict[str, int] = {}
    for server in servers.values():
        server.do("work")  # chooses kernels
    for others, repeats in ((0, options.repeats), (1, options.repeats // 2), (4, options.repeats // 4)):
        with busy(others):
            for server in servers.values():
                server.do("begin")
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(max(1, repeats)):
                for way, server in servers.items():
                    took, count = server.do("work")
                    taken[way].append(took)
                    threads[f"{way}_beside_{others}"] = count
        seconds |= {(way, others): median(times) for way, times in taken.items()}
    for server in servers.values():
        server.end()
    found: dict[str, object] = {f"{way}_beside_{others}": round(s, 3) for (way, others), s in seconds.items()}
    if work == "train":
        found["threads"] = threads
    return found | {
        "alone": round(seconds["ours", 0] / seconds["baseline", 0], 3),
        "beside_1": round(seconds["ours", 1] / seconds["ours", 0], 2),
        "beside_1_baseline": round(seconds["baseline", 1] / seconds["baseline", 0], 2),
        "beside_4": round(seconds["baseline", 4] / seconds["ours", 4], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="erfnet")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--side", type=int, default=1024, help="of the scene to map, in pixels")
    parser.add_argument("--repeats", type=int, default=8, help="alone; half as often beside one, a quarter beside four")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        serve(options)
        return
    given = {name: value for name, value in vars(options).items() if value is not None}
    found = {work: measure(work, options) for work in WORK}
    print(json.dumps({"benchmark": "threads", "cores": os.cpu_count(), **given, **found}))


if __name__ == "__main__":
    main()
