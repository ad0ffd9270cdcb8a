"""Settings of evaluations."""

from __future__ import annotations

from typing import Annotated, Literal

from satseg.arguments import (
    Bands,
    Given,
    PathLike,
    band_names,
    path,
    paths,
    pixels,
    pixels_or_auto,
)
from satseg.backend.settings import CustomArch, Device, Overlap, Precision, Seed, Threads, Window
from satseg.errors import UsageError
from satseg.geo.units import Length, Quantity, parse_length, parse_resolution
from satseg.labels.settings import LabelSettings
from satseg.raster.settings import Extra
from satseg.settings import INPUTS, MEASURES, OUTPUTS, WINDOWS, Option, Settings


class MeasureSettings(Settings):
    """What an evaluation measures."""

    boundary_tolerance: Annotated[
        Quantity,
        Option(
            "Maximum distance of matching boundaries: 2px, 0.5m, or a percentage of the diagonal of a tile or block; a "
            "plain number is in metres.",
            metavar="LENGTH",
            panel=MEASURES,
        ),
    ] = "0.75%"
    boundary_width: Annotated[
        Quantity,
        Option(
            "Width of the bands of the boundary IoU, in the same units as `boundary_tolerance`.",
            metavar="LENGTH",
            panel=MEASURES,
        ),
    ] = "2%"
    pixels_only: Annotated[bool, Option("Skip boundaries and objects; faster for large maps.", panel=MEASURES)] = False
    block: Annotated[
        Given[str | int, int],
        Option(
            "Side of the blocks into which scenes are divided; they are scored and resampled as tiles are.",
            metavar="PX",
            panel=MEASURES,
            minimum=1,
        ),
    ] = Given(pixels, 512)
    bootstrap: Annotated[
        int,
        Option(
            "Bootstrap replicates of tiles or blocks for confidence intervals; 0 turns them off.",
            panel=MEASURES,
            minimum=0,
        ),
    ] = 1000
    seed: Seed = 0
    worst: Annotated[
        int, Option("Report the N tiles, or blocks of scenes, with the lowest mean IoU.", panel=OUTPUTS, minimum=0)
    ] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tolerance, self.width  # noqa: B018 - a wrong unit is an error before any work

    @property
    def tolerance(self) -> Length:
        """``boundary_tolerance`` as a length."""
        return parse_length(self.boundary_tolerance, "boundary_tolerance", per_cent=True)

    @property
    def width(self) -> Length:
        """``boundary_width`` as a length."""
        return parse_length(self.boundary_width, "boundary_width", zero=False, per_cent=True)


class EvaluateSettings(LabelSettings, MeasureSettings):
    """Settings of an evaluation.

    Raises:
        UsageError: A value is invalid.
    """

    split: Annotated[
        Literal["train", "val", "test"], Option("Split of the tile set, or of a table of scenes, to score.")
    ] = "test"
    aoi: Annotated[
        Given[PathLike | None, str | None],
        Option("Vector file of the area of interest, in any CRS; only pixels inside are scored.", metavar="FILE"),
    ] = Given(path)
    bands: Annotated[
        Given[Bands | None, tuple[str, ...] | None],
        Option(
            "Bands of scenes to read, by number or name, separated by commas. Default: the bands of the training, by "
            "name.",
            metavar="NAMES",
            panel=INPUTS,
        ),
    ] = Given(band_names)
    extra: Extra = Given(paths, ())
    gsd: Annotated[
        Quantity | None,
        Option(
            "Pixel size, such as 0.5m or 50cm, of a grid on which polygons are compared with polygons; a plain number "
            "is in metres. Default: objects are matched exactly, and no pixels are counted.",
            metavar="LENGTH",
            panel=MEASURES,
        ),
    ] = None
    objects: Annotated[
        bool,
        Option(
            "Compare objects: those of rasters, of the map and of the labels, in which each has an id of its own, as "
            "`predict` writes them; or those that a network which has learnt objects divides its map into.",
            panel=MEASURES,
        ),
    ] = False
    tune_objects: Annotated[
        bool,
        Option(
            "Find the `marker_depth` and `min_area` that give the best object F1 on the val tiles, and store them in "
            "the checkpoint, where `predict` finds them; then score with them.",
            panel=OUTPUTS,
        ),
    ] = False
    rank: Annotated[
        bool,
        Option(
            "Write loss, accuracy and IoU of every tile into the index of the tile set, to find wrong labels and "
            "difficult tiles in a GIS.",
            panel=OUTPUTS,
        ),
    ] = False
    arch: CustomArch = None
    window: Window = Given(pixels_or_auto)
    overlap: Overlap = Given(pixels_or_auto, "auto")
    batch_size: Annotated[
        int | None,
        Option(
            "Tiles or windows per forward pass. Default: 4 tiles, or a number of windows that suits the device.",
            panel=WINDOWS,
            minimum=1,
        ),
    ] = None
    device: Device = "auto"
    precision: Precision = "auto"
    threads: Threads = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resolution  # noqa: B018 - likewise
        for name in ("objects", "tune_objects"):
            if getattr(self, name) and self.pixels_only:
                raise UsageError(f"`{name}` and `pixels_only` exclude each other.", hint="Leave one of them out.")

    @property
    def resolution(self) -> float | None:
        """``gsd`` in metres."""
        return None if self.gsd is None else parse_resolution(self.gsd, "gsd")
