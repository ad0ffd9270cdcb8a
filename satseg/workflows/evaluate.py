"""Say how well a network, a map or polygons agree with labels."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from satseg.backend import run_own_file
from satseg.backend.device import available_cores, select_device, select_precision
from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError, LabelError, ScoreError, TileError, UsageError
from satseg.evaluation.assessment import Place, score_place
from satseg.evaluation.measures import Measures
from satseg.evaluation.tiles import ClassifiedTile, classify_tiles, count_pixels, tally_tile
from satseg.inference.network import Network
from satseg.inference.pipeline import Conditions, predict_rows
from satseg.inference.plan import make_plan
from satseg.raster.features import VectorLayer
from satseg.raster.gdal import gdal_environment
from satseg.raster.labels import open_labels
from satseg.raster.raster_labels import is_raster
from satseg.raster.scene import Scene
from satseg.records import EvaluationReport, PlaceScore, Progress, Rows, no_progress
from satseg.runs import Run
from satseg.tiles.batches import TileReader
from satseg.tiles.layout import SPLITS
from satseg.tiles.scores import write_scores
from satseg.tiles.tileset import TileSet
from satseg.workflows.compare import Comparison, compare_polygons, compare_raster


def evaluate(
    subject: str | Path,
    data: Sequence[str | Path] = (),
    *,
    labels: str | Path | None = None,
    class_field: str | None = None,
    split: str = "test",
    rank: bool = False,
    gsd: str | None = None,
    boundary_tolerance: str = "0.75%",
    boundary_width: str = "2%",
    pixels_only: bool = False,
    block: int = 512,
    bootstrap: int = 1000,
    seed: int = 0,
    worst: int = 0,
    arch: str | None = None,
    window: int = 512,
    overlap: int | None = None,
    batch_size: int = 4,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Compare a network, a class map or polygons with labels: pixels, boundaries and objects.

    Four things can be asked, and none of them holds more than some strips or tiles in memory:

    - a checkpoint and a tile set: the tiles of one split, as they lie on disk;
    - a checkpoint, scenes and labels: the scenes as ``predict`` maps them, blended windows and all;
    - a class raster and labels;
    - polygons and labels: on the grid of the labels where they are a class raster; on a grid of ``gsd`` where both are
      polygons; without it their objects are matched exactly, and there are no pixels to count.

    Objects are the features where labels or map are polygons, else connected pixels of one class (four neighbours); on
    tiles they end at the tile's edge. They match one to one, where their IoU is over 0.5.

    Args:
        subject: Checkpoint, folder of a training run (its best checkpoint), class raster, or polygons.
        data: One folder of a tile set, ``tiles`` if empty; with ``labels``, one or more scenes. Empty for a map.
        labels: Vector features in any CRS, or a class raster on any grid.
        class_field: Attribute that names the class of each feature; without it all features are one class. Polygons
            that are evaluated may have it in the attribute ``class``, where satseg writes it.
        split: Split of the tile set.
        rank: Write loss, accuracy and IoU of every tile, whatever its split, into the index of the tile set.
        gsd: Ground metres per pixel, such as ``0.5m``, of the grid on which polygons are compared with polygons.
        boundary_tolerance: How far apart two boundaries may lie and still match: ``2px``, ``0.5m``, or per cent of the
            diagonal of a tile or block.
        boundary_width: Width of the bands of the boundary IoU, likewise.
        pixels_only: Measure neither boundaries nor objects.
        block: Side in pixels of the blocks in which scenes are scored.
        bootstrap: Replicates for confidence intervals, which resample blocks of scenes, or of the tile set; 0 for none.
        seed: Number that these follow from.
        worst: How many of the worst tiles or blocks to name.
        arch: ``path/to/file.py:function`` of a checkpoint that was trained with such a network; this runs the file.
        window: Side of a window in pixels, on scenes.
        overlap: Pixels over which neighbouring windows are blended, on scenes; None takes that of ``predict``.
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
        OutputError: The index of the tile set cannot be written.
        UsageError: Arguments contradict each other.
    """
    measures = Measures(boundary_tolerance, boundary_width, pixels_only, block, bootstrap, seed, worst)
    checkpoint = _find_checkpoint(Path(subject))
    if rank and (checkpoint is None or labels is not None):
        raise UsageError("Tiles are ranked by a checkpoint: give one, and a tile set instead of labels.")
    if checkpoint is None:
        if data or labels is None:
            raise UsageError(
                f"{subject} is no checkpoint; a map is compared with labels, and with nothing else.",
                hint="Name them: satseg evaluate classes.tif --labels FILE",
            )
        with gdal_environment():
            return _evaluate_map(str(subject), labels, class_field, gsd, measures, progress)
    if gsd is not None:
        raise UsageError("--gsd is for polygons that are compared with polygons.")
    torch.set_num_threads(threads or available_cores())
    where = select_device(device)
    builder = run_own_file(arch) if arch else None
    network = Network.from_checkpoint(
        checkpoint, device=where, precision=select_precision(precision, where), builder=builder
    )
    with gdal_environment():
        if labels is None:
            return _Tiles.open(checkpoint, network, data, split, batch_size).evaluate(measures, progress, rank=rank)
        mapping = _Mapping(checkpoint, network, window=window, overlap=overlap, batch_size=batch_size)
        return _evaluate_scenes(mapping, data, labels, class_field, measures, progress)


