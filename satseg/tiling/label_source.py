"""Open the labels of tiles as the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from satseg.classes import ClassTable
from satseg.errors import UsageError
from satseg.geo.units import Quantity, parse_length
from satseg.labels.label_files import open_labels
from satseg.labels.label_source import LabelSource
from satseg.labels.labels import PixelLength
from satseg.records import Progress, SceneInfo
from satseg.tiles.tileset import TileSet
from satseg.tiling.cut import TileFilter, empty_class
from satseg.tiling.inputs import TileInputs
from satseg.tiling.settings import TileSettings

_WIDEST = 256  # px; pixels near outlines are found by shifting windows within that distance


def label_source(
    inputs: TileInputs,
    settings: TileSettings,
    infos: Sequence[SceneInfo],
    base: TileSet | None,
    progress: Progress,
) -> LabelSource:
    """Open the labels.

    Args:
        inputs: Their files, and the settings as given.
        settings: The settings, completed by those of the tile set that is added to.
        infos: The scenes.
        base: The tile set that is added to, or None.
        progress: Called after each class raster.

    Raises:
        LabelError: They cannot be read.
        UsageError: A setting does not fit them or the scenes.
    """
    source = open_labels(
        inputs.label_files,
        settings.meaning,
        class_map=settings.classes,
        classes=None if base is None else base.classes,
        burn_order=settings.burn_order,
        all_touched=settings.all_touched,
        ignore_border=_outline_width(settings.ignore_border, "ignore_border", infos),
        boundary=_outline_width(settings.boundary, "boundary", infos),
        keep_objects=settings.objects,
        progress=progress,
    )
    source.warn_of_unmatched(inputs.settings.classes)  # one that is kept may be about other labels
    return source


def tile_filter(settings: TileSettings, classes: ClassTable) -> TileFilter:
    """Return which tiles are kept.

    Raises:
        UsageError: There is no class background to tell empty tiles by, or no class of that name.
    """
    if settings.keep_empty < 1 and empty_class(classes) is None:
        raise UsageError(
            f"`keep_empty={settings.keep_empty}` needs a class background; the labels have {', '.join(classes.names)}.",
            hint="Name the value of background: `class_map='0=background,...'`",
        )
    counts = settings.min_pixels or {}
    for name in counts:
        if name not in classes.names:
            raise UsageError(f"`min_pixels` names a class {name!r}; the labels have {', '.join(classes.names)}.")
    return TileFilter(settings.min_valid, settings.keep_empty, counts)


def _outline_width(given: Quantity | None, name: str, infos: Sequence[SceneInfo]) -> PixelLength | None:
    """Return a function from a scene to a width along outlines in pixels, or None for no width.

    Raises:
        UsageError: It is less than a pixel of a scene, or more than a few hundred.
    """
    length = None if given is None else parse_length(given, name)
    if length is None or not length.value:
        return None

    def width(info: SceneInfo) -> float:
        return fmean(length.in_pixels(info.gsd))

    narrow, wide = (find(infos, key=width) for find in (min, max))
    if width(narrow) < 1 or width(wide) > _WIDEST:
        info = narrow if width(narrow) < 1 else wide
        raise UsageError(
            f"{length.given} is {width(info):.3g} px of {info.path}; widths along outlines are 1 to {_WIDEST} px.",
            hint="Give it in pixels, such as 2px; a number without a unit is metres.",
        )
    return width
