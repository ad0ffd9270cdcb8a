"""How scenes are cut into tiles: the options of ``tile``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from satseg.arguments import (
    Bands,
    Given,
    Numbers,
    band_names,
    file_and_name,
    is_whole,
    numbers,
    paths,
    pixels,
    shown,
    words,
)
from satseg.errors import UsageError
from satseg.geo.units import Quantity, parse_length, parse_resolution
from satseg.labels.class_lists import class_map_files, read_class_map
from satseg.labels.class_map import ClassMap
from satseg.labels.settings import LabelSettings
from satseg.raster.settings import Extra
from satseg.settings import INPUTS, LABELS, PERFORMANCE, SPLITTING, TILES, Option, OptionField, options_of
from satseg.tiles.splits import SPLITS, check_shares

LARGEST = 256
"""Side of tiles in pixels where scenes are large enough."""

AUTO = "auto"
"""Value of ``gsd`` that takes the resolution that suits the labels."""

_SMALLEST = 32  # px; networks need as much
_METRES = "a plain number is metres"


def _split(value: Any, name: str) -> str | tuple[float, ...]:
    """Return the name of a split, or the shares of all three."""
    if isinstance(value, str) and value in SPLITS:
        return value
    try:
        return numbers(value, name)
    except UsageError:
        raise UsageError(
            f"`{name}` is {shown(value)}, neither three numbers nor one of {', '.join(SPLITS)}.",
            hint="For example: `split='0.7,0.15,0.15'`, or `split='val'`",
        ) from None


def _counts(value: Any, name: str) -> dict[str, int]:
    """Return numbers of pixels by class, also of a text such as ``building=50,water=10``."""
    pairs = value.items() if isinstance(value, Mapping) else (word.rpartition("=")[::2] for word in words(value, name))
    found = {str(key): number if is_whole(number) else str(number).strip() for key, number in pairs}
    if not all(key and str(number).isdecimal() for key, number in found.items()):
        raise UsageError(
            f"`{name}` is {shown(value)}; it takes a number of pixels of 0 or more for each class.",
            hint="For example: `min_pixels='building=50,water=10'`",
        )
    return {key: int(number) for key, number in found.items()}


class TileSettings(LabelSettings):
    """How scenes are cut into tiles. With ``append``, settings that are not given are those of the tile set."""

    bands: Annotated[
        Given[Bands | None, tuple[str, ...] | None],
        Option("Bands to use, by number from 1 or by name: 4,3,2. Default: all.", panel=INPUTS, metavar="BANDS"),
    ] = Given(band_names)
    extra: Extra = Given(paths, ())
    gsd: Annotated[
        Quantity | None,
        Option(
            f"Resolution to resample scenes to: 0.5m, 50cm; {_METRES}; auto takes the coarsest at which the labelled "
            "objects keep enough pixels.",
            panel=INPUTS,
            metavar="LENGTH|auto",
        ),
    ] = None
    burn_order: Annotated[
        str,
        Option(
            "Which polygon is on top where several overlap: file (later ones), area (smaller ones), class (later "
            "classes), or an attribute of numbers (larger ones).",
            panel=LABELS,
            metavar="ORDER",
        ),
    ] = "file"
    all_touched: Annotated[
        bool, Option("Label every pixel that a polygon touches, not only those whose centre it covers.", panel=LABELS)
    ] = False
    ignore_border: Annotated[
        Quantity | None,
        Option(
            f"Distance from outlines within which labels are ignored: 2px, 1m; {_METRES}.",
            panel=LABELS,
            metavar="LENGTH",
        ),
    ] = None
    boundary: Annotated[
        Quantity | None,
        Option(
            f"Width of an additional class, boundary, along outlines and between touching objects: 3px, 1m; {_METRES}.",
            panel=LABELS,
            metavar="LENGTH",
        ),
    ] = None
    objects: Annotated[
        bool,
        Option(
            "Store beside the classes of each tile the ids of its objects: every label polygon, or every value of a "
            "raster of ids, is one.",
            panel=LABELS,
        ),
    ] = False
    size: Annotated[
        Given[str | int | None, int | None],
        Option(
            "Side of a tile in pixels. Default: 256, or less where scenes are too small to fill all splits.",
            panel=TILES,
            metavar="PX",
        ),
    ] = Given(pixels)
    overlap: Annotated[
        Given[str | int | None, int | None],
        Option(
            "Pixels shared by neighbouring training tiles; validation and test tiles never overlap. Default: half a "
            "tile.",
            panel=TILES,
            metavar="PX",
            minimum=0,
        ),
    ] = Given(pixels)
    sampling: Annotated[
        Literal["grid", "random"],
        Option(
            "Position of training tiles: on a grid, or at random within their block, as many as on a grid.",
            panel=TILES,
        ),
    ] = "grid"
    min_valid: Annotated[
        float,
        Option("Minimum share of valid pixels in a tile.", panel=TILES, metavar="SHARE", minimum=0, maximum=1),
    ] = 0.0
    keep_empty: Annotated[
        float,
        Option(
            "Share of the training tiles with nothing but background that is kept.",
            panel=TILES,
            metavar="SHARE",
            minimum=0,
            maximum=1,
        ),
    ] = 1.0
    min_pixels: Annotated[
        Given[str | Mapping[str, int] | None, dict[str, int] | None],
        Option(
            "Minimum number of pixels by class: building=50,water=10. A training tile must reach one of them.",
            panel=TILES,
            metavar="COUNTS",
        ),
    ] = Given(_counts)
    limit: Annotated[
        int | None, Option("Maximum number of tiles, drawn at random.", panel=TILES, metavar="N", minimum=1)
    ] = None
    split: Annotated[
        Given[str | Numbers, str | tuple[float, ...]],
        Option(
            "Shares of train, val and test by area; or train, val or test, which assigns all scenes to that split: add "
            "the others with `append`. A table of scenes with a column split overrides the default.",
            panel=SPLITTING,
            metavar="SHARES|NAME",
        ),
    ] = Given(_split, (0.7, 0.15, 0.15))
    split_by: Annotated[
        str | None,
        Option(
            "What is assigned to splits: block, scene, or polygons with an attribute of train, val or test, as in "
            "regions.gpkg:split. Default: block; scene where pairs of scenes and labels are enough to fill all splits.",
            panel=SPLITTING,
            metavar="UNIT",
        ),
    ] = None
    block: Annotated[
        Given[str | int | None, int | None],
        Option(
            "Side of the blocks that are assigned to splits, in pixels. Default: two tiles; more for large scenes, one "
            "where two do not fill all splits.",
            panel=SPLITTING,
            metavar="PX",
        ),
    ] = Given(pixels)
    buffer: Annotated[
        Quantity,
        Option(
            f"Minimum distance between training tiles and those of other splits: 64px, 20m; {_METRES}.",
            panel=SPLITTING,
            metavar="LENGTH",
        ),
    ] = "0px"
    seed: Annotated[int, Option("Seed of all random choices.", panel=SPLITTING, metavar="N", minimum=0)] = 0
    append: Annotated[
        bool,
        Option("Add to the existing tile set, with its settings where none are given.", recorded=False),
    ] = False
    overwrite: Annotated[
        bool, Option("Replace an existing tile set; other folders are never replaced.", recorded=False)
    ] = False
    resume: Annotated[bool, Option("Continue an interrupted run with the same arguments.", recorded=False)] = False
    threads: Annotated[
        int | None,
        Option(
            "Number of threads that write tiles. Default: one per available core.",
            panel=PERFORMANCE,
            metavar="N",
            minimum=1,
            recorded=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.split, tuple):
            check_shares(self.split)
        elif self.split_by is not None:
            raise UsageError(
                f"`split='{self.split}'` assigns all scenes to one split; `split_by` divides them. Give one of them."
            )
        if self.append and self.overwrite:
            raise UsageError("`append` adds to a tile set and `overwrite` replaces it. Give one of them.")
        self._check_sizes()
        if self.gsd is not None and self.gsd != AUTO:
            parse_resolution(self.gsd, "gsd")
        for name in ("ignore_border", "boundary", "buffer"):
            if getattr(self, name) is not None:
                parse_length(getattr(self, name), name)

    @property
    def ground_metres(self) -> float | None:
        """Resolution to resample scenes to, in metres per pixel; None leaves them as they are, or is open (auto)."""
        return None if self.gsd is None or self.gsd == AUTO else parse_resolution(self.gsd, "gsd")

    @property
    def meaning(self) -> LabelSettings:
        """What labels mean; type checkers know fields that are converted only by the class that declares them."""
        return self

    @property
    def one_split(self) -> str | None:
        """The split that all scenes are assigned to, or None."""
        return self.split if isinstance(self.split, str) else None

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of train, val and test."""
        return self.split if isinstance(self.split, tuple) else cast(tuple[float, ...], type(self).split)

    @property
    def divides(self) -> bool:
        """Whether the user said how scenes are divided among the splits."""
        return self.split_by is not None or ("split" in self.given and self.one_split is None)

    @property
    def regions(self) -> str | None:
        """File of the polygons that determine the splits."""
        return None if self.split_by in (None, "block", "scene") else file_and_name(self.split_by)[0]

    @property
    def files(self) -> list[str]:
        """All files that settings name."""
        named = (*self.extra, self.meaning.labelled_area, self.regions, *class_map_files(self.class_map))
        return [name for name in named if name is not None]

    @cached_property
    def classes(self) -> ClassMap | None:
        """The class map, read once from its texts and files."""
        return read_class_map(self.class_map)

    def provenance(self) -> dict[str, Any]:
        """Return the recorded settings that are not at their defaults, ready for JSON; the layout has the shares."""
        options = {option.name: option for option in options_of(type(self), python_only=True)}
        by_panel = sorted((options[entry.name] for entry in fields(self)), key=_place_of_panel)
        made = {
            "shares" if option.name == "split" and not self.one_split else option.name: option.value_in(self)
            for option in by_panel
            if option.declared.recorded and option.value_in(self) != option.default
        }
        if self.classes is not None:
            made |= {"class_map": self.classes.text, "class_colours": dict(self.classes.colours)}
        return made

    def _check_sizes(self) -> None:
        largest, least = (LARGEST, _SMALLEST) if self.size is None else (self.size, self.size)
        if least < _SMALLEST:
            raise UsageError(f"Tiles of {self.size} px are too small; networks need {_SMALLEST} px or more.")
        if self.overlap is not None and self.overlap >= largest:
            raise UsageError(f"An overlap of {self.overlap} px does not fit tiles of {largest} px.")
        if self.block is not None and self.block < least:
            raise UsageError(f"A block of {self.block} px cannot hold a tile of {least} px.")


def _place_of_panel(option: OptionField) -> int:
    panels = (None, INPUTS, LABELS, TILES, SPLITTING)
    return panels.index(option.declared.panel) if option.declared.panel in panels else len(panels)
