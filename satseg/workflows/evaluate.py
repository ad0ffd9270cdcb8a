"""Score networks, maps and polygons against labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from satseg.arguments import PathLike, Paths, path, paths
from satseg.errors import ClassRasterError, LabelError, ScoreError, TileError, UsageError
from satseg.evaluation.measures import Measures
from satseg.evaluation.settings import EvaluateSettings
from satseg.files.gdal import gdal_environment
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.raster_labels import is_raster
from satseg.labels.settings import LabelSettings
from satseg.presence import is_network, require_subject
from satseg.progress import automatic
from satseg.raster.area import AreaOfInterest
from satseg.records import EvaluationReport, Progress
from satseg.runs import Run
from satseg.sample import named_network
from satseg.settings import options_of
from satseg.signatures import checked
from satseg.workflows.compare import compare_ids, compare_rasters
from satseg.workflows.compare_polygons import compare_polygons
from satseg.workflows.label_reading import LabelReading
from satseg.workflows.scored_pairs import labels_of, pairs_to_score

log = logging.getLogger("satseg")

_GSD_NEEDS_POLYGONS = "`gsd` is only used to compare polygons with polygons."


@checked
def evaluate(
    subject: PathLike | None = None,
    data: Paths = (),
    *,
    labels: Paths | None = None,
    pairs: Paths | None = None,
    settings: EvaluateSettings | None = None,
    progress: Progress = automatic,
) -> EvaluationReport:
    """Compare a network, a class map or polygons with labels: pixels, boundaries and objects.

    Memory holds some rows of a map, or some tiles. There are four kinds of evaluation:

    - a checkpoint and a tile set: the tiles of one split are scored;
    - a checkpoint, scenes and labels: the maps that ``predict`` makes of the scenes by default are scored;
    - a class raster and labels: classes of the same name are compared, or values if neither has names;
    - with ``objects``, a raster of ids and labels of one class: each id is an object;
    - polygons and labels: they are compared on the grid of the labels if those are a class raster, or on a grid of
      ``gsd``; without ``gsd``, objects are matched exactly, and there are no pixels to count.

    Objects are the features if labels or map are polygons, else connected pixels of one class (four neighbours). They
    match one to one if their IoU is over 0.5.

    Checkpoints and their maps remember class field, class map, unlabelled values and ``outside`` of the labels that the
    network was trained on. Settings that are given replace them.

    Only the ground that the map covers is scored: the extent of a scene or raster; for polygons the footprint of their
    maps, which satseg stores in GeoPackages and GeoParquet, else the area of interest, else their bounding box, with a
    warning. Objects outside of it, of a tile, of the labelled area or of the area of interest are not counted; objects
    that cross the edge are compared by their part inside. Unlabelled pixels are ignored and counted.

    Args:
        subject: Checkpoint, ``.onnx`` file, folder of a training run (its best checkpoint), class raster, or polygons.
            None if ``pairs`` names class rasters.
        data: For a checkpoint, the folder of a tile set (default: that of its run, else ``tiles``), or scenes if there
            are ``labels``. Rasters may be open datasets of rasterio, or :class:`satseg.SceneSource`; so may
            ``subject`` and ``labels``.
        labels: Vector features in any CRS, or class rasters on any grid; later ones lie on top.
        pairs: Scenes for a checkpoint, or class rasters, with the labels of each: two folders with equal file names,
            two patterns, or a table, as in :func:`satseg.tile`. Of a table with splits, ``split`` is scored.
        settings: What labels mean, what is measured, and how the network runs.
        progress: Called as pixels or tiles are scored.

    Returns:
        The report on all labelled pixels. Labelled pixels for which the map has no class are counted as missed, unless
        they are background only because no polygon of the labels lies there.

    Raises:
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or its bands or classes are not those of the data.
        TileError: The tile set cannot be read, or the split is empty.
        SceneError: A raster cannot be read.
        AreaError: The area of interest cannot be used, or the map lies outside of it.
        LabelError: The labels cannot be read, labels and map have no class in common, one of them has no names for its
            values, or no pixel is labelled where the map lies.
        OutputError: The index of the tile set cannot be written.
        UsageError: Arguments contradict each other.
    """
    settings = settings or EvaluateSettings()
    subject, data = None if subject is None else path(subject, "subject"), paths(data, "data")
    files = None if labels is None else paths(labels, "labels") or None
    if subject is not None:
        require_subject(subject)
    checkpoint = None if subject is None else _checkpoint_of(named_network(subject))
    if settings.rank and (checkpoint is None or files is not None or pairs is not None):
        raise UsageError("`rank` scores tiles with a checkpoint: pass one, and a tile set instead of labels.")
    if settings.tune_objects and (checkpoint is None or files is not None or pairs is not None):
        raise UsageError("`tune_objects` needs a checkpoint, and a tile set with objects instead of labels.")
    found = None if pairs is None else pairs_to_score(paths(pairs, "pairs"), settings.split)
    _refuse_beside_pairs(subject, checkpoint, data, files, pairs)
    _check_complete(subject, checkpoint, data, files, found is not None)
    named = files if found is None else labels_of(found)
    _refuse_unused(settings, has_labels=named is not None, has_network=checkpoint is not None)
    reading = None if named is None else LabelReading(named, settings, ids=settings.objects)
    measures = Measures(settings)
    with gdal_environment():
        area = None if settings.aoi is None else AreaOfInterest.read(settings.aoi)
        if checkpoint is None:
            assert reading is not None
            if found is not None:
                compare = compare_ids if settings.objects else compare_rasters
                with _explaining_pairs():
                    return compare([pair.scene for pair in found], reading, area, measures, progress)
            assert subject is not None
            return _evaluate_map(subject, reading, settings.resolution, area, measures, progress)
        if reading is None and not data:
            data = _own_tiles(checkpoint)
        # Imported here because maps do not need torch, which is slow to import.
        from satseg.prediction.settings import PredictionSettings
        from satseg.vectorization.settings import PolygonSettings
        from satseg.workflows.score_network import NetworkScoring

        prediction = PredictionSettings(
            window=settings.window,
            overlap=settings.overlap,
            batch_size=settings.batch_size,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
            bands=settings.bands,
            extra=settings.extra,
            objects=settings.objects or settings.tune_objects,
            polygons=PolygonSettings(simplify=0),
        )
        scoring = NetworkScoring.open(checkpoint, settings.arch, prediction, measures)
        if settings.tune_objects:
            scoring.tune_objects(data, settings.split, progress=progress)
            if settings.split == "val":
                log.warning("The scores are optimistic: objects were tuned on the same tiles.")
            scoring = NetworkScoring.open(checkpoint, settings.arch, prediction, measures)
        if reading is None:
            return scoring.score_tiles(data, settings.split, rank=settings.rank, progress=progress)
        scenes = data if found is None else [pair.scene for pair in found]
        return scoring.score_scenes(scenes, reading, area, progress=progress)


def require_miou(report: EvaluationReport, minimum: float) -> None:
    """Refuse a report whose mean IoU is below a minimum.

    Raises:
        ScoreError: It is below, or no pixel was compared.
    """
    if not report.mean_iou >= minimum:
        what = f"is {report.mean_iou:.4f}" if report.pixels else "is undefined, because no pixel was compared"
        raise ScoreError(f"The mean IoU {what}; `min_miou` requires at least {minimum:g}.")


@contextmanager
def _explaining_pairs() -> Iterator[None]:
    """Add a hint to errors about pairs of scenes without a network, which are taken for class rasters."""
    try:
        yield
    except ClassRasterError as error:
        network = "To score a network on scenes, name it first: `satseg.evaluate('RUN', pairs=['SCENES', 'LABELS'])`"
        error.hint = " ".join(filter(None, [error.hint, network]))
        raise


def _refuse_beside_pairs(
    subject: str | None, checkpoint: Path | None, data: Sequence[str], labels: Sequence[str] | None, pairs: Paths | None
) -> None:
    """Refuse other scenes, other labels and other subjects than a network together with pairs."""
    if pairs is None:
        return
    if labels is not None:
        raise UsageError("`labels` and `pairs` exclude each other: pairs name the labels of each scene.")
    if data:
        raise UsageError(
            f"{data[0]} and `pairs` exclude each other: pairs name all scenes or maps.",
            hint="Leave out the files. A network is scored by `satseg.evaluate('RUN', pairs=['SCENES', 'LABELS'])`, "
            "maps by `satseg.evaluate(pairs=['MAPS', 'LABELS'])`",
        )
    if subject is not None and checkpoint is None:
        raise UsageError(
            f"{subject} is not a checkpoint; `pairs` compares a network, or maps, with the labels of each.",
            hint="Leave it out if the pairs are of maps and labels.",
        )


def _check_complete(
    subject: str | None, checkpoint: Path | None, data: Sequence[str], labels: Sequence[str] | None, paired: bool
) -> None:
    """Check that there is something to score, and labels for a map."""
    if subject is None and not paired:
        raise UsageError(
            "There is nothing to score.",
            hint="Name a checkpoint, a run, a class raster or polygons; or maps and their labels with `pairs`.",
        )
    if checkpoint is None and not paired and (data or labels is None):
        raise UsageError(
            f"{subject} is not a checkpoint; a map is compared with `labels` only.",
            hint="Name the labels: `satseg.evaluate('classes.tif', labels='FILE')`",
        )


def _refuse_unused(settings: EvaluateSettings, *, has_labels: bool, has_network: bool) -> None:
    """Refuse settings that would have no effect."""
    given = [name for name in settings.given if getattr(settings, name) not in (None, ())]
    if not has_labels:
        for name in (*(option.name for option in options_of(LabelSettings)), "aoi"):
            if name in given:
                raise UsageError(
                    f"`{name}` needs `labels`.",
                    hint="Tiles contain their labels; scenes, maps and polygons are compared with files of labels.",
                )
    for name in ("bands", "extra"):
        if name in given and not (has_network and has_labels):
            raise UsageError(f"`{name}` needs a checkpoint and scenes.")
    if "gsd" in given and has_network:
        raise UsageError(_GSD_NEEDS_POLYGONS)


def _checkpoint_of(subject: Path) -> Path | None:
    """Return the checkpoint of a subject; None if it must be a map."""
    if is_network(subject):
        return subject
    run = Run(subject)
    return run.best if run.best.exists() else None


def _own_tiles(checkpoint: Path) -> list[str]:
    """Return the tiles that the run of a checkpoint was trained on; empty if it is not in a run.

    The test tiles of another tile set could be among the training tiles of this run.
    """
    tiles = Run(checkpoint.parent).tile_set
    if tiles is None:
        return []
    if not tiles.is_dir():
        raise TileError(
            f"{checkpoint.parent} was trained on the tiles {tiles}, which do not exist any more.",
            hint=f"Name the tile set to score: `satseg.evaluate({str(checkpoint.parent)!r}, 'TILES')`",
        )
    log.info("Scoring the tiles of the run: %s.", tiles)
    return [str(tiles)]


def _evaluate_map(
    subject: str,
    labels: LabelReading,
    gsd: float | None,
    aoi: AreaOfInterest | None,
    measures: Measures,
    progress: Progress,
) -> EvaluationReport:
    if not is_raster(subject) and _is_vector(subject):
        if len(labels.path) > 1:
            raise UsageError(
                f"Polygons are compared with a single file of labels; {len(labels.path)} were given.",
                hint="Merge them into one layer, or score the map of the polygons.",
            )
        if labels.ids and not any(map(is_raster, labels.path)):
            raise UsageError(
                "`objects` is for a raster of ids or a network; polygons are objects already.", hint="Leave it out."
            )
        return compare_polygons(subject, labels, gsd, aoi, measures, progress)
    if gsd is not None:
        raise UsageError(_GSD_NEEDS_POLYGONS)
    return (compare_ids if labels.ids else compare_rasters)([subject], labels, aoi, measures, progress)


def _is_vector(name: str) -> bool:
    try:
        VectorLayer.open(name)
    except LabelError:
        return False
    return True
