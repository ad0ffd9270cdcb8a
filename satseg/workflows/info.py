"""Describe a file or folder: scene, map, polygons, tile set, checkpoint or training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.checkpoint import ModelCard
from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import LabelError, SceneError, UsageError
from satseg.exported.onnx_checkpoint import OnnxCheckpoint, load_checkpoint
from satseg.files.gdal import gdal_environment
from satseg.files.names import LAYER_SUFFIXES, open_raster
from satseg.geo.vector_layer import VectorLayer
from satseg.mapfile.writer import read_class_table
from satseg.presence import INDEX, is_network
from satseg.raster.scene import Scene
from satseg.raster.windows import block_strips
from satseg.records import BandSpec, BandStatistics, SceneInfo
from satseg.results import Result
from satseg.runs import Run
from satseg.sample import named_network
from satseg.signatures import checked_with
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet

COUNTED_PIXELS = 2**26  # a second or so
_OVERVIEW_SIDE = 4096


@dataclass(frozen=True, repr=False)
class TileSetInfo(Result):
    """Contents of a tile set.

    Args:
        classes: Class table of its labels.
        bands: Names, dtype, scales and offsets of its bands.
        statistics: Band statistics over the valid pixels of the training tiles; None without training tiles.
        gsd: Ground sampling distance along x and y in metres; None without a CRS.
        tile_size: Side length of a tile in pixels.
        scenes: Scenes that the tiles were cut from.
        tiles: Number of tiles by split.
        pixels: Number of labelled pixels by split and class name.
        objects: Whether tiles have instance ids beside their classes.
    """

    classes: ClassTable
    bands: BandSpec
    statistics: BandStatistics | None
    gsd: tuple[float, float] | None
    tile_size: int
    scenes: tuple[str, ...]
    tiles: dict[str, int]
    pixels: dict[str, dict[str, int]]
    objects: bool = False


@dataclass(frozen=True, repr=False)
class CheckpointInfo(Result):
    """Contents of a checkpoint.

    Args:
        card: Metadata of the network.
        digest: SHA-256 of the file, which outputs record as their origin.
        bytes: File size.
        format: ``safetensors``, or ``ONNX`` and what it gives.
    """

    card: ModelCard
    digest: str
    bytes: int
    format: str = "safetensors"


@dataclass(frozen=True, repr=False)
class ClassRasterInfo(Result):
    """Contents of a class raster written by satseg.

    Args:
        scene: Its grid.
        classes: Its class table.
        shares: Fraction of pixels by class name, and of ``nodata``.
        exact: Whether all pixels were counted; otherwise the shares are estimated from an overview.
    """

    scene: SceneInfo
    classes: ClassTable
    shares: dict[str, float]
    exact: bool


@dataclass(frozen=True, repr=False)
class RunInfo(Result):
    """State of a training run.

    Args:
        path: Its folder.
        arch: Name of the network.
        finished: Whether it has finished.
        steps: Training steps at the last validation; 0 before the first one.
        mean_iou: Mean IoU of the last validation; None before the first one.
        settings: Settings of the run.
    """

    path: str
    arch: str
    finished: bool
    steps: int
    mean_iou: float | None
    settings: dict[str, Any]


@dataclass(frozen=True, repr=False)
class FileInfo(Result):
    """Description of a file or folder. The field named by ``kind`` is set; the other ones are None.

    Args:
        path: The file or folder that is described.
        kind: ``scene``, ``classes``, ``polygons``, ``tiles``, ``checkpoint`` or ``run``.
        scene: A raster that GDAL can open.
        classes: A class raster written by satseg.
        polygons: A layer of a vector file.
        tiles: A tile set.
        checkpoint: A checkpoint.
        run: A training run. Also set beside ``checkpoint`` if a run has a best checkpoint, which is described then.
    """

    path: str
    kind: str
    scene: SceneInfo | None = None
    classes: ClassRasterInfo | None = None
    polygons: VectorLayer | None = None
    tiles: TileSetInfo | None = None
    checkpoint: CheckpointInfo | None = None
    run: RunInfo | None = None


@checked_with(path="Describe several files one by one: [satseg.info(name) for name in names].")
def info(path: PathLike) -> FileInfo:
    """Describe a scene, a class raster, polygons, a tile set, a checkpoint or a training run.

    Args:
        path: A raster that GDAL can open, a vector file, the folder of a tile set or of a training run, a checkpoint,
            or an ``.onnx`` file.

    Raises:
        SceneError: The raster cannot be read.
        LabelError: The vector file cannot be read.
        TileError: The tile set cannot be read.
        CheckpointError: The checkpoint cannot be read.
        TrainingError: The training run cannot be read.
        UsageError: The folder is none of these.
    """
    path = file_name(path, "path")
    place = named_network(path)
    if (place / INDEX).is_file():
        return FileInfo(str(path), "tiles", tiles=_describe_tiles(place))
    run = Run(place)
    progress = _describe_run(run) if run.started else None
    if run.best.is_file():
        return FileInfo(str(run.best), "checkpoint", checkpoint=_describe_checkpoint(run.best), run=progress)
    if progress is not None:
        return FileInfo(str(path), "run", run=progress)
    if is_network(place):
        return FileInfo(str(place), "checkpoint", checkpoint=_describe_checkpoint(place))
    with gdal_environment():
        return _describe_file(str(path))


def _describe_tiles(folder: Path) -> TileSetInfo:
    found = TileSet.open(folder)
    trains = bool(((found.index["split"] == "train") & (found.index["weight"] > 0)).any())
    return TileSetInfo(
        classes=found.classes,
        bands=found.bands,
        statistics=found.statistics if trains else None,
        gsd=found.gsd,
        tile_size=found.tile_size,
        scenes=tuple(found.index["scene"].unique()),
        tiles={split: int((found.index["split"] == split).sum()) for split in SPLITS},
        pixels=found.pixels(),
        objects=found.objects is not None,
    )


def _describe_checkpoint(path: Path) -> CheckpointInfo:
    found = load_checkpoint(path)
    kind = found.kind if isinstance(found, OnnxCheckpoint) else "safetensors"
    return CheckpointInfo(card=found.card, digest=found.digest, bytes=path.stat().st_size, format=kind)


def _describe_run(run: Run) -> RunInfo:
    settings = run.read_settings()
    rows = run.log.rows()
    return RunInfo(
        path=str(run.path),
        arch=str(settings.get("arch")),
        finished=run.finished,
        steps=int(rows[-1]["step"]) if rows else 0,
        mean_iou=float(rows[-1].get("miou", "nan")) if rows else None,
        settings=settings,
    )


def _describe_file(path: str) -> FileInfo:
    try:
        return _describe_raster(path)
    except SceneError as error:
        if Path(path).is_dir():
            raise UsageError(
                f"The folder {path} is not a tile set, training run or scene.",
                hint="Pass a file or folder inside it.",
            ) from error
        layer = _open_layer(path)
        if layer is None:
            raise
        return FileInfo(path, "polygons", polygons=layer)


def _open_layer(path: str) -> VectorLayer | None:
    """Open a vector file; return None if the file is more likely a damaged raster."""
    try:
        return VectorLayer.open(path)
    except LabelError:
        if Path(path).exists() and Path(path).suffix.lower() in LAYER_SUFFIXES:
            raise
        return None


def _describe_raster(path: str) -> FileInfo:
    with Scene.open(path, expand_palette=False) as scene:
        with open_raster(path) as dataset:
            table = read_class_table(dataset)
        if table is not None and _counts_classes(scene.info.bands):
            return FileInfo(path, "classes", classes=_count_classes(scene, table))
    with Scene.open(path) as scene:
        return FileInfo(path, "scene", scene=scene.info)


def _counts_classes(bands: BandSpec) -> bool:
    """Tell whether values are class ids: confidence rasters have a class table, too, but also a scale."""
    return len(bands) == 1 and (bands.scales, bands.offsets) == ((1.0,), (0.0,))


def _count_classes(scene: Scene, table: ClassTable) -> ClassRasterInfo:
    info = scene.info
    exact = info.pixels <= COUNTED_PIXELS
    overview = None if exact else scene.read_overview(_OVERVIEW_SIDE)
    pieces = (scene.read(w) for w in block_strips(info, scene.block_shape[0])) if overview is None else [overview]
    counts = np.zeros(256, dtype=np.int64)
    for bands, valid in pieces:
        counts += np.bincount(np.where(valid, bands[0], IGNORE_INDEX).ravel(), minlength=256)[:256]
    shares = dict(zip(table.names, (counts / counts.sum()).tolist(), strict=False))
    return ClassRasterInfo(info, table, {**shares, "nodata": counts[IGNORE_INDEX] / counts.sum()}, overview is None)
