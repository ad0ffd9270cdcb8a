"""One run of ``tile``: plan, cut, describe and publish a tile set."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas

from satseg.errors import TileError
from satseg.files.atomic_write import commit
from satseg.presence import INDEX
from satseg.records import TileSummary, as_json
from satseg.tiles.band_checks import band_warnings
from satseg.tiles.extents import Extents, common_crs
from satseg.tiles.index import brought_to, extents_of
from satseg.tiles.tileset import FOLDERS, MOMENTS, TileSet, make_index, write_header
from satseg.tiling.build import Builder, quotas, resumable
from satseg.tiling.journal import Journal
from satseg.tiling.object_sizes import ObjectSizes
from satseg.tiling.plan import ExistingTiles
from satseg.tiling.planner import Plan, Planner, without_empty_background
from satseg.tiling.provenance import (
    tiles_by_split,
)
from satseg.tiling.request import LayoutRequest
from satseg.tiling.warnings import log_background, log_choice, warn_of_gaps

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class TilingRun:
    """One run that makes a tile set or adds to one.

    Args:
        builder: Cuts the tiles.
        request: Sizes of tiles and blocks as the user set them.
        base: The tile set to add to, or None.
        limit: Maximum number of tiles, or None.
        provenance: Inputs and settings, ready for JSON.
        files: Fingerprints of the inputs with their dates, which a resumed run must match.
        contents: Path of each scene by the hash of its content.
        sizes: Sizes of the labelled objects.
    """

    builder: Builder
    request: LayoutRequest
    base: TileSet | None
    limit: int | None
    provenance: Mapping[str, Any]
    files: Mapping[str, str]
    contents: Mapping[str, str]
    sizes: ObjectSizes

    @property
    def crs(self) -> str | None:
        """CRS of the footprints."""
        before = [] if self.base is None or self.base.index.crs is None else [self.base.index.crs.to_wkt()]
        return common_crs([*before, *(info.crs for info in self.builder.infos)])

    def make(self, output: Path, *, resume: bool) -> TileSummary:
        """Plan and cut the tiles, and move the tile set to its place."""
        planner = Planner(self.builder, self._existing(), self.crs)
        plan = planner.choose(self.request)
        log_choice(planner, self.request, plan)
        labels = self.builder.labels
        if self.base is None and labels.background_implied:
            labels, plan = without_empty_background(labels, plan)
            log_background(labels, plan)
        run = replace(
            self,
            builder=replace(self.builder, layout=plan.layout, labels=labels),
            provenance={**self.provenance, **as_json(asdict(plan.layout))},
        )
        return run._cut(plan, output, resume=resume)

    def _cut(self, plan: Plan, output: Path, *, resume: bool) -> TileSummary:
        builder, planned = self.builder, plan.planned
        labels = builder.labels
        if labels.objects is not None:
            builder = replace(builder, labels=labels.numbered_after(self._taken))
        making = {"scenes": as_json(builder.infos), "files": self.files, **self.provenance}
        if self.base is not None:
            making["before"] = self.base.index[["tile", "split"]].to_dict("list")
        keep_objects = labels.objects is not None
        with resumable(output, as_json(making), resume=resume, objects=keep_objects) as (folder, journal):
            builder.cut(folder, planned, quotas(plan.areas, planned, self.limit), journal)
            tile_set = replace(self._write(folder, journal), path=output)
            if self.base is None:
                commit(folder.parent, output)
            else:
                _move_into(folder, self.base.path)
            skipped = sum(not journal.holds(number) for number in range(len(planned)) if number in journal)
        areas = plan.areas
        summary = TileSummary(
            path=str(output),
            scenes=len({block.scene for block in plan.found}),
            tiles=tiles_by_split(tile_set.index),
            pixels=tile_set.pixels(),
            skipped=skipped,
            repaired=builder.labels.repaired,
            dropped=builder.labels.dropped,
            kept_apart=plan.kept_apart,
            overlapping=len(tile_set.leaks()),
            unplaced=tile_set.unplaced,
            shares={s: area / sum(areas.values()) for s, area in areas.items()} if self.base is None else {},
            size=tile_set.tile_size,
            block=plan.layout.block_side(drawn=self.request.drawn),
            objects=self.sizes.in_pixels(builder.infos[0].gsd, plan.shares_of(builder.labels.classes.names)),
        )
        for remark in band_warnings(tile_set):
            log.warning("%s", remark)
        warn_of_gaps(summary, plan)
        return summary

    @property
    def _earlier(self) -> list[tuple[dict[str, Any], int]]:
        """The provenance of earlier calls, and the number of instance ids that each took.

        If moving the files of this call was interrupted, it is there already, and left out.
        """
        if self.base is None:
            return []
        made = self.base.provenance
        counts = self.base.objects or (0,) * len(made)
        return [(entry, count) for entry, count in zip(made, counts, strict=True) if entry != self.provenance]

    @property
    def _taken(self) -> int:
        """Instance ids that earlier calls took."""
        return sum(count for _, count in self._earlier)

    def _existing(self) -> ExistingTiles:
        if self.base is None:
            return ExistingTiles(Extents.of([], [], [], None), np.empty(0, dtype=object))
        index = brought_to(self.base.index, self.crs)
        return ExistingTiles(extents_of(index), index["split"].to_numpy(dtype=object))

    def _write(self, folder: Path, journal: Journal) -> TileSet:
        """Write the header, the moments and the index, in this order."""
        builder, base, labels = self.builder, self.base, self.builder.labels
        given = any(source.split for source in builder.sources)  # then train may come later
        if base is None and not given and not any(row["split"] == "train" for row in journal.rows()):
            raise TileError("No tile is left for training.", hint="See `min_valid`, `min_pixels` and `keep_empty`.")
        if not any(True for _ in journal.rows()):
            raise TileError("No tile is left.")
        index = make_index(folder, journal.rows(), builder.infos, crs=self.crs, before=base)
        if base is not None:
            before_it = brought_to(base.index, self.crs)
            index = geopandas.GeoDataFrame(pandas.concat([before_it, index], ignore_index=True), crs=self.crs)
        tile_set = TileSet(
            path=folder,
            classes=labels.classes,
            bands=builder.infos[0].bands,
            gsd=builder.infos[0].gsd if base is None else base.gsd,
            tile_size=builder.layout.size,
            index=index,
            objects=None if labels.objects is None else (*(count for _, count in self._earlier), labels.objects),
        )
        made = [entry for entry, _ in self._earlier] + [dict(self.provenance)]
        write_header(folder, tile_set, made, {**({} if base is None else base.contents), **self.contents})
        with (folder / INDEX).open("wb") as file:  # pyarrow may take a name for a URI
            index.to_parquet(file)
        return tile_set


def _move_into(folder: Path, path: Path) -> None:
    """Move the files of new tiles into a tile set, the index last, since everything else follows it.

    If interrupted, it can be repeated: files that were moved already stay.
    """
    for kind in FOLDERS:
        for file in sorted((folder / kind).glob("*")):  # there may be no objects
            os.replace(file, path / kind / file.name)
    for name in ("tileset.json", MOMENTS, INDEX):
        os.replace(folder / name, path / name)
