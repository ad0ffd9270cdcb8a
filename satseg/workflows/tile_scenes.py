"""What ``tile`` is given: scenes and the files of their labels, found, described and compared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from satseg.errors import TileError, UsageError
from satseg.raster.scales import same_scale
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, SceneInfo
from satseg.tiles.sources import SceneFiles
from satseg.tiles.tileset import TileSet

log = logging.getLogger("satseg")


def find_scenes(
    scenes: Iterable[str | Path],
    stack: Sequence[str | Path],
    *,
    bands: Sequence[str] | None,
    gsd: float | None,
    extra: Sequence[str | Path],
) -> list[SceneFiles]:
    """Return what each scene is made of; the stack, where there is one, is the last.

    Raises:
        UsageError: There is no scene.
    """
    found = [SceneSource.of(scene, bands=bands) for scene in scenes]
    found += [SceneSource(tuple(map(str, stack)), None if bands is None else tuple(bands))] if stack else []
    if not found:
        raise UsageError("There is no scene to tile.")
    return [SceneFiles(source, gsd, tuple(map(str, extra))) for source in found]


def label_files(
    labels: str | Path | Sequence[str | Path], masks: dict[str, str] | None
) -> list[str | Path] | dict[str, str]:
    """Return the labels of all scenes, or the mask of each.

    Raises:
        UsageError: There are both.
    """
    files = [labels] if isinstance(labels, str | Path) else list(labels)
    if masks is not None and files:
        raise UsageError("The masks of --pairs are the labels; --labels does not go with them.")
    return files if masks is None else masks


def parse_gsd(text: str | None) -> float | None:
    """Read a ground resolution such as ``0.5m`` in metres per pixel.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    number = text.strip().removesuffix("m")
    try:
        metres = float(number)
    except ValueError:
        metres = 0.0
    if not 0 < metres < np.inf:
        raise UsageError(f"{text!r} is not a ground resolution such as 0.5m.")
    return metres


def describe_all(sources: Sequence[SceneFiles], base: TileSet | None) -> list[SceneInfo]:
    """Describe scenes that go into one tile set.

    Args:
        sources: The scenes.
        base: The tile set that they are added to, or None.

    Raises:
        SceneError: A scene cannot be used.
        TileError: Their bands differ from each other or from those of the tile set, or one is in it already.
    """
    infos: list[SceneInfo] = []
    for source in sources:
        with source.open() as scene:
            infos.append(scene.info)
        _check_alike(infos[-1], infos[0], base)
    return infos


def _check_alike(info: SceneInfo, first: SceneInfo, base: TileSet | None) -> None:
    bands, gsd, name = (first.bands, first.gsd, first.path) if base is None else (base.bands, base.gsd, str(base.path))
    if (info.bands.names, info.bands.dtype) == (bands.names, bands.dtype) and not same_scale(info.bands, bands):
        raise TileError(
            f"{info.path} has other scales or offsets than {name}: {_scales(info.bands)} against {_scales(bands)}.",
            hint="Bring them to one scale first, for example with gdal_translate -unscale.",
        )
    if (info.bands.names, info.bands.dtype) != (bands.names, bands.dtype):
        raise TileError(
            f"{info.path} has {_spell(info.bands)}, but {name} has {_spell(bands)}.",
            hint="Scenes of one tile set need the same bands and dtype; --bands chooses among them.",
        )
    if info.gsd and gsd and abs(info.gsd[0] / gsd[0] - 1) > 0.1:
        log.warning("%s has %.3g m per pixel, %s has %.3g.", info.path, info.gsd[0], name, gsd[0])
    if base is not None and (base.index["scene"] == info.path).any():
        raise TileError(
            f"{info.path} is in {base.path} already.", hint="Delete its rows from the index first, to cut it anew."
        )


def _scales(bands: BandSpec) -> str:
    return f"scale {bands.scales[0]:g}, offset {bands.offsets[0]:g} of {bands.names[0]}"


def _spell(bands: BandSpec) -> str:
    return f"{len(bands)} bands of {bands.dtype} ({', '.join(bands.names)})"


def unique_names(stems: Sequence[str], base: TileSet | None) -> list[str]:
    """Return a name per scene: its file's stem, numbered where several scenes share it."""
    taken = set() if base is None else {str(tile).rsplit("_", 2)[0] for tile in base.index["tile"]}
    names: list[str] = []
    for number, stem in enumerate(stems):
        name = f"{stem}-{number}" if stems.count(stem) > 1 else stem
        while name in taken:
            name = f"{name}-{number}"
        names.append(name)
        taken.add(name)
    return names
