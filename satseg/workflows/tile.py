"""Turn scenes and labels into a tile set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from satseg.arguments import Bands, Numbers, PathLike, Paths, band_names, numbers, path, paths, whole_numbers
from satseg.backend.device import available_cores
from satseg.errors import OutputError, UsageError
from satseg.files.atomic_write import claimed
from satseg.files.fingerprint import fingerprint
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger
from satseg.geo.units import Quantity
from satseg.labels.class_lists import ClassMapSource, class_map_files, read_again, read_class_map
from satseg.labels.label_files import open_labels
from satseg.outputs.writable import check_folder
from satseg.progress import automatic
from satseg.records import Progress, TileSummary
from satseg.signatures import checked
from satseg.tiles.ownership import check_own
from satseg.tiles.tileset import TileSet
from satseg.tiling.appending import TileOptions
from satseg.tiling.build import Builder
from satseg.tiling.cut import TileFilter
from satseg.tiling.pairs import find_pairs, pairs_inputs
from satseg.tiling.provenance import (
    is_joined,
    is_pending,
    provenance_of,
    recall,
    with_its_choice,
)
from satseg.tiling.request import (
    Lengths,
    asked_for,
    by_number,
    check_choice,
    check_empty,
    check_sizes,
    first_layout,
    known_classes,
    outline_width,
    whole_pixels,
)
from satseg.tiling.run import TileJob
from satseg.tiling.scenes import GivenScenes, describe_all, unique_names
from satseg.tiling.split_regions import SplitRegions
from satseg.tiling.warnings import warn_of_changes

log = logging.getLogger("satseg")

_MOST_THREADS = 8  # more would wait for each other: a part of every write holds the interpreter


@checked
def tile(  # noqa: PLR0913 - one word each, as on the command line
    scenes: Paths = (),
    *,
    labels: Paths = (),
    output: PathLike = "tiles",
    stack: Paths = (),
    pairs: Paths | None = None,
    bands: Bands | None = None,
    extra: Paths = (),
    gsd: Quantity | None = None,
    class_field: str | None = None,
    class_map: ClassMapSource | None = None,
    where: str | None = None,
    burn_order: str | None = None,
    all_touched: bool | None = None,
    unlabelled: Numbers = (),
    labelled_area: PathLike | None = None,
    outside: str | None = None,
    ignore_border: Quantity | None = None,
    boundary: Quantity | None = None,
    size: int | None = None,
    overlap: int | None = None,
    sampling: str | None = None,
    min_valid: float | None = None,
    keep_empty: float | None = None,
    min_pixels: Mapping[str, int] | None = None,
    limit: int | None = None,
    split: str | None = None,
    split_by: str | None = None,
    block: int | None = None,
    buffer: Quantity | None = None,
    shares: Numbers | None = None,
    seed: int | None = None,
    append: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    threads: int | None = None,
    progress: Progress = automatic,
) -> TileSummary:
    """Cut scenes and their labels into training, validation and test tiles.

    Splits are made of whole blocks of the scene, so that training never sees a pixel, nor the surroundings, of what
    it is judged on.

    Args:
        scenes: One or several rasters with the same bands; anything GDAL opens. One that shows what another does, be it
            the same file or a copy, is left out with a warning.
        labels: Vector features in any CRS, or a class raster; several lie over each other, the last on top.
        output: Folder to write; it appears when it is complete.
        stack: Files of one grid that together are a scene, in the order of the bands.
        pairs: Scenes and the labels of each, with no others: two folders whose files are named alike; two patterns,
            ``("S1/{stem}_S1.tif", "labels/{stem}_mask.tif")``, where ``*`` is any text; or a CSV or Parquet file with
            the columns scene and labels, and if need be split and weight, as :func:`read_scene_table` reads it.
        bands: Bands to use, by number from 1 or by name; None takes all.
        extra: Rasters that are warped onto the grid of each scene, whose bands follow.
        gsd: Ground resolution, ``0.5m``, ``50cm`` or a number of metres, that scenes are brought to.
        class_field: Attribute that names the class of each feature; without it all features are one class.
        class_map: Class by value or colour of the labels: a dictionary, or text,
            ``residential=building,1=water,#ff0000=road``, or a CSV file with the columns value, class and, if need be,
            colour, or several texts and files. ``*`` is any text, alone any other value; the class ``ignore`` is
            neither taught nor scored.
        where: Condition in SQL that features must meet.
        burn_order: What lies on top where polygons overlap: ``file`` (later ones, as for None), ``area`` (smaller
            ones), ``class`` (later classes), or an attribute of numbers (higher ones).
        all_touched: Label all pixels that a polygon touches, not only those whose centre it covers.
        unlabelled: Values of class rasters that mean that nobody looked there.
        labelled_area: Polygons outside of which nothing is known.
        outside: What lies outside of all polygons: ``background``, or ``ignore`` where nothing is known there. None is
            ``background``; with ``append``, what the tile set was made with.
        ignore_border: Distance from outlines, ``2px``, ``1m`` or a number of metres, within which labels are ignored.
        boundary: Width of a class of its own, ``3px``, ``1m`` or a number of metres, along outlines and between
            touching objects.
        size: Side of a tile in pixels. None is 256, or less where scenes are too small to fill all splits; with
            ``append``, that of the tile set.
        overlap: Pixels that neighbouring training tiles share; None is half a tile. Validation and test tiles share
            none.
        sampling: ``grid``, as for None, or ``random``: training tiles anywhere in their block, as many as a grid would
            have.
        min_valid: Smallest share of valid pixels of a tile; None is 0.
        keep_empty: Share of the training tiles with nothing but background that is kept; None is all.
        min_pixels: Smallest count of pixels by class; a training tile needs that of one of them.
        limit: Tiles at most, drawn at random, from each split by its labelled area.
        split: ``train``, ``val`` or ``test``, for all that is given; others may follow with ``append``.
        split_by: ``block``, ``scene``, or ``regions.gpkg:split``, polygons with an attribute of train, val or test.
            None is ``scene`` for pairs that are enough to fill all splits, else ``block``.
        block: Side of a block in pixels; None chooses at least two tiles, more where the scenes are large, one where
            all splits are filled by no other; with ``append``, that of the tile set.
        buffer: Distance, ``64px``, ``20m`` or a number of metres, between training tiles and the others, at least.
        shares: Shares of train, val and test in area; None is 0.7, 0.15, 0.15. Scenes of a table that says their splits
            are not dealt.
        seed: Decides which block goes to which split, and all that is drawn at random.
        append: Add to the tile set at ``output``, with its classes, bands and size, and with the options that it was
            made with, but for those that are given; a class map adds to that of the tile set.
        overwrite: Replace a tile set that stands at ``output``; a folder that holds anything else is refused.
        resume: Go on where an interrupted call with the same arguments stood.
        threads: Threads that write tiles; None takes as many as this process may use. The bytes do not depend on it.
        progress: Called after each tile.

    Returns:
        What was written.

    Raises:
        SceneError: A scene cannot be used.
        LabelError: The labels cannot be used, or touch no scene.
        TileError: Scenes differ in their bands, or no tile is left for training.
        OutputError: ``output`` exists already, holds what is no tile set's, is made by another run at this moment, or
            cannot be written.
        UsageError: Arguments contradict each other.
        KeyboardInterrupt: What was done so far is kept for ``resume``.
    """
    scenes, labels, stack = paths(scenes, "scenes"), paths(labels, "labels"), paths(stack, "stack")
    pairs = None if pairs is None else paths(pairs, "pairs")
    output, class_map = Path(path(output, "output")), read_again(class_map)
    given = TileOptions.of(
        bands=None if bands is None else band_names(bands),
        extra=paths(extra, "extra"),
        gsd=gsd,
        class_field=class_field,
        class_map=read_class_map(class_map),
        where=where,
        burn_order=burn_order,
        all_touched=all_touched,
        unlabelled=whole_numbers(unlabelled, "unlabelled"),
        labelled_area=None if labelled_area is None else path(labelled_area, "labelled_area"),
        outside=outside,
        ignore_border=ignore_border,
        boundary=boundary,
        size=size,
        overlap=overlap,
        sampling=sampling,
        min_valid=min_valid,
        keep_empty=keep_empty,
        min_pixels=min_pixels,
        limit=limit,
        split=split,
        split_by=split_by,
        block=block,
        buffer=buffer,
        shares=None if shares is None else numbers(shares, "shares"),
        seed=seed,
    )
    _check_options(given, threads)
    _check_output(output, append=append, overwrite=overwrite, resume=resume)
    paired = None if pairs is None else find_pairs(pairs)
    named = (given.labelled_area, given.regions, *class_map_files(class_map))
    inputs = Ledger([*scenes, *stack, *pairs_inputs(pairs, paired), *given.extra, *labels, *named])
    if not append:
        inputs.replace_folder(output)
    with claimed(output), gdal_environment():  # before the tile set to add to is read
        _check_output(output, append=append, overwrite=overwrite, resume=resume)  # a kill may have put it aside
        base = TileSet.open(output) if append else None
        found = GivenScenes(scenes, stack, labels, pairs, paired, given)
        found.warn_of_splits()
        options = given if base is None else given.kept_from(base, given_splits=found.given_splits)
        lengths = _check_options(options, threads, base)
        sources = found.sources(bands=options.bands, gsd=lengths.gsd, extra=options.extra)
        joined = base is not None and resume and is_joined(sources, base)
        described = describe_all(
            sources,
            None if joined else base,
            by_number=by_number(options.bands),
            paired=paired is not None,
            progress=progress,
        )
        infos = described.infos
        source = open_labels(
            found.label_files,
            class_field=options.class_field,
            classes=None if base is None else base.classes,
            class_map=options.class_map,
            where=options.where,
            burn_order=options.burn_order,
            all_touched=options.all_touched,
            unlabelled=options.unlabelled,
            labelled_area=options.labelled_area,
            outside=options.outside,
            ignore_border=outline_width(lengths.ignore_border, infos),
            boundary=outline_width(lengths.boundary, infos),
            progress=progress,
        )
        source.warn_of_unmatched(given.class_map)  # one that is kept may speak of other labels
        check_empty(options.keep_empty, source.classes)
        asked = asked_for(options, base, paired=paired is not None, given_splits=found.given_splits)
        layout = first_layout(
            asked,
            infos,
            at_random=options.sampling == "random",
            buffer=max(whole_pixels(lengths.buffer, info) for info in infos),
            shares=options.shares,
            seed=options.seed,
        )
        builder = Builder(
            sources=described.sources,
            infos=infos,
            names=unique_names([files.source.stem for files in described.sources], base),
            labels=source,
            layout=layout,
            tile_filter=TileFilter(
                options.min_valid, options.keep_empty, known_classes(options.min_pixels or {}, source.classes)
            ),
            regions=None if options.regions is None else SplitRegions.read(options.split_by or ""),
            threads=threads or min(available_cores(), _MOST_THREADS),
            progress=progress,
        )
        files = found.input_files(options)
        digests = {kind: fingerprint(names) for kind, names in files.items()}
        provenance = provenance_of(found, options, layout, asked.open, digests)
        if resume and base is None and output.exists():
            provenance = with_its_choice(provenance, output)
        if joined or (resume and base is None and output.exists() and not is_pending(output, provenance)):
            return recall(output, provenance, appended=joined)
        if base is not None:
            warn_of_changes(base, provenance)
        dated = {kind: fingerprint(names, dated=True) for kind, names in files.items()}
        return TileJob(builder, asked, base, options.limit, provenance, dated, described.contents).run(
            output, resume=resume
        )


def _check_options(options: TileOptions, threads: int | None, base: TileSet | None = None) -> Lengths:
    """Check options one by one, and return their lengths."""
    check_choice(options, threads)
    check_sizes(options, base)
    return Lengths.read(options.gsd, options.ignore_border, options.boundary, options.buffer)


def _check_output(output: Path, *, append: bool, overwrite: bool, resume: bool) -> None:
    if append and overwrite:
        raise UsageError("A tile set is either added to or replaced: --append and --overwrite exclude each other.")
    if output.is_dir() and any(output.iterdir()) and not (append or overwrite or resume):
        raise OutputError(
            f"{output} exists already.",
            hint="Choose another folder with -o, add to it with --append, or replace it with --overwrite.",
        )
    if append:
        check_folder(output)
    else:
        check_own(output)
