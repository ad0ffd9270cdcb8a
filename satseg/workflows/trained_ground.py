"""Say that ground is scored which the network was trained on: the score is no promise for any other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import shapely

from satseg.errors import TileError
from satseg.presence import INDEX
from satseg.records import SceneInfo
from satseg.tiles.tileset import TileSet
from satseg.vectorization.footprint import ground_of

log = logging.getLogger("satseg")

_LITTLE = 0.01  # share of the ground


def warn_of_trained_ground(tiles: Path | None, scenes: Sequence[SceneInfo]) -> None:
    """Warn where tiles of the train split cover more than a little of some scenes.

    Args:
        tiles: Tile set that the network was trained on; None, or one that is gone, says nothing.
        scenes: What is scored.
    """
    share = 0.0 if tiles is None or not (tiles / INDEX).is_file() else trained_share(tiles, scenes)
    if share > _LITTLE:
        log.warning(
            "The network was trained on %.0f %% of the ground that is scored, so that the score is too good to trust. "
            "Score other scenes, or the tiles that were kept from training: satseg evaluate RUN",
            100 * share,
        )


def trained_share(tiles: Path, scenes: Sequence[SceneInfo]) -> float:
    """Return which share of the ground of scenes tiles of the train split cover, in 0..1.

    Args:
        tiles: A tile set; one that cannot be read, or is nowhere on the ground, covers nothing.
        scenes: They count by their area in the CRS of the tile set.
    """
    try:
        index = TileSet.open(tiles).index
    except TileError:
        return 0.0
    if index.crs is None:
        return 0.0
    trained = index[(index["split"] == "train") & (index["weight"] > 0)].geometry.dropna().to_numpy()
    tree, crs = shapely.STRtree(trained), index.crs.to_wkt()
    whole = covered = 0.0
    for scene in scenes:
        ground = None if scene.crs is None else ground_of(scene, crs)
        if ground is not None:
            met = trained[tree.query(ground, predicate="intersects")]
            whole += ground.area
            covered += shapely.intersection(shapely.union_all(met), ground).area
    return covered / whole if whole else 0.0
