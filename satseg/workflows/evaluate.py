"""Say how well a network, a map or polygons agree with labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from satseg.arguments import Bands, Numbers, PathLike, Paths, band_names, path, paths, whole_numbers
from satseg.errors import ClassRasterError, LabelError, ScoreError, TileError, UsageError
from satseg.evaluation.measures import Measures
from satseg.files.gdal import gdal_environment
from satseg.geo.units import Quantity, parse_resolution
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.class_lists import ClassMapSource, read_again
from satseg.labels.raster_labels import is_raster
from satseg.presence import require_subject
from satseg.progress import automatic
from satseg.raster.area import AreaOfInterest
from satseg.records import EvaluationReport, Progress
from satseg.runs import Run
from satseg.signatures import checked
from satseg.workflows.compare import compare_polygons, compare_rasters
from satseg.workflows.label_reading import LabelReading
from satseg.workflows.scored_pairs import labels_of, pairs_to_score

log = logging.getLogger("satseg")

_TILES_HAVE_LABELS = "Tiles hold their labels; a scene, a map or polygons are compared with a file of labels."


@checked
def evaluate(
    subject: PathLike | None = None,
    data: Paths = (),
    *,
    labels: Paths | None = None,
    pairs: Paths | None = None,
    class_field: str | None = None,
    class_map: ClassMapSource | None = None,
    where: str | None = None,
    unlabelled: Numbers = (),
    labelled_area: PathLike | None = None,
    outside: str | None = None,
    aoi: PathLike | None = None,
    bands: Bands | None = None,
    split: str = "test",
    rank: bool = False,
    gsd: Quantity | None = None,
    boundary_tolerance: Quantity = "0.75%",
    boundary_width: Quantity = "2%",
    pixels_only: bool = False,
    block: int = 512,
    bootstrap: int = 1000,
    seed: int = 0,
    worst: int = 0,
    arch: str | None = None,
    window: str | int | None = None,
    overlap: str | int = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = automatic,
) -> EvaluationReport:
    """Compare a network, a class map or polygons with labels: pixels, boundaries and objects.

    Four things can be asked, and none of them holds more than some strips or tiles in memory:

    - a checkpoint and a tile set: the tiles of one split, as they lie on disk;
    - a checkpoint, scenes and labels: the very maps that ``predict`` makes of the scenes by default;
    - a class raster and labels, whose classes are those of the same name; the values of both where none has names;
    - polygons and labels: on the grid of the labels where they are a class raster; on a grid of ``gsd`` where both are
      polygons; without it their objects are matched exactly, and there are no pixels to count.

    Objects are the features where labels or map are polygons, else connected pixels of one class (four neighbours).
    They match one to one, where their IoU is over 0.5.

    Class field, class map, unlabelled values and what lies outside of polygons are those of the labels that the network
    was trained on, which checkpoints and their maps remember, as far as nothing else is said here.

    Only the ground counts that the map speaks of: the scene or raster; for polygons the footprint of the maps that they
    came from, which satseg keeps in GeoPackages and GeoParquet, else the area of interest, else their bounding box,
    which is said. Objects beyond its edge, or that of a tile, the labelled area or the area of interest, do not count;
    those that the edge cuts count by their part inside. What no label speaks of is ignored, and counted.

    Args:
        subject: Checkpoint, folder of a training run (its best checkpoint), class raster, or polygons; None where
            ``pairs`` names class rasters.
        data: One folder of a tile set; if empty, that of the run in whose folder the checkpoint lies, else ``tiles``;
            with ``labels``, one or more scenes. Empty for a map. As
            ``subject`` and ``labels``, rasters may be open datasets of rasterio, or :class:`~satseg.SceneSource`.
        labels: Vector features in any CRS, or a class raster on any grid; several lie over each other, the last on top.
        pairs: Scenes for a checkpoint, or class rasters, and the labels of each: two folders whose files are named
            alike, two patterns, or a table, as ``tile`` takes them. Of a table that names splits, ``split`` is scored.
        class_field: Attribute that names the class of each feature; without it all features are one class. Polygons
            that are evaluated may have it in the attribute ``class_name``, where satseg writes it.
        class_map: Class by value, as ``tile`` takes it: ``residential=building,1=water,#ff0000=road``, a CSV file or a
            dictionary. It is applied to
            the labels, and to maps: to the values of a raster that does not name them, else to names.
        where: Condition in SQL that features of the labels must meet.
        unlabelled: Values of class rasters that are labels which mean that nobody looked there.
        labelled_area: Vector file, in any CRS, of the polygons outside of which nothing is known.
        outside: What lies outside of all polygons of the labels: ``background``, or ``ignore`` where nothing is known
            there; None is ``background``.
        aoi: Vector file, in any CRS, of the polygons in which to score. Scenes that lie outside are passed over.
        bands: Bands of scenes that the network is shown, by number from 1 or by name; None finds those of the
            training.
        split: Split of the tile set.
        rank: Write loss, accuracy and IoU of every tile, whatever its split, into the index of the tile set.
        gsd: Ground size of a pixel, such as ``0.5m``, ``50cm`` or a number of metres, of the grid on which polygons are
            compared with polygons.
        boundary_tolerance: How far apart two boundaries may lie and still match: ``2px``, ``0.5m``, a number of metres,
            or per cent (``0.75%``) of the diagonal of a tile or block.
        boundary_width: Width of the bands of the boundary IoU, likewise.
        pixels_only: Measure neither boundaries nor objects.
        block: Side in pixels of the blocks in which scenes are scored.
        bootstrap: Replicates for confidence intervals, which resample blocks of scenes, or of the tile set; 0 for none.
        seed: Number that these follow from.
        worst: How many of the worst tiles or blocks to name.
        arch: ``path/to/file.py:function`` of a checkpoint that was trained with such a network; this runs the file.
        window: Side of the windows of scenes, in pixels of the training, as ``predict`` takes it: None is 512, or the
            training tiles' for networks with global context.
        overlap: Pixels of scenes over which neighbouring windows are blended, as ``predict`` takes it: ``auto`` is what
            the network sees around a pixel, at most 0.139 of the window.
        batch_size: Tiles or windows per forward pass; None is 4 tiles, or as many windows as ``predict`` takes.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads; None is all that the process may use.
        progress: Told how far it is.

    Returns:
        The report, over all labelled pixels: those for which the map has no class are missed, and counted, but for
        those that are background only because no polygon of the labels lies there.

    Raises:
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or its bands or classes are not those of the data.
        TileError: The tile set cannot be read, or the split is empty.
        SceneError: A raster cannot be read.
        AreaError: The area of interest cannot be used, or the map lies outside of it.
        LabelError: The labels cannot be read; labels and map have no class in common, or one of them has no names for
            its values; or no pixel is labelled where the map lies.
        OutputError: The index of the tile set cannot be written.
        UsageError: Arguments contradict each other.
    """
    measures = Measures(boundary_tolerance, boundary_width, pixels_only, block, bootstrap, seed, worst)
    subject, data = None if subject is None else path(subject, "subject"), paths(data, "data")
    files, class_map = None if labels is None else paths(labels, "labels") or None, read_again(class_map)
    labelled_area = None if labelled_area is None else path(labelled_area, "labelled_area")
    aoi, unlabelled = None if aoi is None else path(aoi, "aoi"), whole_numbers(unlabelled, "unlabelled")
    bands = None if bands is None else band_names(bands)
    resolution = None if gsd is None else parse_resolution(gsd, "gsd")
    if subject is not None:
        require_subject(subject)
    checkpoint = None if subject is None else _checkpoint_of(Path(subject))
    if rank and (checkpoint is None or files is not None or pairs is not None):
        raise UsageError("Tiles are ranked by a checkpoint: give one, and a tile set instead of labels.")
    found = None if pairs is None else pairs_to_score(paths(pairs, "pairs"), split)
    _refuse_beside_pairs(subject, checkpoint, data, files, pairs)
    if subject is None and found is None:
        raise UsageError(
            "There is nothing to score.",
            hint="Name a checkpoint, a run, a class raster or polygons; or maps: --pairs.",
        )
    if checkpoint is None and found is None and (data or files is None):
        raise UsageError(
            f"{subject} is no checkpoint; a map is compared with labels, and with nothing else.",
            hint="Name them: satseg evaluate classes.tif --labels FILE",
        )
    if files is None and found is None:
        _refuse_without_labels(
            class_field=class_field,
            class_map=class_map,
            where=where,
            unlabelled=unlabelled or None,
            labelled_area=labelled_area,
            outside=outside,
            aoi=aoi,
        )
    if bands is not None and (checkpoint is None or (files is None and found is None)):
        raise UsageError("--bands is for scenes that a network is shown.")
    reading, named = None, files if found is None else labels_of(found)
    if named is not None:
        reading = LabelReading(named, class_field, class_map, where, unlabelled, labelled_area, outside)
    with gdal_environment():
        area = None if aoi is None else AreaOfInterest.read(aoi)
        if checkpoint is None:
            assert reading is not None
            if found is not None:
                with _said_to_be_maps():
                    return compare_rasters([pair.scene for pair in found], reading, area, measures, progress)
            assert subject is not None
            return _evaluate_map(subject, reading, resolution, area, measures, progress)
        if gsd is not None:
            raise UsageError("--gsd is for polygons that are compared with polygons.")
        if reading is None and not data:
            data = _own_tiles(checkpoint)
        # Torch is slow to import and large, and maps need none of it.
        from satseg.prediction.settings import PredictionSettings
        from satseg.workflows.score_network import NetworkScoring

        settings = PredictionSettings(
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            device=device,
            precision=precision,
            threads=threads,
            bands=bands,
        )
        scoring = NetworkScoring.open(checkpoint, arch, settings, measures)
        if reading is None:
            return scoring.score_tiles(data, split, rank=rank, progress=progress)
        scenes = data if found is None else [pair.scene for pair in found]
        return scoring.score_scenes(scenes, reading, area, progress=progress)


def require_miou(found: EvaluationReport, least: float) -> None:
    """Refuse a report whose mean IoU is below a limit.

    Raises:
        ScoreError: It is, or there was nothing to compare.
    """
    if not found.mean_iou >= least:
        what = f"is {found.mean_iou:.4f}" if found.pixels else "is undefined, since no pixel was compared"
        raise ScoreError(f"The mean IoU {what}; at least {least:g} was asked for.")


@contextmanager
def _said_to_be_maps() -> Iterator[None]:
    """Say how a network is scored where pairs of scenes come without one."""
    try:
        yield
    except ClassRasterError as error:
        error.hint = " ".join(filter(None, [error.hint, "A network on scenes: satseg evaluate RUN --pairs ..."]))
        raise


def _refuse_beside_pairs(
    subject: str | None, checkpoint: Path | None, data: Sequence[str], labels: Sequence[str] | None, pairs: Paths | None
) -> None:
    """Refuse what goes not with pairs: other scenes, other labels, and anything to be scored but a network."""
    if pairs is None:
        return
    if labels is not None:
        raise UsageError("--pairs and --scene-list name the labels of each scene; --labels does not go with them.")
    if data:
        raise _named_twice(data[0])
    if subject is not None and checkpoint is None:
        raise UsageError(
            f"{subject} is no checkpoint; --pairs compares a network, or maps by themselves, with the labels of each.",
            hint="Drop it, where the pairs are of maps and labels.",
        )


def _named_twice(scene: str) -> UsageError:
    """Return the error of a scene or map that is named beside pairs."""
    return UsageError(
        f"{scene} is named beside --pairs or --scene-list, which name all scenes and maps themselves.",
        hint="Drop the files: satseg evaluate RUN --pairs ... scores a network, satseg evaluate --pairs ... maps.",
    )


def _refuse_without_labels(**given: object) -> None:
    """Refuse options that say something of labels, or of where maps are scored, for tiles, which hold their labels."""
    for name, value in given.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} goes with --labels.", hint=_TILES_HAVE_LABELS)


def _checkpoint_of(subject: Path) -> Path | None:
    """Return the checkpoint that is meant; None where it must be a map."""
    if subject.suffix == ".safetensors":
        return subject
    run = Run(subject)
    return run.best if run.best.exists() else None


def _own_tiles(checkpoint: Path) -> list[str]:
    """Return the tiles that the run of a checkpoint was trained on; none where it lies in no run.

    Other tiles of the same classes may hold as test ground what this run was trained on.
    """
    tiles = Run(checkpoint.parent).tile_set
    if tiles is None:
        return []
    if not tiles.is_dir():
        raise TileError(
            f"{checkpoint.parent} was trained on the tiles {tiles}, which are not there.",
            hint=f"Name the tile set to score: satseg evaluate {checkpoint.parent} TILES",
        )
    log.info("Scored on the tiles of its run: %s.", tiles)
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
                f"Polygons are compared with one file of labels; {len(labels.path)} were given.",
                hint="Merge them into one layer, or score the map that the polygons came from.",
            )
        return compare_polygons(subject, labels, gsd, aoi, measures, progress)
    if gsd is not None:
        raise UsageError("--gsd is for polygons that are compared with polygons.")
    return compare_rasters([subject], labels, aoi, measures, progress)


def _is_vector(path: str) -> bool:
    try:
        VectorLayer.open(path)
    except LabelError:
        return False
    return True
