"""Frozen records that cross rooms. Standard library and numpy only, so that every room can afford them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from satseg.fields import FieldError, Fields, shown
from satseg.results import Result, Size
from satseg.results import as_json as as_json

if TYPE_CHECKING:
    from affine import Affine


@dataclass(frozen=True)
class ProgressEvent:
    """How far a piece of work has come.

    Args:
        task: What is being done, as a short phrase.
        done: Units done so far.
        total: Units in all, or None while unknown.
        unit: What is counted: ``px``, ``step``, ``tile``, ``s``.
        note: A few words on the current state (a loss, a score).
    """

    task: str
    done: float
    total: float | None
    unit: str
    note: str = ""


Progress = Callable[[ProgressEvent], None]
"""Callback through which workflows tell how far they are."""


def no_progress(event: ProgressEvent) -> None:
    """Ignore progress: the default where nobody watches."""


_SIZES = {"uint": (8, 16, 32, 64), "int": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = tuple(f"{kind}{bits}" for kind, sizes in _SIZES.items() for bits in sizes)
"""Names of the types of raw values."""


@dataclass(frozen=True)
class BandSpec:
    """What the values of an image mean: a network trained on one spec does not fit another.

    Args:
        names: Band names in channel order; ``band_N`` where the file gives none.
        dtype: Common numpy dtype of the raw values, by name.
        scales: Scale of each band (physical value = scale * raw + offset).
        offsets: Offset of each band.
    """

    names: tuple[str, ...]
    dtype: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]

    @classmethod
    def from_dict(cls, data: Any, name: str = "bands") -> BandSpec:
        """Read what ``dataclasses.asdict`` and JSON made of one.

        Raises:
            FieldError: An entry of it, which is called ``name``, is missing, or holds what it may not.
        """
        fields = Fields(data, name)
        names = fields.texts("names")
        if not names:
            raise FieldError(f"{name}.names is empty")
        return cls(
            names=names,
            dtype=fields.choice("dtype", DTYPES),
            scales=fields.numbers("scales", len(names)),
            offsets=fields.numbers("offsets", len(names)),
        )

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, repr=False)
class SceneInfo(Result):
    """What is known of a georeferenced raster without reading its pixels.

    Args:
        path: Where it was opened from (a path, a URL or a GDAL name).
        width: Columns.
        height: Rows.
        bands: The bands that serve as input, in file order; alpha and mask bands are not among them.
        nodata: Nodata value, or None.
        has_mask: Whether some pixels may be invalid (nodata, alpha, mask band, NaN).
        crs: ``EPSG:...`` or WKT, or None where the raster has none, or is not placed by a geotransform.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        gsd: Ground metres per pixel along x and along y, measured on the ellipsoid at the scene's centre;
            None without a CRS.
        doubt: What seems wrong with the place that its file states, as a phrase that goes on from its name, or None.
    """

    path: str
    width: int
    height: int
    bands: BandSpec
    nodata: float | None
    has_mask: bool
    crs: str | None
    transform: Affine
    gsd: tuple[float, float] | None
    doubt: str | None = None

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.width * self.height


@dataclass(frozen=True)
class BandStatistics:
    """Statistics of the raw values of each band over valid pixels, in float64.

    Args:
        count: Valid pixels.
        mean: Mean of each band.
        std: Standard deviation of each band (population).
        minimum: Smallest value of each band.
        maximum: Largest value of each band.
    """

    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    @classmethod
    def from_dict(cls, data: Any, bands: int, name: str = "statistics") -> BandStatistics:
        """Read what ``dataclasses.asdict`` and JSON made of one for so many bands.

        Raises:
            FieldError: An entry of it, which is called ``name``, is missing, or holds what it may not.
        """
        fields = Fields(data, name)
        minimum, maximum = fields.numbers("minimum", bands), fields.numbers("maximum", bands)
        if any(low > high for low, high in zip(minimum, maximum, strict=True)):
            raise FieldError(f"{name}.minimum is {shown(minimum)}, above the maximum {shown(maximum)}")
        return cls(
            count=fields.whole("count"),
            mean=fields.numbers("mean", bands),
            std=fields.numbers("std", bands, least=0),
            minimum=minimum,
            maximum=maximum,
        )


@dataclass(frozen=True)
class Plan:
    """How a scene is cut for inference. Fixed before the first row; equal plans give equal maps.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        window: Size of every window; beyond the edge of a small scene it is padded by reflection.
        overlap: Rows and columns over which neighbouring windows are blended.
        batch_size: Windows per forward pass.
        row_starts: First rows of the windows, from the top; the last window ends at the edge, or a few pixels beyond.
        column_starts: First columns of the windows, from the left; likewise.
        streams: Batches that run side by side.
        threads: Processor threads of each stream.
    """

    height: int
    width: int
    window: Size
    overlap: Size
    batch_size: int
    row_starts: tuple[int, ...]
    column_starts: tuple[int, ...]
    streams: int = 1
    threads: int = 1

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read what :func:`as_json` and JSON made of one."""
        starts = {name: tuple(data[name]) for name in ("row_starts", "column_starts")}
        sizes = {name: Size(**data[name]) for name in ("window", "overlap")}
        return cls(**{**data, **starts, **sizes})

    @property
    def forwarded(self) -> float:
        """Pixels that go through the network, per pixel of the scene, if every window holds data."""
        windows = len(self.row_starts) * len(self.column_starts)
        return windows * self.window[0] * self.window[1] / (self.height * self.width)


