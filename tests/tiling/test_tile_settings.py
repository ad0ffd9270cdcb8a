"""The settings of ``tile``: their forms, their checks, and that provenance and appending follow from the fields.

Covers ``settings`` and ``provenance``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from made_scenes import write_labels, write_scene

from satseg.errors import UsageError
from satseg.settings import Option
from satseg.tiles.tileset import HEADER
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


class LaterSettings(TileSettings):
    """Settings with an option that was added later."""

    dither: Annotated[int, Option("Noise to add.")] = 0
    verbose: Annotated[bool, Option("Say more.", recorded=False)] = False


def test_settings_at_their_defaults_leave_no_trace_in_provenance() -> None:
    assert TileSettings().provenance() == {}
    assert TileSettings(size=None, keep_empty=1.0, threads=2, overwrite=True).provenance() == {}


def test_text_as_on_the_command_line_is_taken_in_python() -> None:
    typed = TileSettings(bands="4,3", size="64px", min_pixels="a=5, b=1", split="0.6,0.2,0.2", unlabelled="0,255")
    assert typed == TileSettings(
        bands=[4, 3], size=64, min_pixels={"a": 5, "b": 1}, split=(0.6, 0.2, 0.2), unlabelled=[0, 255]
    )
    assert TileSettings(split="val").one_split == "val"
    assert TileSettings(split="val").shares == TileSettings().shares


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"split": "most"}, "`split` is 'most', neither three numbers nor one of train, val, test"),
        ({"min_pixels": "road"}, "`min_pixels` is 'road'; it takes a number of pixels"),
        ({"min_pixels": {"road": -1}}, "takes a number of pixels of 0 or more"),
        ({"append": True, "overwrite": True}, "`append` adds to a tile set and `overwrite` replaces it"),
        ({"sampling": "dense"}, "`sampling` is 'dense', not 'grid' or 'random'"),
        ({"buffer": "far"}, "`buffer='far'` is not a length"),
        ({"sise": 3}, "takes no argument 'sise'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TileSettings(**values)


def test_an_option_that_is_added_reaches_provenance_and_later_tiles(tmp_path: Path) -> None:
    output = tmp_path / "tiles"
    for number, settings in enumerate([LaterSettings(size=32, dither=3, verbose=True), LaterSettings(append=True)]):
        values = np.random.default_rng(number).integers(0, 255, (1, 64, 96), dtype=np.uint8)
        scene = write_scene(tmp_path / f"{number}.tif", values)
        labels = write_labels(tmp_path / f"{number}.gpkg", (0, 0, 40, 40))
        tile(scene, labels=labels, output=output, settings=settings)
    first, second = json.loads((output / HEADER).read_text())["provenance"]
    assert first["dither"] == second["dither"] == 3
    assert "verbose" not in first
