"""Choose windows, overlaps and batches: as the user wants them, from the receptive field, or by trying."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal

from satseg.inference.network import Network
from satseg.inference.plan import LARGEST_SHARE, SMALLEST_WINDOW, fit_window, make_plan, wanted_overlap
from satseg.inference.receptive_field import effective_receptive_field
from satseg.inference.tuning import Tuning, tune
from satseg.records import Plan, SceneInfo

log = logging.getLogger("satseg")

_WINDOW = 512
_BATCH_PIXELS = {"cpu": 512**2, "cuda": 16 * 512**2}  # measured to be fast; what is larger leaves a processor's caches
_MOST_STREAMS = 8
_NETWORK_SHARE = 0.75  # of the allowed memory; rows have the rest


class Planner:
    """Make plans for scenes, measuring a network once for all of them.

    Args:
        network: The network at the pixel size of its training.
        window: Side of the windows in pixels of the training. ``auto`` finds it by trying; None is 512, or the side of
            the training tiles for networks with global context. Networks that need one size get it.
        overlap: Pixels over which windows are blended; ``auto`` is the network's effective receptive field, at most
            0.139 of the window, with windows fitted to the scene.
        batch_size: Windows per forward pass; ``auto`` finds it by trying, None is what fits the device.
        memory: Bytes for windows and rows; None sets no limit.
        tile_size: Side of the training tiles; None if unknown.
        cores: Processor cores where the network runs.
        ask: Calls a function with the network where it runs; None calls it in this process.
    """

    def __init__(
        self,
        network: Network,
        *,
        window: int | Literal["auto"] | None = None,
        overlap: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] | None = None,
        memory: int | None = None,
        tile_size: int | None = None,
        cores: int = 1,
        ask: Callable[[Callable[[Network], Any]], Any] | None = None,
    ) -> None:
        self._network = network
        self._window = window
        self._overlap = overlap
        self._batch_size = batch_size
        self._memory = memory
        self._tile_size = tile_size
        self._cores = cores
        self._ask = ask or (lambda function: function(network))
        if network.window is not None and window not in (None, "auto", network.window):
            log.warning(
                "The network takes windows of %d px, the size that it was made for; `window=%s` is left aside.",
                network.window,
                window,
            )
        self._tunings: dict[str, Tuning] = {}

    def plan(self, info: SceneInfo, network: Network) -> Plan:
        """Cut a scene.

        Args:
            info: The scene.
            network: The network fitted to this scene, perhaps resampled.

        Raises:
            UsageError: Window, overlap or batch make no sense.
            SatsegError: There is not enough memory for the smallest window.
        """
        side, batch_size, streams, threads = self._batching(info)
        if self._overlap == "auto":
            fits = self._network.window is None and not self._has_global_context
            sides, overlaps = self._cut(info, network, side, fits=fits)
        else:
            sides = network.views.window(side)
            overlaps = (self._overlap, self._overlap)
        return make_plan(
            info.height,
            info.width,
            window=sides,
            overlap=overlaps,
            batch_size=batch_size,
            streams=streams,
            threads=threads,
            align=_align(network),
        )

    @property
    def _has_global_context(self) -> bool:
        return self._network.global_context and self._tile_size is not None

    def _batching(self, info: SceneInfo) -> tuple[int, int, int, int]:
        """Return the window, the batch size, the streams and their threads."""
        window, batch_size = self._fixed_window(), self._batch_size
        limited = self._memory is not None  # how much a network takes is found by trying
        if window is None or batch_size == "auto" or limited:
            found = self._tune(info.bands.dtype, window, batch_size if isinstance(batch_size, int) else None)
            return found.window, found.batch_size, found.streams, found.threads
        if batch_size is None:
            kind = "cpu" if self._network.device.type == "cpu" else "cuda"
            batch_size = max(1, _BATCH_PIXELS[kind] // window**2)
        # On a processor, threads that run a batch each do not wait for one another at every layer.
        streams = min(self._cores, _MOST_STREAMS) if self._network.device.type == "cpu" else 2
        return window, batch_size, streams, max(1, self._cores // streams)

    def _fixed_window(self) -> int | None:
        """Return the window, None where it is to be found by trying."""
        if self._network.window is not None:
            return self._network.window
        if self._window == "auto":
            return self._tile_size if self._has_global_context else None
        if self._window is not None:
            return self._window
        return self._tile_size if self._has_global_context else _WINDOW

    def _tune(self, dtype: str, window: int | None, batch_size: int | None) -> Tuning:
        if dtype not in self._tunings:
            memory = self._memory
            measure = partial(
                tune,
                dtype=dtype,
                overlap=partial(wanted_overlap, receptive_field=self._receptive_field),
                window=window,
                batch_size=batch_size,
                cores=self._cores,
                memory=None if memory is None else int(memory * _NETWORK_SHARE),
            )
            found: Tuning = self._ask(measure)
            log.info(
                "Fastest of %d settings tried in %.1f s: windows of %d px, batches of %d, %d streams of %d "
                "threads: %.2f million pixels per second.",
                len(found.tried),
                found.seconds,
                found.window,
                found.batch_size,
                found.streams,
                found.threads,
                found.pixels_per_second / 1e6,
            )
            self._tunings[dtype] = found
        return self._tunings[dtype]

    def _cut(
        self, info: SceneInfo, network: Network, side: int, *, fits: bool
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return windows and overlaps along rows and columns, in pixels of the scene."""
        seen = None if self._receptive_field is None else network.views.span(self._receptive_field)
        sides, overlaps = [], []
        for axis, (length, window) in enumerate(
            zip((info.height, info.width), network.views.window(side), strict=True)
        ):
            overlap = wanted_overlap(window, None if seen is None else seen[axis])
            window, overlap = fit_window(length, window, overlap, align=_align(network), resize=fits)
            sides.append(max(window, SMALLEST_WINDOW))
            overlaps.append(overlap)
        return (sides[0], sides[1]), (overlaps[0], overlaps[1])

    @cached_property
    def _receptive_field(self) -> int | None:
        """What the network sees around a pixel, in pixels of the training."""
        if self._network.global_context:
            return None
        side: int | None = self._ask(effective_receptive_field)
        window = self._fixed_window()
        if side is not None and window is not None and side > LARGEST_SHARE * window:
            log.info(
                "The network sees %d px around a pixel; windows overlap by at most a seventh of their side.",
                side,
            )
        return side


def _align(network: Network) -> int:
    """Return what windows should begin at multiples of; pixels that are resampled fall between the cells anyway."""
    return network.stride if network.views.resample == (1.0, 1.0) else 1