def require_miou(found: EvaluationReport, least: float) -> None:
    """Refuse a report whose mean IoU is below a limit.

    Raises:
        ScoreError: It is, or there was nothing to compare.
    """
    if not found.mean_iou >= least:
        what = f"is {found.mean_iou:.4f}" if found.pixels else "is undefined, since no pixel was compared"
        raise ScoreError(f"The mean IoU {what}; at least {least:g} was asked for.")


def _find_checkpoint(subject: Path) -> Checkpoint | None:
    """Open the subject as a checkpoint; None where it must be a map."""
    if subject.suffix == ".safetensors":
        return Checkpoint.load(subject)
    run = Run(subject)
    return Checkpoint.load(run.best) if run.best.exists() else None


@dataclass(frozen=True)
class _Tiles:
    """A tile set that a network is scored on."""

    checkpoint: Checkpoint
    network: Network
    tile_set: TileSet
    split: str
    batch_size: int

    @classmethod
    def open(
        cls, checkpoint: Checkpoint, network: Network, data: Sequence[str | Path], split: str, batch_size: int
    ) -> _Tiles:
        """Open the tile set and check that network and tiles fit each other."""
        if len(data) > 1:
            raise UsageError(f"{len(data)} tile sets were given; one at a time.", hint="For scenes, add --labels FILE.")
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}; tile sets have {', '.join(SPLITS)}.")
        tile_set = TileSet.open(data[0] if data else "tiles")
        if not tile_set.tiles(split):
            counts = ", ".join(f"{name}: {len(tile_set.tiles(name))}" for name in SPLITS)
            raise TileError(f"The split {split} of {tile_set.path} is empty.", hint=f"Tiles by split: {counts}.")
        names = checkpoint.card.classes.names
        if tile_set.classes.names != names:
            raise CheckpointError(
                f"{checkpoint.path} knows the classes {', '.join(names)}, but {tile_set.path} holds "
                f"{', '.join(tile_set.classes.names)}."
            )
        checkpoint.check_fits(tile_set.bands, tile_set.path)
        return cls(checkpoint, network, tile_set, split, batch_size)

    def evaluate(self, measures: Measures, progress: Progress, *, rank: bool) -> EvaluationReport:
        """Score the tiles of the split; with ``rank``, write the scores of all tiles into the index."""
        classes, side = self.tile_set.classes, self.tile_set.tile_size
        boundaries = measures.boundaries(side, self.tile_set.gsd)
        assessment = measures.assessment(len(classes))
        places = self._places()
        scores: list[PlaceScore] = []
        for found in self._classify(progress, rank=rank):
            place = places[found.tile.name]
            counts = count_pixels(found.labels, found.classes, len(classes))
            if found.tile.split == self.split:
                tally = tally_tile(found, len(classes), background=classes.background, boundaries=boundaries)
                scores.append(assessment.add(place, counts, tally, loss=found.loss))
            else:
                scores.append(score_place(place, counts, loss=found.loss))
        if rank:
            self._write(scores)
        return assessment.report(classes.names, measures.settings("tile", side))

    def _classify(self, progress: Progress, *, rank: bool) -> Iterable[ClassifiedTile]:
        tiles = [tile for name in SPLITS if rank or name == self.split for tile in self.tile_set.tiles(name)]
        reader = TileReader(self.tile_set.tile_size, cache_bytes=0)
        return classify_tiles(
            self.network.probabilities, tiles, reader, batch_size=self.batch_size, with_loss=True, progress=progress
        )

    def _places(self) -> dict[str, Place]:
        """Return where each tile lies; the bootstrap draws the tiles of one block together."""
        index = self.tile_set.index
        scenes = index["scene"].factorize()[0].tolist()
        blocks = index["block"].tolist() if "block" in index else range(len(index))
        columns = (index[name].tolist() for name in ("tile", "row", "col", "height", "width"))
        return {
            name: Place(name, row, col, height, width, (scene, int(block)))
            for name, row, col, height, width, scene, block in zip(*columns, scenes, blocks, strict=True)
        }

    def _write(self, scores: Sequence[PlaceScore]) -> None:
        columns: dict[str, list[float] | list[str]] = {
            "loss": [score.loss for score in scores],
            "accuracy": [score.accuracy for score in scores],
            "mean_iou": [score.mean_iou for score in scores],
        }
        for number, name in enumerate(self.tile_set.classes.names):
            columns[f"iou_{name}"] = [score.iou[number] for score in scores]
        columns["ranked_by"] = [self.checkpoint.digest] * len(scores)
        write_scores(self.tile_set.path, [score.name for score in scores], columns)


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
    measures: Measures,
    progress: Progress,
) -> EvaluationReport:
    if not scenes:
        raise UsageError("There is no scene to compare with the labels.")
    source = open_labels(labels, class_field=class_field, classes=mapping.checkpoint.card.classes)
    comparison = Comparison.start(source, measures)
    for number, name in enumerate(scenes):
        with Scene.open(name) as scene, closing(mapping.rows(scene, progress)) as rows:
            comparison.add(number, scene.info, rows)
    return comparison.report()


def _evaluate_map(
    subject: str, labels: str | Path, class_field: str | None, gsd: str | None, measures: Measures, progress: Progress
) -> EvaluationReport:
    if not is_raster(subject) and _is_vector(subject):
        return compare_polygons(subject, labels, class_field, gsd, measures, progress)
    if gsd is not None:
        raise UsageError("--gsd is for polygons that are compared with polygons.")
    return compare_raster(subject, labels, class_field, measures, progress)


def _is_vector(path: str) -> bool:
    try:
        VectorLayer.open(path)
    except LabelError:
        return False
    return True
