"""Tiles of a training run."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from satseg.errors import TileError
from satseg.evaluation.confusion import score
from satseg.evaluation.tiles import score_tiles
from satseg.files.fingerprint import fingerprint_of_files
from satseg.objects import ObjectOutputs
from satseg.objects.targets import TARGETS
from satseg.raster.bands import find_clipping, heavy_tails
from satseg.raster.values import ValueRange
from satseg.records import BandStatistics, Clipping, EvaluationReport, Progress, as_json, no_progress
from satseg.tiles.band_checks import band_warnings
from satseg.tiles.batches import TileReader
from satseg.tiles.tile import Tile
from satseg.tiles.tileset import TileSet
from satseg.training.devices import total_over
from satseg.training.loop import Network

_SAMPLED_TILES, _SAMPLED_PIXELS = 64, 2**14  # per tile: at most a million values of each band

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class TrainingData:
    """Tiles of a run.

    Args:
        tile_set: The tile set.
        train: Training tiles.
        val: Validation tiles.
        reader: Reads and caches tiles.
        objects: What is learnt about their objects, if anything.
    """

    tile_set: TileSet
    train: list[Tile]
    val: list[Tile]
    reader: TileReader
    objects: ObjectOutputs | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        cache_bytes: int,
        val_split: str = "val",
        *,
        objects: bool | None = False,
        outputs: ObjectOutputs = ObjectOutputs.EDGES,
    ) -> TrainingData:
        """Open a tile set.

        Args:
            path: Its folder.
            cache_bytes: Memory for decoded tiles.
            val_split: Split of the validation tiles.
            objects: Whether objects are learnt; None if the tile set keeps them.
            outputs: What is learnt about them.

        Raises:
            TileError: There is no tile set, or it has no labelled tiles for training or for validation, or no objects.
        """
        tile_set = TileSet.open(path)
        train = [tile for tile in tile_set.tiles("train") if tile.weight > 0]
        if not any(any(tile.pixels) for tile in train):
            what = "labelled pixel" if train else "tile"
            raise TileError(
                f"The tile set {tile_set.path} has no {what} to train on: its split train is empty.",
                hint="Check the columns split and weight of its index. Or tile again with `satseg.tile`, without "
                "`size` and `block`: it then chooses tiles and blocks that fill all splits.",
            )
        val = tile_set.tiles(val_split)
        if not any(any(tile.pixels) for tile in val):
            what = "labelled pixel" if val else "tile"
            raise TileError(
                f"The split {val_split} of {tile_set.path} has no {what}, so that the best weights cannot be selected.",
                hint="Set `val_split='train'` to validate on training tiles, whose scores are optimistic. Or move "
                "tiles to this split in the column split of the index. Or tile again with `satseg.tile`, with more "
                "scenes, or without `size` and `block`.",
            )
        if val_split != "val":
            log.warning("The best weights are selected by the split %s: their scores are optimistic.", val_split)
        for remark in band_warnings(tile_set):
            log.warning("%s", remark)
        with_objects = tile_set.objects is not None if objects is None else objects
        if with_objects:
            _check_objects(tile_set, train)
        values = ValueRange.of(tile_set.statistics)
        learnt = outputs if with_objects else None
        targets = TARGETS[learnt] if learnt else None
        reader = TileReader(tile_set.tile_size, cache_bytes=cache_bytes, targets=targets, values=values)
        return cls(tile_set, train, val, reader, learnt)

    def clipping(self, limit: float) -> Clipping | None:
        """Return what normalises the bands with heavy tails, see :func:`~satseg.raster.bands.find_clipping`.

        Args:
            limit: Standard deviations from the mean that are a heavy tail; 0 for none.
        """
        statistics = self.tile_set.statistics
        if not limit or not heavy_tails(statistics, limit).any():
            return None
        pieces = []
        for tile in self.train[:: -(-len(self.train) // _SAMPLED_TILES)]:
            sample = self.reader.read(tile)
            pixels = sample.bands[:, sample.valid]
            pieces.append(pixels[:, :: -(-pixels.shape[1] // _SAMPLED_PIXELS) or 1])
        return find_clipping(statistics, np.concatenate(pieces, axis=1), limit)

    def middle(self, limit: float) -> BandStatistics:
        """Return the statistics that raw values are normalised by, with those of :meth:`clipping` for heavy tails."""
        clipping, statistics = self.clipping(limit), self.tile_set.statistics
        return clipping.middle(statistics) if clipping else statistics

    def digest(self) -> str:
        """Return a hash of the tiles: their names, the contents of their files, and their split and weight."""
        tiles, made = (*self.train, *self.val), self.tile_set
        known = as_json([made.classes.to_dict(), made.bands.to_dict(), made.statistics])
        lines = [f"{tile.split} {tile.name} {tile.weight!r} {tile.pixels}" for tile in tiles]
        files = [file for tile in tiles for file in (tile.image, tile.labels)]
        if self.objects:
            files += [tile.objects for tile in self.train if tile.objects]
        lines += [json.dumps(known), fingerprint_of_files(files)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def score(
        self, network: Network, batch_size: int, fabric: Fabric, progress: Progress = no_progress
    ) -> EvaluationReport:
        """Score a network on the validation tiles, which are distributed over the processes."""
        names = self.tile_set.classes.names
        mine = self.val[fabric.global_rank :: fabric.world_size]
        report = score_tiles(network, mine, self.reader, names=names, batch_size=batch_size, progress=progress)
        total = total_over(fabric.world_size)
        return score(total(torch.tensor(report.confusion, device=fabric.device)).cpu().numpy(), names)


def _check_objects(tile_set: TileSet, train: list[Tile]) -> None:
    """Refuse a tile set without objects, or with train tiles that have none on file."""
    if tile_set.objects is None:
        raise TileError(
            f"The tile set {tile_set.path} keeps no objects, so that they cannot be learnt.",
            hint="Tile again with `objects=True`, or leave `objects` out.",
        )
    lacking = [tile.name for tile in train if tile.objects is None]
    if lacking:
        raise TileError(
            f"The index of {tile_set.path} names no objects of {len(lacking)} tiles, such as {lacking[0]}.",
            hint="Name their file in the column objects, or train with `objects=False`.",
        )
