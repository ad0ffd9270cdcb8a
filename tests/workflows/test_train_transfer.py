"""Runs that start from the weights of another network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import interrupt_after, run, weights

from satseg import create_model
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.classes import ClassTable
from satseg.errors import CheckpointError
from satseg.records import BandSpec, BandStatistics
from satseg.tiles.tileset import TileSet


@pytest.fixture
def wider(tmp_path: Path, bright_tiles: Path) -> Path:
    """A checkpoint of an ERFNet with other bands and more classes than the tiles have."""
    names = ["water", "forest", "field", "town", "road"]
    card = replace(
        card_of(bright_tiles),
        classes=ClassTable.from_names(names),
        bands=BandSpec(("red", "green", "blue"), "uint8", (1.0,) * 3, (0.0,) * 3),
        statistics=BandStatistics(1, (110.0,) * 3, (45.0,) * 3, (0.0,) * 3, (255.0,) * 3),
    )
    torch.manual_seed(7)
    path = tmp_path / "wider.safetensors"
    save_checkpoint(path, create_model("erfnet", in_channels=3, num_classes=5).state_dict(), card)
    return path


def card_of(tiles: Path) -> ModelCard:
    tile_set = TileSet.open(tiles)
    parts = (tile_set.classes, tile_set.bands, tile_set.statistics, tile_set.gsd, tile_set.tile_size)
    return ModelCard("erfnet", *parts)


def test_a_run_starts_from_what_fits_of_another_network_and_lists_the_rest(
    bright_tiles: Path, tmp_path: Path, wider: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "satseg"):
        run(bright_tiles, tmp_path / "run", steps=1, lr=1e-9, init_from=wider)
    theirs, ours = (Checkpoint.load(path).read_weights() for path in (wider, tmp_path / "run" / "last.safetensors"))
    fitting = [name for name in ours if ours[name].shape == theirs[name].shape and "running" not in name]
    assert all(torch.allclose(ours[n].float(), theirs[n].float(), atol=1e-6) for n in fitting if "batches" not in n)
    told = next(message for message in caplog.messages if message.startswith("Starting from"))
    differing = [name for name in ours if ours[name].shape != theirs[name].shape]
    assert differing
    assert all(f"{name} {tuple(theirs[name].shape)} for {tuple(ours[name].shape)}" in told for name in differing)


def test_a_run_that_was_begun_needs_its_source_no_more(bright_tiles: Path, tmp_path: Path, wider: Path) -> None:
    run(bright_tiles, tmp_path / "unbroken", init_from=wider)
    with pytest.raises(KeyboardInterrupt):
        run(bright_tiles, tmp_path / "broken", init_from=wider, progress=interrupt_after(4))
    wider.rename(tmp_path / "elsewhere")
    run(bright_tiles, tmp_path / "broken", init_from=wider, resume=True)
    assert weights(tmp_path / "broken") == weights(tmp_path / "unbroken")


@pytest.mark.parametrize(("times", "warned"), [(1.5, False), (5.0, True), (0.2, True)])
def test_a_source_of_another_pixel_size_is_named(
    bright_tiles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, times: float, warned: bool
) -> None:
    card = card_of(bright_tiles)
    assert card.gsd is not None
    card = replace(card, gsd=(card.gsd[0] * times, card.gsd[1] * times))
    source = tmp_path / "source.safetensors"
    save_checkpoint(source, create_model("erfnet", in_channels=3, num_classes=2).state_dict(), card)
    run(bright_tiles, tmp_path / "run", steps=1, init_from=source)
    assert any("is of another scale" in message for message in caplog.messages) == warned


def test_a_source_that_fits_nowhere_is_refused(bright_tiles: Path, tmp_path: Path, wider: Path) -> None:
    with pytest.raises(CheckpointError, match=r"The network cannot start from .*wider\.safetensors"):
        run(bright_tiles, tmp_path / "run", arch="enet", init_from=wider)
    with pytest.raises(CheckpointError, match="does not exist"):
        run(bright_tiles, tmp_path / "other", init_from=tmp_path / "absent.safetensors")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "other").exists()
