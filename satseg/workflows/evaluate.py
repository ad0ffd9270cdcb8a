"""Say how well a network, or a map, agrees with labels."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch

from satseg.backend import run_own_file
from satseg.backend.device import available_cores, select_device, select_precision
from satseg.checkpoint import Checkpoint
from satseg.classes import MAX_CLASSES, ClassTable
from satseg.errors import CheckpointError, TileError, UsageError
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.evaluation.maps import count_rows, read_rows
from satseg.evaluation.tiles import score_tiles
from satseg.inference.network import Network
from satseg.inference.pipeline import Conditions, predict_rows
from satseg.inference.plan import make_plan
from satseg.raster.gdal import gdal_environment
from satseg.raster.labels import open_labels
from satseg.raster.scene import Scene
from satseg.raster.writer import read_class_table
from satseg.records import EvaluationReport, Progress, Rows, no_progress
from satseg.runs import Run
from satseg.tiles.batches import TileReader
from satseg.tiles.layout import SPLITS
from satseg.tiles.tileset import TileSet


def evaluate(
    subject: str | Path,
    data: Sequence[str | Path] = (),
    *,
    labels: str | Path | None = None,
    class_field: str | None = None,
    split: str = "test",
    arch: str | None = None,
    window: int = 512,
    overlap: int | None = None,
    batch_size: int = 4,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Compare a network or a class map with labels, pixel by pixel.

    Three things can be asked, and none of them holds more than some strips or tiles in memory:

    - a checkpoint and a tile set: the tiles of one split, as they lie on disk;
    - a checkpoint, scenes and labels: the scenes as ``predict`` maps them, blended windows and all;
    - a class raster and labels.

    Args:
        subject: Checkpoint, folder of a training run (its best checkpoint), or class raster.
        data: One folder of a tile set, ``tiles`` if empty; with ``labels``, one or more scenes. Empty for a class
            raster.
        labels: Vector features in any CRS, or a class raster on any grid.
        class_field: Attribute that names the class of each feature; without it all features are one class.
        split: Split of the tile set.
        arch: ``path/to/file.py:function`` of a checkpoint that was trained with such a network; this runs the file.
        window: Side of a window in pixels, on scenes.
        overlap: Pixels over which neighbouring windows are blended, on scenes; None is an eighth of the window.
        batch_size: Tiles or windows per forward pass.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads; None is all that the process may use.
        progress: Told how far it is.

    Returns:
        The report, over all pixels that are valid and labelled.

    Raises:
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or its bands or classes are not those of the data.
        TileError: The tile set cannot be read, or the split is empty.
        SceneError: A raster cannot be read.
        LabelError: The labels cannot be read, or hold a class that the map does not know.
        UsageError: Arguments contradict each other.
    """
    checkpoint = _find_checkpoint(Path(subject))
    if checkpoint is None:
        if data or labels is None:
            raise UsageError(
                f"{subject} is no checkpoint; a class raster is compared with labels, and with nothing else.",
                hint="Name them: satseg evaluate classes.tif --labels FILE",
            )
        with gdal_environment():
            return _evaluate_raster(subject, labels, class_field, progress)
    torch.set_num_threads(threads or available_cores())
    where = select_device(device)
    builder = run_own_file(arch) if arch else None
    network = Network.from_checkpoint(
        checkpoint, device=where, precision=select_precision(precision, where), builder=builder
    )
    with gdal_environment():
        if labels is None:
            return _evaluate_tiles(checkpoint, network, data, split, batch_size, progress)
        mapping = _Mapping(checkpoint, network, window=window, overlap=overlap, batch_size=batch_size)
        return _evaluate_scenes(mapping, data, labels, class_field, progress)


def _find_checkpoint(subject: Path) -> Checkpoint | None:
    """Open the subject as a checkpoint; None where it must be a raster."""
    if subject.suffix == ".safetensors":
        return Checkpoint.load(subject)
    run = Run(subject)
    return Checkpoint.load(run.best) if run.best.exists() else None