CERTAIN = 254
"""8-bit value of probability 1 in confidences, probabilities and disagreements; 255 is nodata."""


class MapLayer(StrEnum):
    """What a map may hold for each pixel, all uint8 with 255 where not valid.

    ``CLASSES`` are class ids. The others are shares times 254: ``CONFIDENCE`` is the probability of the pixel's class
    (255, too, where a sieve gave the pixel another one than the network), ``PROBABILITIES`` that of every class (one
    band each), ``DISAGREEMENT`` how much overlapping windows differ (half the sum over the classes of the difference
    between their probabilities; 0 outside overlaps).
    """

    CLASSES = "classes"
    CONFIDENCE = "confidence"
    PROBABILITIES = "probabilities"
    DISAGREEMENT = "disagreement"


@dataclass(frozen=True, eq=False)
class Rows:
    """A finished strip of a class map: full rows, in order from the top.

    Args:
        offset: Row of the scene where the strip begins.
        classes: (H, W) uint8 class ids, 255 where not valid.
        confidence: (H, W) uint8, probability of the class times 254, 255 where not valid; None where not asked for.
    """

    offset: int
    classes: np.ndarray
    confidence: np.ndarray | None = None


@dataclass(frozen=True, repr=False)
class ClassScore(Result):
    """Scores of one class, each in 0..1 and NaN where it is not defined or was not measured.

    Args:
        name: Class.
        iou: Pixels that are the class in labels and map, per pixel that is it in either.
        f1: Harmonic mean of precision and recall.
        precision: Right share of the map's pixels of the class.
        recall: Found share of the labels' pixels of the class.
        pixels: Pixels of the class in the labels.
        boundary_f1: Harmonic mean of the two below, over all tiles or blocks together.
        boundary_precision: Share of the map's boundary pixels that lie within the tolerance of a labelled boundary.
        boundary_recall: Share of the labels' boundary pixels that lie within the tolerance of a boundary of the map.
        boundary_iou: IoU of the bands along the inner side of the boundaries (Cheng et al., 2021).
        object_f1: Harmonic mean of the two below.
        object_precision: Share of the map's objects that match one of the labels: IoU over 0.5.
        object_recall: Share of the labels' objects that are matched.
        label_objects: Objects in the labels.
        map_objects: Objects in the map.
        intervals: Confidence interval (low, high) by the name of the score; None where the class is in one tile or
            block only.
    """

    name: str
    iou: float
    f1: float
    precision: float
    recall: float
    pixels: int
    boundary_f1: float = math.nan
    boundary_precision: float = math.nan
    boundary_recall: float = math.nan
    boundary_iou: float = math.nan
    object_f1: float = math.nan
    object_precision: float = math.nan
    object_recall: float = math.nan
    label_objects: int = 0
    map_objects: int = 0
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class PlaceScore(Result):
    """Scores of one tile, or of one block of a scene.

    Args:
        name: Tile, or scene with the block's first row and column.
        row: First row in its scene.
        col: First column in its scene.
        height: Rows.
        width: Columns.
        pixels: Pixels compared.
        accuracy: Share of them whose class is right.
        mean_iou: Mean IoU over the classes present in its labels.
        iou: IoU of each class, NaN where it is in neither.
        loss: Mean cross-entropy of the network in nats; NaN where there is no network.
    """

    name: str
    row: int
    col: int
    height: int
    width: int
    pixels: int
    accuracy: float
    mean_iou: float
    iou: tuple[float, ...]
    loss: float = math.nan


