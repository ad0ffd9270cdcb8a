"""The option of commands that read extra rasters with their scenes."""

from __future__ import annotations

from typing import Annotated

from satseg.arguments import STEM, Given, Paths
from satseg.settings import INPUTS, Option

Extra = Annotated[
    Given[Paths, tuple[str, ...]],
    Option(
        "Raster, such as elevation, to warp onto the grid of each scene; its bands follow those of the scene. "
        f"{STEM} is replaced by the name of the scene; without it, one raster covers all scenes. May be repeated.",
        panel=INPUTS,
        metavar="FILE",
        repeated=True,
    ),
]
