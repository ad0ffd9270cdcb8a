"""What users can ask of a prediction, in one record that the command line, the library and other machines share."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from satseg.arguments import (
    Bands,
    Given,
    Numbers,
    PathLike,
    Thresholds,
    band_names,
    byte_size,
    join_names,
    numbers,
    path,
    thresholds,
)
from satseg.errors import UsageError
from satseg.inference.plan import SMALLEST_WINDOW
from satseg.inference.reading import DEFAULT_BUDGET
from satseg.signatures import check_fields, options
from satseg.vectorization.settings import PolygonSettings


@options
@dataclass(frozen=True)
class PredictionSettings:
    """How scenes are mapped. Plain values, as they are typed; ``dataclasses.asdict`` gives JSON.

    Args:
        window: Side of the windows the network sees, in pixels of its training. ``auto`` tries a few sizes and takes
            the fastest, within seconds. None is 512, or the training tiles' for networks that see the whole window.
        overlap: Pixels of the scene over which neighbouring windows are blended. ``auto`` takes what the network sees
            around a pixel (its effective receptive field), at most 0.139 of the window, and fits windows to the scene.
        batch_size: Windows per forward pass; ``auto`` tries; None is what fits the device.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        compile: Whether the network is compiled first, which pays for large scenes.
        threads: Processor threads in all; None is all that the process may use.
        engine: ``local``, or ``ray`` for all workers of a Ray cluster; see
            :class:`~satseg.inference.ray_engine.RayEngine`.
        devices: Number of workers, one per GPU or group of processor cores; more than one on this machine is Ray, too.
            None is one here, and all there are on a cluster.
        memory: Bytes, or a size such as ``4GB``, that windows (three quarters) and rows (a quarter; more is spilled to
            disk) may take; None keeps 12 MiB of rows, and takes for windows what they need. With it, batches are found
            by trying.
        tta: Test-time augmentation: ``none``, ``flips`` (4 views) or ``d4`` (8 views).
        scales: Sizes at which windows are looked at, averaged.
        threshold: Least probability by class: ``{"building": 0.7}``, or ``building=0.7``; see
            :class:`~satseg.inference.decision.Decision`.
        crf: Whether a dense CRF refines the probabilities in a second pass (:mod:`~satseg.inference.crf`).
        sieve: Regions of fewer pixels dissolve into a neighbour in the class raster; None keeps all. What the network
            said was of the class that a pixel had, so one that gets another class has no confidence: nodata in the
            confidence raster, and not counted in attributes of polygons.
        bands: Bands to read, by number or name; None takes those that the network was trained on.
        gsd: ``model`` resamples a scene whose pixels are over 10 % larger or smaller than the training scenes' while
            the network looks at it; ``scene`` never does.
        aoi: Vector file with polygons to which the map is confined, in any CRS.
        on_read_error: ``fail``, or ``nodata`` for stretches of a scene that cannot be read.
        resume: Whether to continue a map that was interrupted.
        skip_existing: Whether scenes whose outputs are all there are passed over.
        polygons: How the map becomes polygons.
    """

    window: int | Literal["auto"] | None = None
    overlap: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] | None = None
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    threads: int | None = None
    engine: Literal["local", "ray"] = "local"
    devices: int | None = None
    memory: Given[str | int | None, int | None] = Given(byte_size)
    tta: Literal["none", "flips", "d4"] = "none"
    scales: Given[Numbers, tuple[float, ...]] = Given(numbers, (1.0,))
    threshold: Given[Thresholds, tuple[str, ...]] = Given(thresholds, ())
    crf: bool = False
    sieve: int | None = None
    bands: Given[Bands | None, tuple[str, ...] | None] = Given(band_names)
    gsd: Literal["model", "scene"] = "model"
    aoi: Given[PathLike | None, str | None] = Given(path)
    on_read_error: Literal["fail", "nodata"] = "fail"
    resume: bool = False
    skip_existing: bool = False
    polygons: PolygonSettings = field(default_factory=PolygonSettings)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} {getattr(self, name)} is unknown.", hint=f"Choose from {', '.join(choices)}."
                )
        check_fields(self)
        if isinstance(self.window, int) and self.window < SMALLEST_WINDOW:
            raise UsageError(f"A window of {self.window} px is too small; networks take {SMALLEST_WINDOW} px and more.")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise UsageError(f"--{name.replace('_', '-')} is {value}; it starts at {least}.")
        if self.memory is not None and self.memory < 1:
            raise UsageError(f"A memory of {self.memory} bytes is none.")

    @property
    def spreads(self) -> bool:
        """Whether other processes than this one run the network."""
        return self.engine == "ray" or (self.devices or 1) > 1

    @property
    def row_budget(self) -> int:
        """Bytes of rows that are kept in memory."""
        return DEFAULT_BUDGET if self.memory is None else self.memory // 4

    def words(self) -> list[str]:
        """Return what shapes the map and is not at its default, as words of a command line."""
        words: list[str] = []
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in _CIRCUMSTANCES or value == entry.default:
                continue
            option = "--" + entry.name.replace("_", "-")
            if value is True:
                words.append(option)
            elif entry.name == "threshold":
                words += [word for threshold in value for word in (option, threshold)]
            else:
                words += [option, join_names(value) if isinstance(value, tuple) else str(value)]
        return [*words, *self.polygons.words()]

    def deciding(self) -> dict[str, object]:
        """Return the settings that a map's pixels follow from, by name."""
        left_out = {*_CIRCUMSTANCES, "polygons", "sieve"}
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in left_out}


_LEAST = {"batch_size": 1, "threads": 1, "devices": 1, "overlap": 0, "sieve": 0}
_CHOICES = {
    "engine": ("local", "ray"),
    "tta": ("none", "flips", "d4"),
    "gsd": ("model", "scene"),
    "on_read_error": ("fail", "nodata"),
}
# They change how long a map takes, or whether it is made at all, but not the map.
_CIRCUMSTANCES = frozenset({"memory", "engine", "devices", "on_read_error", "resume", "skip_existing", "polygons"})