@dataclass(frozen=True, repr=False)
class EvaluationReport(Result):
    """How well a map agrees with its labels, over all pixels that are not ignored; NaN where it was not measured.

    Args:
        pixels: Pixels compared: those that have a class in the labels and in the map.
        global_accuracy: Share of the labelled pixels whose class is right.
        class_average_accuracy: Mean recall over the classes present in the labels.
        mean_iou: Mean IoU over the classes present in the labels.
        frequency_weighted_iou: IoU weighted by each class's share of the labels.
        classes: Scores per class.
        confusion: (K, K) nested tuples of pixel counts; row: label, column: prediction.
        kappa: Cohen's kappa: agreement beyond chance, at most 1.
        boundary_f1: Mean boundary F1 over the classes present in the labels.
        bf: Boundary F1 as in the SegNet paper: averaged over the classes of each tile or block, then over those.
        boundary_iou: Mean boundary IoU over the classes present in the labels.
        object_f1: Mean object F1 over the classes other than background that have objects in the labels.
        left_out: Labelled pixels for which the map has no class (its nodata); they count as missed. Where polygons are
            the labels, those are the pixels in polygons: around them background is but implied.
        unlabelled: Pixels of the map, where it was to be scored, of which no label says anything; they are ignored.
        intervals: Confidence interval (low, high) by the name of the score; None where there is one tile or block
            only.
        settings: What was measured and how, such as ``boundary_tolerance`` and the units of ``bootstrap``.
        worst: Tiles or blocks with the lowest mean IoU, the worst first.
    """

    pixels: int
    global_accuracy: float
    class_average_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    kappa: float = math.nan
    boundary_f1: float = math.nan
    bf: float = math.nan
    boundary_iou: float = math.nan
    object_f1: float = math.nan
    left_out: int = 0
    unlabelled: int = 0
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    settings: Mapping[str, str | float] = field(default_factory=dict)
    worst: tuple[PlaceScore, ...] = ()


@dataclass(frozen=True, repr=False)
class TileSummary(Result):
    """What ``satseg tile`` wrote.

    Args:
        path: Folder of the tile set.
        scenes: Scenes that were cut.
        tiles: Tiles per split.
        pixels: Labelled pixels per split and class name.
        skipped: Tiles left out because no pixel was valid and labelled.
        repaired: Label geometries that were invalid and were repaired.
        dropped: Label geometries that could not be used (empty, null, not a polygon).
        kept_apart: Tiles left out because they overlap tiles of another split, or come too near to them.
        overlapping: Tiles that overlap a tile of another split, as counted at the end.
        unplaced: Scenes that could not be compared with others, since nobody knows where they lie.
        shares: Share of the labelled area by split; nothing where tiles were added to others.
        size: Side of a tile in pixels.
        block: Side of the blocks that were dealt to the splits; None where whole scenes or regions were.
        finished_before: Whether it was there already, and nothing was left to do.
    """

    path: str
    scenes: int
    tiles: dict[str, int]
    pixels: dict[str, dict[str, int]]
    skipped: int
    repaired: int
    dropped: int
    kept_apart: int = 0
    overlapping: int = 0
    unplaced: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    size: int = 0
    block: int | None = None
    finished_before: bool = field(default=False, compare=False)


