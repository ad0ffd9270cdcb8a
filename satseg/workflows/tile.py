"""Cut scenes and their labels into a tile set."""

from __future__ import annotations

from pathlib import Path

from satseg.arguments import PathLike, Paths, path
from satseg.backend.cores import available_cores
from satseg.errors import OutputError
from satseg.files.atomic_write import locked
from satseg.files.fingerprint import fingerprint
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger
from satseg.outputs.writable import check_folder
from satseg.progress import automatic
from satseg.records import Progress, TileSummary
from satseg.signatures import checked
from satseg.tiles.ownership import check_own
from satseg.tiles.tileset import TileSet
from satseg.tiling.appending import completed
from satseg.tiling.build import Builder
from satseg.tiling.inputs import TileInputs
from satseg.tiling.label_source import label_source, tile_filter
from satseg.tiling.object_sizes import ObjectSizes, measure_objects
from satseg.tiling.provenance import is_joined, is_pending, provenance_of, summary_of_finished, with_its_choice
from satseg.tiling.request import LayoutRequest
from satseg.tiling.resolution import advise, log_advice
from satseg.tiling.run import TilingRun
from satseg.tiling.scenes import DescribedScenes, describe_all, unique_names
from satseg.tiling.settings import AUTO, TileSettings
from satseg.tiling.split_regions import SplitRegions
from satseg.tiling.warnings import warn_of_changes

_MOST_THREADS = 8  # more would wait for each other: a part of every write holds the interpreter


@checked
def tile(
    scenes: Paths = (),
    *,
    labels: Paths = (),
    output: PathLike = "tiles",
    stack: Paths = (),
    pairs: Paths | None = None,
    settings: TileSettings | None = None,
    progress: Progress = automatic,
) -> TileSummary:
    """Cut scenes and their labels into training, validation and test tiles.

    Splits consist of whole blocks of a scene, so training tiles share no pixel with the tiles that scores come from.

    Args:
        scenes: One or several rasters with the same bands; anything GDAL opens. Copies of a scene are left out with a
            message.
        labels: Vector features in any CRS, or class rasters; of several files, later ones are drawn on top.
        output: Folder to write; it appears when it is complete.
        stack: Files of one grid whose bands form one scene, in this order.
        pairs: Scenes, each with its own labels: two folders whose files have the same names; two patterns,
            ``("S1/{stem}_S1.tif", "labels/{stem}_mask.tif")``, where ``*`` is any text; or a CSV or Parquet file with
            the columns scene and labels and, optionally, split and weight.
        settings: How tiles are cut; None takes the defaults.
        progress: Called after each scene, block and tile.

    Returns:
        What was written.

    Raises:
        SceneError: A scene cannot be used.
        LabelError: The labels cannot be used, or touch no scene.
        TileError: Scenes differ in their bands, or no tile is left for training.
        OutputError: ``output`` exists already, is not a tile set, is being written by another run, or cannot be
            written.
        UsageError: Arguments contradict each other.
        KeyboardInterrupt: The run was interrupted; the tiles cut so far are kept for ``resume``.
    """
    given = settings or TileSettings()
    output = Path(path(output, "output"))
    _check_output(output, given)
    inputs = TileInputs.of(scenes, labels, stack, pairs, given)
    files = Ledger(inputs.files)
    if not given.append:
        files.replace_folder(output)
    with locked(output), gdal_environment():
        _check_output(output, given)  # a killed run may have moved it aside, and claiming has moved it back
        base = TileSet.open(output) if given.append else None
        inputs.warn_of_split_folders()
        settings = given if base is None else completed(given, base, assigned=inputs.assigned)
        sources = inputs.sources(settings)
        joined = base is not None and given.resume and is_joined(sources, base)
        described = describe_all(
            sources,
            None if joined else base,
            by_number=_by_number(settings),
            paired=inputs.pairs is not None,
            progress=progress,
        )
        source = label_source(inputs, settings, described.infos, base, progress)
        sizes = measure_objects(source, described.infos, progress)
        if base is None and settings.ground_metres is None:
            settings, described = _at_resolution(settings, described, sizes)
        request = LayoutRequest.of(settings, base, paired=inputs.pairs is not None, assigned=inputs.assigned)
        builder = Builder(
            sources=described.sources,
            infos=described.infos,
            names=unique_names([files.source.stem for files in described.sources], base),
            labels=source,
            layout=request.first_layout(settings, described.infos),
            tile_filter=tile_filter(settings, source.classes),
            regions=None if settings.regions is None else SplitRegions.read(settings.split_by or ""),
            threads=settings.threads or min(available_cores(), _MOST_THREADS),
            progress=progress,
        )
        by_kind = inputs.by_kind(settings)
        digests = {kind: fingerprint(names) for kind, names in by_kind.items()}
        provenance = provenance_of(inputs, settings, builder.layout, request.open, digests)
        resumed = given.resume and base is None and output.exists()
        if resumed:
            provenance = with_its_choice(provenance, output)
        if joined or (resumed and not is_pending(output, provenance)):
            return summary_of_finished(output, provenance, appended=joined)
        if base is not None:
            warn_of_changes(base, provenance)
        dated = {kind: fingerprint(names, dated=True) for kind, names in by_kind.items()}
        run = TilingRun(builder, request, base, settings.limit, provenance, dated, described.contents, sizes)
        return run.make(output, resume=given.resume)


def _at_resolution(
    settings: TileSettings, described: DescribedScenes, sizes: ObjectSizes
) -> tuple[TileSettings, DescribedScenes]:
    """Advise on the ground resolution, or choose it; return settings and scenes with the choice."""
    advice = advise(sizes, described.infos, settings)
    log_advice(advice, settings)
    if settings.gsd != AUTO:
        return settings, described
    settings = settings.changed(gsd=advice.gsd)
    metres = settings.ground_metres
    return settings, described if metres is None else described.resampled(metres)


def _by_number(settings: TileSettings) -> bool:
    """Tell whether bands are chosen by number, so that their names are ignored."""
    return settings.bands is not None and all(band.strip().isdecimal() for band in settings.bands)


def _check_output(output: Path, settings: TileSettings) -> None:
    if output.is_dir() and any(output.iterdir()) and not (settings.append or settings.overwrite or settings.resume):
        raise OutputError(
            f"{output} exists already.",
            hint="Choose another `output`, add to it with `append`, or replace it with `overwrite`.",
        )
    if settings.append:
        check_folder(output)
    else:
        check_own(output)
