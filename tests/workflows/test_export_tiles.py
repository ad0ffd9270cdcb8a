from __future__ import annotations

import shutil
from pathlib import Path

import geopandas
import pytest
from exported_networks import small_checkpoint

from satseg.checkpoint import Checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, TileError
from satseg.presence import INDEX
from satseg.records import BandSpec
from satseg.tiles.index import pixels_column
from satseg.tiles.tileset import TileSet
from satseg.workflows.export_tiles import labelled_tiles, tiles_there_are


@pytest.fixture
def checkpoint(bright_tiles: Path, tmp_path: Path) -> Checkpoint:
    """A checkpoint outside of a run that fits the tiles."""
    tile_set = TileSet.open(bright_tiles)
    return Checkpoint.load(small_checkpoint(tmp_path, classes=tile_set.classes, bands=tile_set.bands)[0])


def test_val_tiles_of_the_set_that_is_named_are_taken(checkpoint: Checkpoint, bright_tiles: Path) -> None:
    found = tiles_there_are(checkpoint, bright_tiles)
    assert found is not None
    assert found.tiles == tuple(TileSet.open(bright_tiles).tiles("val"))
    assert str(found) == f"4 val tiles of {bright_tiles}"
    assert labelled_tiles(checkpoint, bright_tiles) == found


def test_a_checkpoint_outside_of_a_run_has_none(checkpoint: Checkpoint) -> None:
    assert tiles_there_are(checkpoint, None) is None
    with pytest.raises(TileError, match=r"but .*model\.safetensors lies in no run that names its tile set") as found:
        labelled_tiles(checkpoint, None)
    assert found.value.hint == "Name a tile set with the same bands and classes with `tiles`."


def test_a_tile_set_that_is_gone_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(TileError, match=r"needs labelled val tiles, but there is no tile set .*gone"):
        labelled_tiles(checkpoint, tmp_path / "gone")


def test_tiles_that_do_not_fit_are_refused(checkpoint: Checkpoint, bright_tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    others = {
        r"knows the classes sea, land, but .* holds": {"classes": ClassTable.from_names(["sea", "land"])},
        "does not match": {"bands": BandSpec(("red", "nir"), "uint8", (1.0,) * 2, (0.0,) * 2)},
    }
    for told, card in others.items():
        kept = {"classes": checkpoint.card.classes, "bands": checkpoint.card.bands} | card
        other = Checkpoint.load(small_checkpoint(tmp_path / "other", **kept)[0])
        for find in (tiles_there_are, labelled_tiles):
            with pytest.raises(CheckpointError, match=told):
                find(other, bright_tiles)


def test_val_tiles_without_labels_cannot_score(bright_tiles: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    shutil.copytree(bright_tiles, folder)
    index = geopandas.read_parquet(folder / INDEX)
    for name in checkpoint.card.classes.names:
        index[pixels_column(name)] = 0
    index.to_parquet(folder / INDEX)
    assert tiles_there_are(checkpoint, folder) is not None
    with pytest.raises(TileError, match=r"but those of .*tiles have no labels"):
        labelled_tiles(checkpoint, folder)