@dataclass(frozen=True, repr=False)
class TrainingSummary(Result):
    """How a training run ended.

    Args:
        path: Folder of the run.
        arch: Network.
        best: Checkpoint with the best validation mIoU.
        last: Checkpoint of the last step.
        steps: Optimiser updates done in all.
        epochs: Passes over the data, as a fraction.
        seconds: Time spent in training and validation, resumed parts included.
        loss: Mean training loss since the last validation.
        validation: Report of the best checkpoint on the validation split.
        finished_before: Whether the run was finished already, and nothing was left to do.
    """

    path: str
    arch: str
    best: str
    last: str
    steps: int
    epochs: float
    seconds: float
    loss: float
    validation: EvaluationReport
    finished_before: bool = field(default=False, compare=False)


@dataclass(frozen=True, repr=False)
class VectorSummary(Result):
    """What a tracer emitted.

    Args:
        paths: Files written.
        polygons: Polygons per class name.
        vertices: Vertices in all, closing points included.
        area_m2: Area per class name on the ellipsoid; NaN where the raster has no CRS.
        specks: Regions that were too small to become polygons.
        holes: Holes that were small enough to be filled.
    """

    paths: tuple[str, ...]
    polygons: dict[str, int]
    vertices: int
    area_m2: dict[str, float]
    specks: int
    holes: int


@dataclass(frozen=True, repr=False)
class PredictionSummary(Result):
    """What ``satseg predict`` did with one scene.

    Args:
        scene: Where the scene came from.
        outputs: Files written.
        pixels: Pixels per class name; ``nodata`` counts those that were not valid (``no data`` where a class is named
            ``nodata``).
        polygons: Polygons per class name, or None where no vector file was asked for.
        specks: Regions that were too small to become polygons, or None as before.
        holes: Holes in polygons that were small enough to be filled, or None as before.
        seconds: From opened scene to closed files.
        forwarded: Pixels that go through the network, per pixel of the scene.
        plan: How the scene was cut.
        stages: Seconds by stage: read, transfer, forward, blend, write, trace, and idle, in which the network waited.
            Stages run side by side, so they may add up to more than the seconds that passed.
        shares: The same as shares of their sum.
        peak_memory: Most bytes that this process has held so far.
    """

    scene: str
    outputs: tuple[str, ...]
    pixels: dict[str, int]
    polygons: dict[str, int] | None
    specks: int | None
    holes: int | None
    seconds: float
    forwarded: float
    plan: Plan
    stages: dict[str, float]
    shares: dict[str, float]
    peak_memory: int


@dataclass(frozen=True, repr=False)
class FinishedMap(Result):
    """A map that ``satseg predict --resume`` found finished, so that there was nothing to do.

    Args:
        scene: Where the scene comes from.
        outputs: Its files.
        finished: That it is.
    """

    scene: str
    outputs: tuple[str, ...]
    finished: bool = True


@dataclass(frozen=True, repr=False)
class DryRun(Result):
    """What ``satseg predict --dry-run`` expects of one scene.

    Args:
        scene: Where the scene comes from.
        width: Columns of the scene.
        height: Rows of the scene.
        plan: How it will be cut.
        windows: Windows in all.
        forwarded: Pixels that go through the network, per pixel of the scene.
        network_bytes: Memory that forward passes take, by estimate.
        row_bytes: Memory that rows of the scene and of the map take at most.
        work_bytes: Disk that the map takes while it is made.
        output_bytes: Size of all outputs, extrapolated from the middle of the scene.
        seconds: Time that the network will need, after a short probe.
    """

    scene: str
    width: int
    height: int
    plan: Plan
    windows: int
    forwarded: float
    network_bytes: int
    row_bytes: int
    work_bytes: int
    output_bytes: int
    seconds: float
