"""Find by trying, within seconds, the windows and batches in which a network is fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import Barrier

import numpy as np
import torch

from satseg.backend.cores import torch_threads
from satseg.errors import SatsegError
from satseg.inference.live_memory import peak_live_memory, resident_growth
from satseg.inference.network import Network
from satseg.inference.plan import SMALLEST_WINDOW

WINDOWS = (256, 384, 512, 768, 1024)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
_SMALLER_WINDOWS = (192, 128, 64, SMALLEST_WINDOW)  # where memory is short
_PASS_SIDE = 256  # of the window that measures how much memory a pixel needs; in a smaller one, weights count as much
_LIBRARY_SHARE = 2  # measured: oneDNN and the allocator hold about as much again as the tensors that are alive
_BETTER = 1.02  # what is faster by less is noise, and takes more memory
_CLEARLY_SLOWER = 0.9
_ENOUGH = 0.2  # seconds of passes behind the first one
_LONG = 0.5  # seconds; what happens once hardly counts in a first pass of more, so it is not repeated


@dataclass(frozen=True)
class Setting:
    """A way to run a network.

    Args:
        window: Side of a window in pixels of the network's training.
        batch_size: Windows per forward pass.
        streams: Batches that run side by side, each in a thread of its own.
        threads: Processor threads of each stream.
    """

    window: int
    batch_size: int
    streams: int
    threads: int


@dataclass(frozen=True)
class Trial(Setting):
    """What a way to run a network came to.

    Args:
        pixels_per_second: Pixels of a large scene that are finished in a second, overlaps counted once; 0 where
            memory did not suffice.
        memory: Bytes that its streams hold at once, by estimate.
    """

    pixels_per_second: float
    memory: int


@dataclass(frozen=True)
class Tuning(Trial):
    """The fastest way that was found, what it came to, and what else was tried.

    Args:
        seconds: How long that took.
        tried: All trials, in their order.
    """

    seconds: float
    tried: tuple[Trial, ...]


def tune(
    network: Network,
    *,
    dtype: str,
    overlap: Callable[[int], int],
    window: int | None = None,
    batch_size: int | None = None,
    cores: int = 1,
    largest: int | None = None,
    memory: int | None = None,
    seconds: float = 4.0,
) -> Tuning:
    """Try windows, then streams, then batches, from the cheapest up, for as long as it gets faster.

    Measured on two cores: two streams of one thread each are a fifth faster than one of two threads, larger windows
    are up to a sixth faster for ERFNet and a tenth slower for U-Net, and batches matter to a single stream alone.

    Args:
        network: What to run; a compiled one is tried as it was before, since every size would be compiled anew.
        dtype: Of the raw values of the scene.
        overlap: Returns the overlap that a window of a given side would have.
        window: Side of a window in pixels of the training, or None to choose it.
        batch_size: Windows per forward pass, or None to choose it.
        cores: Processor threads in all.
        largest: Side of the largest window that makes sense, if that is known: a small scene needs no larger one.
        memory: Bytes that the streams may hold, or None for no limit.
        seconds: No trial is begun that would probably end later, counted from the end of a first pass, in which a
            GPU loads its libraries. The first trial always is.

    Raises:
        SatsegError: Memory does not suffice for the smallest setting that the arguments allow.
    """
    began = time.perf_counter()
    bench = _Bench(network.eager(), dtype, overlap, memory, seconds)
    ways = streams_and_threads(network.device, cores)
    windows = (window,) if window else _windows(largest)
    first = batch_size or BATCHES[0]
    best = bench.first_that_fits(Setting(w, first, *way) for w in (*windows[:1], *_smaller(window)) for way in ways)
    best = bench.climb(best, (replace(_setting(best), window=w) for w in windows if w > best.window))
    best = bench.climb(best, (replace(_setting(best), streams=s, threads=t) for s, t in ways if s < best.streams))
    sizes = () if batch_size else BATCHES[1:]
    best = bench.climb(best, (replace(_setting(best), batch_size=size) for size in sizes))
    return Tuning(**vars(best), seconds=time.perf_counter() - began, tried=tuple(bench.tried))


class _Bench:
    """Where settings are tried, as long as there is time."""

    def __init__(
        self, network: Network, dtype: str, overlap: Callable[[int], int], memory: int | None, seconds: float
    ) -> None:
        self.tried: list[Trial] = []
        self._network = network
        self._dtype = dtype
        self._overlap = overlap
        self._limit = memory
        self._bytes_per_pixel = self._measure_memory()
        self._deadline = time.perf_counter() + seconds

    def first_that_fits(self, settings: Iterable[Setting]) -> Trial:
        """Try settings until one has enough memory."""
        for setting in settings:
            if self._fits(setting) and (trial := self._try(setting)).pixels_per_second:
                return trial
        allowed = f", and {self._limit / 2**20:.0f} MB are allowed" if self._limit else ""
        raise SatsegError(
            f"There is not enough memory for the network: a window of {setting.window} px and a batch of "
            f"{setting.batch_size} need about {self._memory(setting) / 2**20:.0f} MB{allowed}.",
            hint="Allow more `memory`, or choose a smaller `window` or `batch_size`.",
        )

    def climb(self, best: Trial, settings: Iterable[Setting]) -> Trial:
        """Try ever larger settings until one is clearly slower, lacks memory, or would take too long."""
        for setting in settings:
            if not self._fits(setting) or self._expected_end(best, setting) > self._deadline:
                break
            trial = self._try(setting)
            if trial.pixels_per_second < _CLEARLY_SLOWER * best.pixels_per_second:
                break
            if trial.pixels_per_second > _BETTER * best.pixels_per_second:
                best = trial
        return best

    def _try(self, setting: Setting) -> Trial:
        rows, columns = self._network.views.window(setting.window)
        images = np.random.default_rng(0).integers(0, 100, (setting.batch_size, self._network.channels, rows, columns))
        try:
            speed = _speed(self._network, images.astype(self._dtype), setting, cold=not self.tried)
        except (torch.OutOfMemoryError, MemoryError):
            speed = 0.0
            torch.cuda.empty_cache()
        finished = speed * self._useful(setting.window)
        self.tried.append(Trial(**vars(setting), pixels_per_second=finished, memory=self._memory(setting)))
        return self.tried[-1]

    def _useful(self, window: int) -> float:
        """Return the share of forwarded pixels that are not overlaps."""
        return (1 - self._overlap(window) / window) ** 2

    def _expected_end(self, best: Trial, setting: Setting) -> float:
        """Return when a trial would end if it ran at the speed of the best one so far."""
        rows, columns = self._network.views.window(setting.window)
        speed = best.pixels_per_second / self._useful(best.window)
        one_pass = setting.streams * setting.batch_size * rows * columns / speed
        return time.perf_counter() + (one_pass if one_pass > _LONG else one_pass + max(one_pass, _ENOUGH))

    def _measure_memory(self) -> float:
        side = self._network.window or _PASS_SIDE
        rows, columns = self._network.views.window(side)
        images = np.zeros((1, self._network.channels, rows, columns), dtype=self._dtype)
        valid = np.ones((1, rows, columns), dtype=bool)
        forward = partial(self._network.probabilities, images, valid)
        hidden = resident_growth(forward) if self._network.uses_onnx else 0
        return max(_LIBRARY_SHARE * peak_live_memory(forward), hidden) / side**2

    def _memory(self, setting: Setting) -> int:
        return round(self._bytes_per_pixel * setting.window**2 * setting.batch_size * setting.streams)

    def _fits(self, setting: Setting) -> bool:
        return self._limit is None or self._memory(setting) <= self._limit


def _speed(network: Network, images: np.ndarray, setting: Setting, *, cold: bool) -> float:
    """Return how many pixels of windows all streams together take in a second; ``cold`` before anything has run."""
    valid = np.ones((len(images), *images.shape[-2:]), dtype=bool)
    start = Barrier(setting.streams)

    def run() -> float:
        start.wait()
        first = _pass(network, images, valid)
        if first > _LONG and not cold:
            return valid.size / first
        times: list[float] = []
        while sum(times) < _ENOUGH:
            times.append(_pass(network, images, valid))
        return valid.size * len(times) / sum(times)

    # torch takes the number of threads for each new thread from the last call in any.
    with torch_threads(setting.threads), ThreadPoolExecutor(setting.streams) as pool:
        try:
            running = [pool.submit(run) for _ in range(setting.streams)]
        except BaseException:  # no thread to be had: those that wait would do so for ever
            start.abort()
            raise
        return sum(stream.result() for stream in running)


def _pass(network: Network, images: np.ndarray, valid: np.ndarray) -> float:
    began = time.perf_counter()
    network.probabilities(images, valid)
    if network.device.type == "cuda":
        torch.cuda.synchronize(network.device)
    elif network.device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter() - began


def streams_and_threads(device: torch.device, cores: int) -> list[tuple[int, int]]:
    """List streams and threads of each, from many streams of one thread to one of all.

    A GPU has two, so that it computes one batch while the other one is copied to it, or one where memory is short.
    """
    if device.type != "cpu":
        return [(2, max(1, cores // 2)), (1, cores)]
    threads = [1]
    while threads[-1] * 4 < cores:
        threads.append(threads[-1] * 4)
    return [(cores // count, count) for count in dict.fromkeys((*threads, cores))]


def _windows(largest: int | None) -> tuple[int, ...]:
    sensible = tuple(w for w in WINDOWS if largest is None or w <= largest)
    return sensible or (max(SMALLEST_WINDOW, largest or 0),)


def _smaller(window: int | None) -> tuple[int, ...]:
    return () if window else _SMALLER_WINDOWS


def _setting(trial: Trial) -> Setting:
    return Setting(trial.window, trial.batch_size, trial.streams, trial.threads)
