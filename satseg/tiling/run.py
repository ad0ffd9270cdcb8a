"""One tile set to be made, or to be added to: planned, cut, and put into its place."""

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
from satseg.tiles.tileset import MOMENTS, TileSet, make_index, write_header
from satseg.tiling.build import Builder, quotas, resumable
from satseg.tiling.journal import Journal
from satseg.tiling.plan import ExistingTiles
from satseg.tiling.planner import LayoutRequest, Plan, Planner, without_empty_background
from satseg.tiling.provenance import (
    tiles_by_split,
)
from satseg.tiling.warnings import tell_background, tell_choice, warn_of_gaps

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class TileJob:
    """One tile set to be made, or to be added to.

    Args:
        builder: What cuts the tiles.
        asked: What was said of tiles and blocks.
        base: The tile set to add to, or None.
        limit: Tiles at most, or None.
        provenance: What the tiles are made from, ready for JSON.
        files: Fingerprints of the inputs, with their dates, which only an interrupted run goes by.
        contents: Path of each scene by the hash of what it shows.
    """

    builder: Builder
    asked: LayoutRequest
    base: TileSet | None
    limit: int | None
    provenance: Mapping[str, Any]
    files: Mapping[str, str]
    contents: Mapping[str, str]

    @property
    def crs(self) -> str | None:
        """CRS of the footprints."""
        before = [] if self.base is None or self.base.index.crs is None else [self.base.index.crs.to_wkt()]
        return common_crs([*before, *(info.crs for info in self.builder.infos)])

    def run(self, output: Path, *, resume: bool) -> TileSummary:
        """Plan, cut, and put the tile set into its place."""
        planner = Planner(self.builder, self._existing(), self.crs)
        plan = planner.choose(self.asked)
        tell_choice(planner, self.asked, plan)
        labels = self.builder.labels
        if self.base is None and labels.background_implied:
            labels, plan = without_empty_background(labels, plan)
            tell_background(labels, plan)
        job = replace(
            self,
            builder=replace(self.builder, layout=plan.layout, labels=labels),
            provenance={**self.provenance, **as_json(asdict(plan.layout))},
        )
        return job._cut(plan, output, resume=resume)

    def _cut(self, plan: Plan, output: Path, *, resume: bool) -> TileSummary:
        builder, planned = self.builder, plan.planned
        making = {"scenes": as_json(builder.infos), "files": self.files, **self.provenance}
        if self.base is not None:
            making["before"] = self.base.index[["tile", "split"]].to_dict("list")
        with resumable(output, as_json(making), resume=resume) as (folder, journal):
            builder.cut(folder, planned, quotas(plan.areas, planned, self.limit), journal)
            tile_set = replace(self._write(folder, journal), path=output)
            if self.base is None:
                commit(folder.parent, output)
            else:
                _join(folder, self.base.path)
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
            block=plan.layout.block_side(drawn=self.asked.drawn),
        )
        for remark in band_warnings(tile_set):
            log.warning("%s", remark)
        warn_of_gaps(summary, plan)
        return summary

    def _existing(self) -> ExistingTiles:
        if self.base is None:
            return ExistingTiles(Extents.of([], [], [], None), np.empty(0, dtype=object))
        index = brought_to(self.base.index, self.crs)
        return ExistingTiles(extents_of(index), index["split"].to_numpy(dtype=object))

    def _write(self, folder: Path, journal: Journal) -> TileSet:
        """Write the description, then the moments, then the index."""
        builder, base = self.builder, self.base
        given = any(source.split for source in builder.sources)  # then train may come later
        if base is None and not given and not any(row["split"] == "train" for row in journal.rows()):
            raise TileError("No tile is left for training.", hint="See --min-valid, --min-pixels and --keep-empty.")
        if not any(True for _ in journal.rows()):
            raise TileError("No tile is left.")
        index = make_index(folder, journal.rows(), builder.infos, crs=self.crs, before=base)
        if base is not None:
            before_it = brought_to(base.index, self.crs)
            index = geopandas.GeoDataFrame(pandas.concat([before_it, index], ignore_index=True), crs=self.crs)
        tile_set = TileSet(
            path=folder,
            classes=builder.labels.classes,
            bands=builder.infos[0].bands,
            gsd=builder.infos[0].gsd if base is None else base.gsd,
            tile_size=builder.layout.size,
            index=index,
        )
        made = [] if base is None else [entry for entry in base.provenance if entry != self.provenance]
        made.append(dict(self.provenance))  # which stands there already where joining was interrupted
        write_header(folder, tile_set, made, {**({} if base is None else base.contents), **self.contents})
        with (folder / INDEX).open("wb") as file:  # pyarrow may take a name for a URI
            index.to_parquet(file)
        return tile_set


def _join(folder: Path, path: Path) -> None:
    """Move the files of new tiles into a tile set; the index comes last, since all else goes by it.

    Interrupted between any two of them, it is done again: what is moved or replaced already stays so.
    """
    for kind in ("images", "labels"):
        for file in sorted((folder / kind).iterdir()):
            os.replace(file, path / kind / file.name)
    for name in ("tileset.json", MOMENTS, INDEX):
        os.replace(folder / name, path / name)
