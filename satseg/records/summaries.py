"""Results of the commands: tile, train, predict and vectorize."""

from __future__ import annotations

from dataclasses import dataclass, field

from satseg.records.maps import Plan
from satseg.records.scores import EvaluationReport
from satseg.results import Result


@dataclass(frozen=True, repr=False)
class ObjectWidths(Result):
    """Widths of the labelled objects of a class, in pixels of the tiles.

    Args:
        measured: Number of objects that were measured, a sample where there are very many.
        median: Median width.
        narrow: Width that a tenth of the objects do not reach.
        share: Share of the class in the labelled pixels of the scenes.
    """

    measured: int
    median: float
    narrow: float
    share: float


@dataclass(frozen=True, repr=False)
class TileSummary(Result):
    """Result of ``satseg tile``.

    Args:
        path: Folder of the tile set.
        scenes: Number of scenes.
        tiles: Tiles per split.
        pixels: Labelled pixels per split and class name.
        skipped: Tiles left out because they have no valid, labelled pixel.
        repaired: Label geometries that were invalid and were repaired.
        dropped: Label geometries that could not be used (empty, null, not a polygon).
        kept_apart: Tiles left out because they overlap tiles of another split, or are too close to them.
        overlapping: Tiles that overlap a tile of another split, counted at the end.
        unplaced: Scenes whose overlap with others is unknown because they are not georeferenced.
        shares: Share of the labelled area by split; empty if tiles were appended.
        size: Side of a tile in pixels.
        block: Side of the blocks assigned to splits; None if whole scenes or regions were assigned.
        objects: Widths of the labelled objects by class; empty if the tile set was complete already.
        finished_before: Whether the tile set was complete already.
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
    objects: dict[str, ObjectWidths] = field(default_factory=dict, compare=False)
    finished_before: bool = field(default=False, compare=False)


@dataclass(frozen=True, repr=False)
class TrainingSummary(Result):
    """Result of ``satseg train``.

    Args:
        path: Folder of the run.
        arch: Network.
        best: Checkpoint with the best validation mIoU.
        last: Checkpoint of the last step.
        steps: Optimiser updates in all.
        epochs: Passes over the data, as a fraction.
        seconds: Time of training and validation, including resumed parts.
        loss: Mean training loss since the last validation.
        lr: Peak learning rate.
        validation: Report of the best checkpoint on the validation split.
        weights: Which weights the best checkpoint holds: those of a step, their moving average, or the average of the
            last validations.
        only_class: The one class that this checkpoint predicts there, where several are labelled; None if it predicts
            more.
        finished_before: Whether the run was finished already.
    """

    path: str
    arch: str
    best: str
    last: str
    steps: int
    epochs: float
    seconds: float
    loss: float
    lr: float
    validation: EvaluationReport
    weights: str
    only_class: str | None = None
    finished_before: bool = field(default=False, compare=False)


@dataclass(frozen=True, repr=False)
class VectorSummary(Result):
    """Result of ``satseg vectorize``.

    Args:
        paths: Files written.
        polygons: Polygons per class name.
        vertices: Vertices in all, including closing points.
        area_m2: Area per class name on the ellipsoid; NaN if the raster has no CRS.
        specks: Regions dissolved as too small.
        holes: Holes filled.
    """

    paths: tuple[str, ...]
    polygons: dict[str, int]
    vertices: int
    area_m2: dict[str, float]
    specks: int
    holes: int


@dataclass(frozen=True, repr=False)
class PropagationSummary(Result):
    """Result of ``satseg propagate``.

    Args:
        outputs: Files written.
        pixels: Pixels that keep their label, per class name.
        changed: Pixels left out because their ground has changed.
        unknown: Pixels without a label, or that one of the scenes does not show.
        shift: Median displacement of the ground in pixels, to the right and down.
    """

    outputs: tuple[str, ...]
    pixels: dict[str, int]
    changed: int
    unknown: int
    shift: tuple[float, float]


@dataclass(frozen=True, repr=False)
class PredictionSummary(Result):
    """Result of ``satseg predict`` for one scene.

    Args:
        scene: Path or URL of the scene.
        outputs: Files written.
        pixels: Pixels per class name; ``nodata`` counts invalid pixels (``no data`` if a class is named ``nodata``).
        polygons: Polygons per class name, or None without a vector file.
        specks: Regions dissolved as too small, or None without a vector file.
        holes: Holes filled, or None without a vector file.
        seconds: Time from opening the scene to closing the outputs.
        forwarded: Pixels processed by the network per pixel of the scene.
        plan: Division of the scene into windows.
        stages: Seconds by stage: read, transfer, forward, blend, write, trace, and idle, while the network waited.
            Stages run in parallel, so their sum may exceed ``seconds``.
        shares: Shares of that sum by stage.
        peak_memory: Peak memory of this process in bytes.
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
    """A map that was finished before, found by ``predict`` with ``resume=True``.

    Args:
        scene: Path or URL of the scene.
        outputs: Files of the map.
        finished: Always True.
    """

    scene: str
    outputs: tuple[str, ...]
    finished: bool = True


@dataclass(frozen=True, repr=False)
class DryRun(Result):
    """Estimates for one scene, the result of ``predict`` with ``dry_run=True``.

    Args:
        scene: Path or URL of the scene.
        width: Columns of the scene.
        height: Rows of the scene.
        plan: Division of the scene into windows.
        windows: Windows in all.
        forwarded: Pixels processed by the network per pixel of the scene.
        network_bytes: Memory of the forward passes.
        row_bytes: Peak memory of rows of the scene and of the map.
        work_bytes: Disk space of temporary files.
        output_bytes: Size of all outputs, extrapolated from the middle of the scene.
        seconds: Time of the network, extrapolated from a short run.
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
