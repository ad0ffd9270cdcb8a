"""Score a network on the tiles of a tile set, or on the very maps that ``predict`` makes of scenes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path

from satseg.backend.cores import available_cores, torch_threads
from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.errors import CheckpointError, OutputError, TileError, UsageError, naming
from satseg.evaluation.accumulator import Place, score_place
from satseg.evaluation.measures import Measures
from satseg.evaluation.object_counts import CountedObjects, area_unit, pixel_area
from satseg.evaluation.objects import Outcome, match_regions
from satseg.evaluation.tally import empty_tally
from satseg.evaluation.tiles import ClassifiedTile, classify_tiles, count_pixels
from satseg.files.atomic_write import locked
from satseg.inference.network import Network
from satseg.objects import ObjectOutputs
from satseg.outputs.writable import check_file
from satseg.prediction.fitting import FittedScene, fit_scene
from satseg.prediction.models import Models
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.predictor import Predictor
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import PredictionSettings
from satseg.presence import INDEX
from satseg.raster.area import AreaOfInterest
from satseg.raster.source import SceneSource
from satseg.records import EvaluationReport, MapLayer, PlaceScore, Progress
from satseg.runs import Run
from satseg.sample import is_of_package
from satseg.tiles.batches import TileReader
from satseg.tiles.scores import write_scores
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.compare import Comparison, map_rows, refuse_layers
from satseg.workflows.compare_polygons import read_objects
from satseg.workflows.label_reading import LabelReading
from satseg.workflows.scored_pairs import refuse_apart, together
from satseg.workflows.tile_objects import TileObjects, match_tile
from satseg.workflows.trained_ground import warn_of_trained_ground
from satseg.workflows.tune_objects import Tuning, tune

log = logging.getLogger("satseg")

_TILES_AT_ONCE = 4


@dataclass(frozen=True)
class NetworkScoring:
    """A network that is to be scored.

    Args:
        predictor: The network, ready for scenes.
        checkpoint: Where it comes from.
        measures: What is measured.
    """

    predictor: Predictor
    checkpoint: Checkpoint
    measures: Measures

    @classmethod
    def open(cls, path: Path, arch: str | None, settings: PredictionSettings, measures: Measures) -> NetworkScoring:
        """Load a checkpoint; ``arch`` names the file and function of a custom architecture.

        Raises:
            CheckpointError: It cannot be used.
            ArchitectureError: The file does not build a network.
        """
        models = Models((str(path),), arch)
        checkpoint = models.checkpoints[0]
        if settings.objects:
            checkpoint.require_objects()
        provenance = Provenance(models.origin, settings.divided_as(checkpoint.card.division))
        return cls(
            Predictor(models.network(settings, objects=settings.objects), provenance, settings, checkpoint),
            checkpoint,
            measures,
        )

    def score_tiles(
        self, data: Sequence[str | Path], split: str, *, rank: bool, progress: Progress
    ) -> EvaluationReport:
        """Score the tiles of a split; with ``rank``, write the scores of the tiles of all splits into the index."""
        tiles = self._open_tiles(data, split)
        folder = tiles.tile_set.path
        if rank:
            check_file(folder / INDEX)
        with locked(*([folder] if rank else [])), self._threads():
            return tiles.evaluate(self.measures, progress, rank=rank)

    def tune_objects(self, data: Sequence[str | Path], split: str, *, progress: Progress) -> Tuning:
        """Find how maps are best divided into objects on the val tiles, and store it in the checkpoint.

        Args:
            data: The tile set.
            split: Split that is to be scored then, which is refused before any work.
            progress: Progress callback.

        Raises:
            UsageError: The checkpoint is the network of the package.
            TileError: There are no such tiles, or they hold no objects.
            OutputError: The checkpoint cannot be written.
        """
        path = self.checkpoint.path.resolve()
        if is_of_package(path):
            raise UsageError(
                "The network of the package stays as it is for all who use it.",
                hint="Tune one of your own, such as one that is trained with `init_from='sample'`, or a copy of the "
                f"file: {path}.",
            )
        if self.checkpoint.card.object_outputs is ObjectOutputs.CENTRES:
            raise UsageError(
                f"The network in {path} finds objects by their centres, which leaves nothing to tune.",
                hint="Leave out `tune_objects`.",
            )
        check_file(path)
        if not os.access(path, os.W_OK):
            raise OutputError(f"The checkpoint {path} may not be written.")
        self._open_tiles(data, split)
        tiles = self._open_tiles(data, "val")
        with locked(path), self._threads():
            found = tiles.tune(progress)
            save_checkpoint(
                path, self.checkpoint.read_weights(), replace(self.checkpoint.card, division=found.division)
            )
        log.info("Stored in %s: %s.", path, found)
        return found

    def _open_tiles(self, data: Sequence[str | Path], split: str) -> TileScoring:
        settings = self.predictor.settings
        return TileScoring.open(
            self.checkpoint,
            self.predictor.network,
            data,
            split,
            settings.batch_size if isinstance(settings.batch_size, int) else _TILES_AT_ONCE,
            settings.polygons if settings.objects else None,
        )

    def score_scenes(
        self,
        scenes: Sequence[str | Path],
        labels: LabelReading,
        aoi: AreaOfInterest | None,
        *,
        progress: Progress,
    ) -> EvaluationReport:
        """Score the maps of scenes, as ``predict`` makes them, where labels and area of interest are."""
        if not scenes:
            raise UsageError("There is no scene to compare with the labels.")
        labels = labels.like(self.checkpoint.card.labels, self.checkpoint.path)
        source = labels.open().among(self.checkpoint.card.classes, extend=True)
        comparison = Comparison.start(source, self.measures, () if aoi is None else (aoi,))
        bands, extra = self.predictor.settings.bands, self.predictor.settings.extra
        sources = [SceneSource.of(scene, bands=bands, extra=extra) for scene in scenes]
        fitted = [fit_scene(source, self.checkpoint) for source in sources]
        infos = [scene.info for scene in fitted]
        if self.predictor.settings.objects:
            refuse_layers(source, infos)
        if labels.paired:
            refuse_apart(source, infos)
        if aoi is None:  # an area of interest may exclude the ground of the training
            warn_of_trained_ground(Run(self.checkpoint.path.parent).tile_set, infos)
        progress_of = together(progress, infos)
        with self._threads():
            for number, scene in enumerate(fitted):
                with naming(scene.source.name):
                    add = self._add_objects if self.predictor.settings.objects else self._add_classes
                    add(comparison, number, scene, alone=len(scenes) == 1, progress=progress_of(number))
        return comparison.report()

    def _add_classes(
        self, comparison: Comparison, number: int, scene: FittedScene, *, alone: bool, progress: Progress
    ) -> None:
        """Compare the classes of a scene with its labels, while they are found."""
        with closing(self.predictor.rows(scene, progress=progress)) as rows:
            comparison.add(number, scene.info, rows, alone=alone)

    def _add_objects(
        self, comparison: Comparison, number: int, scene: FittedScene, *, alone: bool, progress: Progress
    ) -> None:
        """Map a scene that has labels into a temporary folder, and compare classes and objects with these."""
        if comparison.passes_over(scene.info, alone=alone):
            return
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            raster, polygons = Path(folder) / "classes.tif", Path(folder) / "objects.gpkg"
            outputs = OutputPaths(((MapLayer.CLASSES, raster),), (polygons,))
            self.predictor.predict(scene.source, outputs, passing=True, progress=progress)
            mapped = read_objects(polygons).among(comparison.source.classes, extend=True)
            with map_rows(raster, comparison.source.classes) as rows:
                comparison.add(number, scene.info, rows, mapped, alone=alone)

    def _threads(self) -> AbstractContextManager[None]:
        return torch_threads(self.predictor.settings.threads or available_cores())


@dataclass(frozen=True)
class TileScoring:
    """A tile set that a network is scored on.

    Args:
        checkpoint: Where the network comes from.
        network: What classifies.
        tile_set: The tiles.
        split: Split that is scored.
        batch_size: Tiles per forward pass.
        polygons: How maps are divided into objects; None compares regions.
    """

    checkpoint: Checkpoint
    network: Network
    tile_set: TileSet
    split: str
    batch_size: int
    polygons: PolygonSettings | None = None

    @classmethod
    def open(
        cls,
        checkpoint: Checkpoint,
        network: Network,
        data: Sequence[str | Path],
        split: str,
        batch_size: int,
        polygons: PolygonSettings | None = None,
    ) -> TileScoring:
        """Open the tile set and check that network and tiles fit each other."""
        if len(data) > 1:
            raise UsageError(f"{len(data)} tile sets are named; score one at a time.", hint="For scenes, add `labels`.")
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}; tile sets have {', '.join(SPLITS)}.")
        if data and Path(data[0]).is_file():
            raise UsageError(f"{data[0]} is not the folder of a tile set.", hint="For a scene, add `labels`.")
        tile_set = TileSet.open(data[0] if data else "tiles")
        if not tile_set.tiles(split):
            filled = [f"{name} ({count:,} tiles)" for name in SPLITS if (count := len(tile_set.tiles(name)))]
            raise TileError(
                f"The split {split} of {tile_set.path} is empty.",
                hint=f"Choose another `split`: {', '.join(filled)}; or tile again (`satseg.tile`), with more "
                "scenes or without `size` and `block`.",
            )
        names = checkpoint.card.classes.names
        if tile_set.classes.names != names:
            raise CheckpointError(
                f"{checkpoint.path} knows the classes {', '.join(names)}, but {tile_set.path} holds "
                f"{', '.join(tile_set.classes.names)}.",
                hint="Name the tile set that it was trained on, or tile with its classes: `satseg.tile`, `class_map`.",
            )
        checkpoint.check_fits(tile_set.bands, tile_set.path)
        if polygons is not None and tile_set.objects is None:
            raise TileError(
                f"The tiles of {tile_set.path} hold no objects.",
                hint="Make them with `objects`, or name a scene and its `labels`.",
            )
        if polygons is not None:
            polygons = polygons.divided_as(checkpoint.card.division_on(tile_set.gsd))
        return cls(checkpoint, network, tile_set, split, batch_size, polygons)

    def evaluate(self, measures: Measures, progress: Progress, *, rank: bool) -> EvaluationReport:
        """Score the tiles of the split; with ``rank``, write the scores of all tiles into the index."""
        classes, side = self.tile_set.classes, self.tile_set.tile_size
        gsd = self.tile_set.gsd
        boundaries, pixel = measures.boundaries(side, gsd), pixel_area(gsd)
        accumulator = measures.accumulator(len(classes))
        places = self._places()
        scores: list[PlaceScore] = []
        for found in self._classify(progress, rank=rank):
            place = places[found.tile.name]
            counts = count_pixels(found.labels, found.classes, len(classes))
            if found.tile.split == self.split:
                tally = empty_tally(len(classes))
                if boundaries is not None:
                    tally += boundaries.count(found.labels, found.classes, len(classes))
                    accumulator.add_objects(place.unit, CountedObjects.of(self._match(found), pixel))
                scores.append(accumulator.add(place, counts, tally, loss=found.loss))
            else:
                scores.append(score_place(place, counts, loss=found.loss))
        if rank:
            self._write(scores)
        if not accumulator.counts.any():
            raise TileError(
                f"No pixel was compared: the tiles of the split {self.split} of {self.tile_set.path} hold no label."
            )
        unit = "block of tiles" if "block" in self.tile_set.index else "tile"
        return accumulator.report(classes.names, measures.record(unit, side, areas=area_unit(gsd)))

    def tune(self, progress: Progress) -> Tuning:
        """Find how the tiles of the split are best divided into objects."""
        places = self._places()
        tiles = self._classify(progress, rank=False)
        found = ((places[tile.tile.name].unit, tile) for tile in tiles)
        return tune(found, self.tile_set.classes, self.tile_set.gsd, self.polygons or PolygonSettings())

    def _match(self, found: ClassifiedTile) -> Outcome:
        """Match the objects of a tile, or its regions if the network was not asked for objects."""
        classes = self.tile_set.classes
        if self.polygons is None:
            return match_regions(found.labels, found.classes, classes.background)
        smallest = self.polygons.in_pixels(self.tile_set.gsd, ids=False).min_area
        mapped = TileObjects.of_network(found, classes, self.polygons.marker_depth).without_small(smallest)
        return match_tile(found, TileObjects.of_labels(found, classes), mapped, classes.background)

    def _classify(self, progress: Progress, *, rank: bool) -> Iterable[ClassifiedTile]:
        tiles = [tile for name in SPLITS if rank or name == self.split for tile in self.tile_set.tiles(name)]
        reader = TileReader(self.tile_set.tile_size, cache_bytes=0, values=self.network.values)
        return classify_tiles(
            self.network.probabilities,
            tiles,
            reader,
            num_classes=len(self.tile_set.classes),
            batch_size=self.batch_size,
            with_loss=True,
            progress=progress,
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
