"""Warn if a network is scored on ground that it was trained on: the score is then optimistic."""

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

_NEGLIGIBLE = 0.01  # fraction of the scored ground


def warn_of_trained_ground(tiles: Path | None, scenes: Sequence[SceneInfo]) -> None:
    """Warn if training tiles cover more than 1 % of the ground of some scenes.

    Args:
        tiles: Tile set that the network was trained on; None, or a missing one, gives no warning.
        scenes: Scenes that are scored.
    """
    fraction = 0.0 if tiles is None or not (tiles / INDEX).is_file() else trained_fraction(tiles, scenes)
    if fraction > _NEGLIGIBLE:
        log.warning(
            "The network was trained on %.0f %% of the scored ground, so that the score is optimistic. Score other "
            "scenes, or the test tiles of the run: `satseg.evaluate('RUN')`",
            100 * fraction,
        )


def trained_fraction(tiles: Path, scenes: Sequence[SceneInfo]) -> float:
    """Return the fraction of the ground of scenes that training tiles cover, 0..1.

    Args:
        tiles: A tile set; one that cannot be read or is not georeferenced covers nothing.
        scenes: The scenes, weighted by their area in the CRS of the tile set.
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
