"""Describe the scenes of a tile set: agree on their bands, leave out copies."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from satseg.arguments import list_few
from satseg.errors import SatsegError, SceneError, TileError, printable
from satseg.files.names import identity
from satseg.raster.scales import same_scale
from satseg.raster.selection import is_generic, select_bands
from satseg.raster.voids import describe_undeclared_void
from satseg.records import BandSpec, Progress, ProgressEvent, SceneInfo, no_progress
from satseg.tiles.tileset import TileSet
from satseg.tiling.content_hash import content_hash
from satseg.tiling.sources import SceneFiles

log = logging.getLogger("satseg")

_LONGEST_NAME = 180  # bytes of 255
_RANKS: dict[str | None, int] = {"train": 3, "val": 2, "test": 1}


@dataclass(frozen=True)
class DescribedScenes:
    """Scenes of one tile set.

    Args:
        sources: How each is opened, with the bands of all in one order.
        infos: What is known of each.
        contents: Path by the hash of the content of a scene.
    """

    sources: tuple[SceneFiles, ...]
    infos: tuple[SceneInfo, ...]
    contents: Mapping[str, str]

    def resampled(self, gsd: float) -> DescribedScenes:
        """Return the same scenes, resampled to a resolution in metres per pixel.

        Raises:
            SceneError: A scene cannot be used.
        """
        sources = tuple(replace(source, gsd=gsd) for source in self.sources)
        infos, hashes = [], {}
        for source, info in zip(sources, self.infos, strict=True):
            with source.open() as scene:
                names = info.bands.names  # those that all scenes share
                infos.append(replace(scene.info, bands=replace(scene.info.bands, names=names)))
                hashes[info.path] = content_hash(scene)
        contents = {shown: path for path in self.contents.values() if (shown := hashes[path]) is not None}
        return DescribedScenes(sources, tuple(infos), contents)


def describe_all(
    sources: Sequence[SceneFiles],
    base: TileSet | None,
    *,
    by_number: bool = False,
    paired: bool = False,
    progress: Progress = no_progress,
) -> DescribedScenes:
    """Describe the scenes of one tile set.

    Bands are matched by name with those of the first scene, or of the tile set that is added to, which may have fewer.
    Where the names differ, bands are matched by position; a band with several names is called by its number. Copies of
    a scene, and scenes that are in the tile set already, are left out with a message, since their pixels would be in
    several splits. The first copy is kept; of scenes assigned to splits, test before val before train.

    Args:
        sources: The scenes.
        base: The tile set that is added to, or None.
        by_number: Whether bands were chosen by number, so that names are ignored.
        paired: Whether each scene has labels of its own, which are left out with it.
        progress: Called after each scene.

    Raises:
        SceneError: A scene cannot be used.
        TileError: Their bands differ in number, dtype or scale, from each other or from those of the tile set, or all
            of them are in it already.
    """
    seen = _Duplicates(base)
    found: dict[int, tuple[SceneFiles, SceneInfo]] = {}
    first: SceneInfo | None = None
    unfit: list[tuple[str, SatsegError]] = []
    voids: list[str] = []
    in_ranks = sorted(enumerate(sources), key=lambda entry: _RANKS.get(entry[1].split, 0))
    for done, (number, source) in enumerate(in_ranks, start=1):
        progress(ProgressEvent("Reading scenes", done, len(sources), "scene"))
        if seen.has_files(source):
            continue
        try:
            bands = None if first is None else first.bands
            source, info, shown, void = _describe(source, bands, base, by_number=by_number)
            first = first or info
            _check_alike(info, first, base)
        except (SceneError, TileError) as error:
            unfit.append((source.source.name, error))
            continue
        if not seen.has_content(info.path, shown):
            found[number] = source, info
            voids += [] if void is None else [f"{info.path} {void}"]
    _refuse(unfit)
    seen.report(anything_new=bool(found), paired=paired)
    chosen, infos = zip(*(found[number] for number in sorted(found)), strict=True)
    _warn_of_doubts(infos)
    _warn_of_voids(voids)
    return DescribedScenes(chosen, tuple(_with_common_names(infos, base, by_number=by_number)), seen.contents)


def _refuse(unfit: Sequence[tuple[str, SatsegError]]) -> None:
    """Raise the error of the first scene that cannot be used, with the names of others."""
    if unfit:
        error, others = unfit[0][1], [name for name, _ in unfit[1:]]
        if others:
            error.message += f" Also unusable: {list_few(others)}."
            error.args = (error.message,)
        raise error


def _warn_of_doubts(infos: Sequence[SceneInfo]) -> None:
    """Warn of implausible georeferences: the first one, and their number."""
    doubted = [info for info in infos if info.doubt]
    if doubted:
        more = f" ({len(doubted) - 1} more scenes are doubtful, too)" if len(doubted) > 1 else ""
        log.warning("%s %s%s.", doubted[0].path, doubted[0].doubt, more)


def _warn_of_voids(voids: Sequence[str]) -> None:
    """Warn of corners where nothing seems to be recorded: the first one, and their number."""
    if voids:
        more = f" ({len(voids) - 1} more scenes look like that, too)" if len(voids) > 1 else ""
        log.warning("%s%s", voids[0], more)


class _Duplicates:
    """Scenes that are in a tile set already, or were named earlier."""

    def __init__(self, base: TileSet | None) -> None:
        self._base = base
        self._paths: frozenset[str] = frozenset() if base is None else frozenset(base.index["scene"])
        before = {} if base is None else base.contents
        self._before = {shown: path for shown, path in before.items() if path in self._paths}
        self._named: dict[tuple[str, ...], str] = {}
        self._twins: list[tuple[str, str]] = []
        self._there: list[tuple[str, str]] = []
        self.contents: dict[str, str] = {}

    def has_files(self, source: SceneFiles) -> bool:
        """Tell whether a scene is in the tile set by name, or the same files were named before."""
        files, name = identity(source.source.paths), source.source.name
        if name in self._paths:
            self._there.append((name, name))
            return True
        return self._again(self._named, files, name)

    def has_content(self, path: str, shown: str | None) -> bool:
        """Tell whether the tile set, or another scene, has the same content."""
        if shown is None:
            return False
        if shown in self._before:
            self._there.append((path, self._before[shown]))
            return True
        return self._again(self.contents, shown, path)

    def report(self, *, anything_new: bool, paired: bool) -> None:
        """Log the scenes that are left out, with their labels where they have their own.

        Raises:
            TileError: All of them are in the tile set already.
        """
        if self._there:
            assert self._base is not None
            path, known = self._there[0]
            same = "" if path == known else f" as {known}"
            if not anything_new:
                raise TileError(
                    f"{path} is in {self._base.path} already{same}.",
                    hint="To cut it again, delete its rows from the index first.",
                )
            log.info(
                "Skipping scenes that are in %s already: %d, such as %s%s.",
                self._base.path,
                len(self._there),
                path,
                same,
            )
        if self._twins:
            log.info(
                "Skipping copies of other scenes%s: %d, such as %s, a copy of %s.",
                ", with their labels" if paired else "",
                len(self._twins),
                *self._twins[0],
            )

    def _again(self, seen: dict[Any, str], key: object, path: str) -> bool:
        if key in seen:
            self._twins.append((path, seen[key]))
            return True
        seen[key] = path
        return False


def _describe(
    source: SceneFiles, first: BandSpec | None, base: TileSet | None, *, by_number: bool
) -> tuple[SceneFiles, SceneInfo, str | None, str | None]:
    """Return the scene with its bands in order, what it is, a hash of its content, and what is said of void corners."""
    wanted = first if base is None else base.bands
    with source.open() as scene:
        order = (
            None
            if by_number or wanted is None
            else _reordered(
                scene.info.bands.own, wanted.first(len(wanted) - scene.info.bands.extra), among=base is not None
            )
        )
        if order is None:
            return source, scene.info, content_hash(scene), describe_undeclared_void(scene)
    source = replace(source, source=replace(source.source, bands=order))
    with source.open() as scene:
        return source, scene.info, content_hash(scene), describe_undeclared_void(scene)


def _reordered(bands: BandSpec, wanted: BandSpec, *, among: bool) -> tuple[str, ...] | None:
    """Return the names of the wanted bands if the scene has them in another order.

    With ``among``, the scene may have further bands.
    """
    theirs, ours = sorted(_folded(bands)), sorted(_folded(wanted))
    return select_bands(bands, wanted.names) if theirs == ours or (among and len(theirs) > len(ours)) else None


def _check_alike(info: SceneInfo, first: SceneInfo, base: TileSet | None) -> None:
    bands, gsd, name = (first.bands, first.gsd, first.path) if base is None else (base.bands, base.gsd, str(base.path))
    if (len(info.bands), info.bands.dtype) != (len(bands), bands.dtype):
        raise TileError(
            f"{info.path} has {_spell(info.bands)}, but {name} has {_spell(bands)}.",
            hint="Scenes of one tile set need the same number of bands and the same dtype; select bands with `bands`.",
        )
    if not same_scale(info.bands, bands):
        raise TileError(
            f"{info.path} has other scales or offsets than {name}: {_scales(info.bands)} against {_scales(bands)}.",
            hint="Convert them to one scale first, for example with gdal_translate -unscale.",
        )
    if info.gsd and gsd and abs(info.gsd[0] / gsd[0] - 1) > 0.1:
        log.warning("%s has %.3g m per pixel, but %s has %.3g.", info.path, info.gsd[0], name, gsd[0])


def _with_common_names(infos: Sequence[SceneInfo], base: TileSet | None, *, by_number: bool) -> list[SceneInfo]:
    """Give all scenes the same band names, and warn where they differ."""
    names, whose = (infos[0].bands.names, infos[0].path) if base is None else (base.bands.names, str(base.path))
    folded = tuple(name.casefold() for name in names)
    other = [info for info in infos if _folded(info.bands) != folded]
    shuffled = [info for info in other if sorted(_folded(info.bands)) == sorted(folded)]
    unnamed = by_number or all(map(is_generic, names))
    example = next(iter(shuffled or ([] if unnamed else other)), None)
    if example is not None:
        log.warning(
            "Bands are matched by position, since their names differ from those of %s (%s) in %d scenes, such as %s "
            "(%s).",
            whose,
            ", ".join(names),
            len(other),
            example.path,
            ", ".join(example.bands.names),
        )
    if base is None and other:
        columns = zip(*(_folded(info.bands) for info in infos), strict=True)
        names = tuple(
            name if len(set(column)) == 1 else f"band_{number}"
            for number, (name, column) in enumerate(zip(names, columns, strict=True), start=1)
        )
    return [replace(info, bands=replace(info.bands, names=names)) for info in infos]


def _folded(bands: BandSpec) -> tuple[str, ...]:
    return tuple(name.casefold() for name in bands.names)


def _scales(bands: BandSpec) -> str:
    return f"scale {bands.scales[0]:g}, offset {bands.offsets[0]:g} of {bands.names[0]}"


def _spell(bands: BandSpec) -> str:
    return f"{len(bands)} bands of {bands.dtype} ({', '.join(bands.names)})"


def _plain(stem: str) -> str:
    """Return a stem without control characters, shortened so that numbers and suffixes can be appended."""
    return re.sub(r"[\x00-\x1f\x7f]", "_", printable(stem)).encode()[:_LONGEST_NAME].decode("utf-8", "ignore")


def unique_names(stems: Sequence[str], base: TileSet | None) -> list[str]:
    """Return a unique name per scene: the stem of its file, numbered where several scenes share it."""
    stems = [_plain(stem) for stem in stems]
    taken = set() if base is None else {str(tile).rsplit("_", 2)[0] for tile in base.index["tile"]}
    shared = Counter(stems)
    names: list[str] = []
    for number, stem in enumerate(stems):
        name = f"{stem}-{number}" if shared[stem] > 1 else stem
        while name in taken:
            name = f"{name}-{number}"
        names.append(name)
        taken.add(name)
    return names