def _evaluate_tiles(
    checkpoint: Checkpoint,
    network: Network,
    data: Sequence[str | Path],
    split: str,
    batch_size: int,
    progress: Progress,
) -> EvaluationReport:
    if len(data) > 1:
        raise UsageError(f"{len(data)} tile sets were given; one at a time.", hint="For scenes, add --labels FILE.")
    tile_set = TileSet.open(data[0] if data else "tiles")
    tiles = tile_set.tiles(split)
    if not tiles:
        counts = ", ".join(f"{name}: {len(tile_set.tiles(name))}" for name in SPLITS)
        raise TileError(f"The split {split} of {tile_set.path} is empty.", hint=f"Tiles by split: {counts}.")
    names = checkpoint.card.classes.names
    if tile_set.classes.names != names:
        raise CheckpointError(
            f"{checkpoint.path} knows the classes {', '.join(names)}, but {tile_set.path} holds "
            f"{', '.join(tile_set.classes.names)}."
        )
    checkpoint.check_fits(tile_set.bands, tile_set.path)
    reader = TileReader(tile_set.tile_size, cache_bytes=0)
    return score_tiles(network.probabilities, tiles, reader, names=names, batch_size=batch_size, progress=progress)


@dataclass(frozen=True)
class _Mapping:
    """How scenes are mapped before they are compared."""

    checkpoint: Checkpoint
    network: Network
    window: int
    overlap: int | None
    batch_size: int

    def rows(self, scene: Scene, progress: Progress) -> Generator[Rows, None, None]:
        """Map a scene as ``predict`` does."""
        self.checkpoint.check_fits(scene.info.bands, scene.info.path)
        plan = make_plan(
            scene.info.height,
            scene.info.width,
            window=self.network.window or self.window,
            overlap=self.overlap,
            batch_size=self.batch_size,
        )
        conditions = Conditions(scratch=Path(tempfile.gettempdir()))
        return predict_rows(lambda: Scene.open(scene.info.path), self.network, plan, conditions, progress=progress)


def _evaluate_scenes(
    mapping: _Mapping,
    scenes: Sequence[str | Path],
    labels: str | Path,
    class_field: str | None,
    progress: Progress,
) -> EvaluationReport:
    if not scenes:
        raise UsageError("There is no scene to compare with the labels.")
    classes = mapping.checkpoint.card.classes
    source = open_labels(labels, class_field=class_field, classes=classes)
    confusion = ConfusionMatrix(len(classes))
    for name in scenes:
        with (
            Scene.open(name) as scene,
            closing(source.on(scene.info)) as on_grid,
            closing(mapping.rows(scene, progress)) as rows,
        ):
            count_rows(confusion, rows, on_grid)
    return score(confusion.counts, classes.names)


def _evaluate_raster(
    path: str | Path, labels: str | Path, class_field: str | None, progress: Progress
) -> EvaluationReport:
    with Scene.open(path, expand_palette=False) as raster:
        with rasterio.open(path) as dataset:
            stored = read_class_table(dataset)
        source = open_labels(labels, class_field=class_field, classes=stored)
        if stored is None and source.only_rasters:  # ids as they are, not numbered anew
            source = open_labels(labels, classes=ClassTable.from_names(f"class {i}" for i in range(MAX_CLASSES)))
        confusion = ConfusionMatrix(len(source.classes))
        with closing(source.on(raster.info)) as on_grid:
            count_rows(confusion, read_rows(raster, progress=progress), on_grid)
    if stored is None and source.only_rasters:
        return score(*_used_classes(confusion.counts, source.classes.names))
    return score(confusion.counts, source.classes.names)


def _used_classes(counts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Leave out the classes that neither labels nor map hold."""
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    return counts[np.ix_(used, used)], [names[i] for i in used.tolist()]
