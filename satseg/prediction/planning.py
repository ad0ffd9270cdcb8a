"""Choose how scenes are cut and run: by what was asked for, by what the network sees, and by trying."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from satseg.backend.device import available_cores
from satseg.inference.network import Network
from satseg.inference.plan import LARGEST_SHARE, SMALLEST_WINDOW, fit_window, make_plan, wanted_overlap
from satseg.inference.receptive_field import effective_receptive_field
from satseg.inference.tuning import Tuning, tune
from satseg.prediction.settings import PredictionSettings
from satseg.records import Plan, SceneInfo

log = logging.getLogger("satseg")

_WINDOW = 512
_BATCH_PIXELS = {"cpu": 512**2, "cuda": 16 * 512**2}  # measured to be fast; what is larger leaves a processor's caches
_MOST_STREAMS = 8
_NETWORK_SHARE = 0.75  # of the memory that was asked for; rows have the rest


class Planner:
    """Make plans for scenes, measuring a network once for all of them.

    Args:
        network: What will run, at the pixel size of its training.
        settings: What was asked for.
        tile_size: Side of the training tiles: the window of networks that see the whole window. None if unknown.
        cores: Processor cores where it will run; None is what the settings allow here.
        ask: Has the network measured where it will run: calls a function with it. None is here.
    """

    def __init__(
        self,
        network: Network,
        settings: PredictionSettings,
        *,
        tile_size: int | None = None,
        cores: int | None = None,
        ask: Callable[[Callable[[Network], Any]], Any] | None = None,
    ) -> None:
        self._network = network
        self._settings = settings
        self._tile_size = tile_size
        self._cores = cores or settings.threads or available_cores()
        self._ask = ask or (lambda function: function(network))
        self._tunings: dict[str, Tuning] = {}

    def plan(self, info: SceneInfo, network: Network) -> Plan:
        """Cut a scene.

        Args:
            info: The scene.
            network: The network as it looks at this scene, perhaps resampled.

        Raises:
            UsageError: Window, overlap or batch make no sense.
            SatsegError: There is not enough memory for the smallest window.
        """
        side, batch_size, streams, threads = self._way(info)
        if self._settings.overlap == "auto":
            fits = self._network.window is None and not self._sees_all
            sides, overlaps = self._cut(info, network, side, fits=fits)
        else:
            sides = network.views.window(side)
            overlaps = (self._settings.overlap, self._settings.overlap)
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
    def _sees_all(self) -> bool:
        return self._network.global_context and self._tile_size is not None

    def _way(self, info: SceneInfo) -> tuple[int, int, int, int]:
        """Return the window, the batch size, the streams and their threads."""
        window, batch_size = self._fixed_window(), self._settings.batch_size
        limited = self._settings.memory is not None  # only trying tells what a network takes
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
        """Return the window that is asked for or needed, None where it is to be found by trying."""
        if self._network.window is not None:
            return self._network.window
        if self._settings.window == "auto":
            return self._tile_size if self._sees_all else None
        if self._settings.window is not None:
            return self._settings.window
        return self._tile_size if self._sees_all else _WINDOW

    def _tune(self, dtype: str, window: int | None, batch_size: int | None) -> Tuning:
        if dtype not in self._tunings:
            memory = self._settings.memory
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
                "Fastest of %d ways that were tried in %.1f s: windows of %d px, batches of %d, %d streams of %d "
                "threads: %.2f million pixels a second.",
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
                "The network sees %d px around a pixel; windows overlap by %.3f of their side at most.",
                side,
                LARGEST_SHARE,
            )
        return side


def _align(network: Network) -> int:
    """Return what windows should begin at multiples of; pixels that are resampled fall between the cells anyway."""
    return network.stride if network.views.resample == (1.0, 1.0) else 1
