"""What ``tile`` is given: scenes and the files of their labels, found, described and compared."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from satseg.errors import SatsegError, SceneError, TileError, UsageError, printable
from satseg.files.names import identity
from satseg.raster.scales import same_scale
from satseg.raster.selection import is_generic, select_bands
from satseg.raster.source import SceneSource
from satseg.records import BandSpec, Progress, ProgressEvent, SceneInfo, no_progress
from satseg.tiles.tileset import TileSet
from satseg.tiling.appending import TileOptions
from satseg.tiling.content_hash import content_hash
from satseg.tiling.scene_table import LabelledScene
from satseg.tiling.sources import SceneFiles
from satseg.tiling.split_folders import warn_of_split_folders

log = logging.getLogger("satseg")

_FEW = 3  # scenes that a message names
_LONGEST_NAME = 180  # bytes of 255
_RANKS: dict[str | None, int] = {"train": 3, "val": 2, "test": 1}


@dataclass(frozen=True)
class GivenScenes:
    """Scenes and their labels, as they are given.

    Args:
        scenes: Rasters.
        stack: Files that together are one more.
        labels: Those of all scenes.
        listed: Folders, patterns or the table that pairs were found by; None where there are none.
        pairs: Scenes with labels of their own.
        options: Options that are given with them.

    Raises:
        UsageError: There is no scene; there are others beside pairs; or what says their splits differs.
    """

    scenes: Sequence[str]
    stack: Sequence[str]
    labels: Sequence[str]
    listed: Sequence[str] | None
    pairs: Sequence[LabelledScene] | None
    options: TileOptions

    def __post_init__(self) -> None:
        if self.pairs is None:
            if not self.scenes and not self.stack:
                raise UsageError("There is no scene to tile.")
            return
        if self.scenes or self.stack:
            raise UsageError(
                f"{(*self.scenes, *self.stack)[0]} has no labels of its own: --pairs or --scene-list names all scenes.",
                hint="Put it among them, or add it later with --append.",
            )
        if self.labels:
            raise UsageError("--pairs and --scene-list name the labels of each scene; --labels does not go with them.")
        self._check_splits([pair for pair in self.pairs if pair.split is not None])

    @property
    def given_splits(self) -> bool:
        """Whether each scene comes with its split."""
        return self.options.split is not None or any(pair.split for pair in self.pairs or ())

    def warn_of_splits(self) -> None:
        """Warn where folders part the scenes into splits, and neither they nor an option say which are wanted."""
        if not (self.given_splits or self.options.given & {"split_by", "shares"}):
            files = (
                [(scene,) for scene in self.scenes]
                if self.pairs is None
                else [(pair.scene, *pair.labels) for pair in self.pairs]
            )
            warn_of_split_folders(files, self.listed or ())

    @property
    def label_files(self) -> Sequence[str] | dict[str, tuple[str, ...]]:
        """The labels of all scenes, or those of each by its path."""
        if self.pairs is None:
            return self.labels
        return {printable(pair.scene): pair.labels for pair in self.pairs}

    def sources(self, *, bands: Sequence[str] | None, gsd: float | None, extra: Sequence[str]) -> list[SceneFiles]:
        """Return what each scene is made of, the stack last."""
        chosen = None if bands is None else tuple(bands)

        def files(paths: Sequence[str], split: str | None = None, weight: float = 1.0) -> SceneFiles:
            return SceneFiles(SceneSource(tuple(paths), chosen), gsd, tuple(extra), split or self.options.split, weight)

        if self.pairs is not None:
            return [files([pair.scene], pair.split, pair.weight) for pair in self.pairs]
        return [files([scene]) for scene in self.scenes] + ([files(self.stack)] if self.stack else [])

    def input_files(self, options: TileOptions) -> dict[str, list[str]]:
        """Return the names of all inputs by what they are, for their fingerprints."""
        pairs = self.pairs or ()
        table = self.listed if self.listed is not None and len(self.listed) == 1 else ()
        labels = [name for pair in pairs for name in pair.labels] or self.labels
        inputs = {
            "scenes": [*(pair.scene for pair in pairs), *self.scenes, *self.stack],
            "extra": list(options.extra),
            "labels": list(dict.fromkeys(labels)),
            "list": list(table),
            "labelled area": [options.labelled_area] if options.labelled_area else [],
            "regions": [options.regions] if options.regions else [],
        }
        return {kind: names for kind, names in inputs.items() if names}

    def _check_splits(self, listed: Sequence[LabelledScene]) -> None:
        table, split = " ".join(self.listed or ()), self.options.split
        others = [pair for pair in listed if split is not None and pair.split != split]
        if others:
            raise UsageError(
                f"--split {split} is given, but {table} puts {len(others):,} of {len(listed):,} scenes into other "
                f"splits, such as {others[0].scene} into {others[0].split}.",
                hint="Leave out --split, or the column split.",
            )
        if listed and self.options.given & {"split_by", "shares"}:
            raise UsageError(
                f"{table} says the split of each scene; --split-by or shares would deal them anew.",
                hint="Leave out these options, or the column split.",
            )


@dataclass(frozen=True)
class Scenes:
    """Scenes that go into one tile set.

    Args:
        sources: How each is opened, with the bands of all in one order.
        infos: What is known of each.
        contents: Path by the hash of what a scene shows, as far as it tells them apart.
    """

    sources: tuple[SceneFiles, ...]
    infos: tuple[SceneInfo, ...]
    contents: Mapping[str, str]


def describe_all(
    sources: Sequence[SceneFiles],
    base: TileSet | None,
    *,
    by_number: bool = False,
    paired: bool = False,
    progress: Progress = no_progress,
) -> Scenes:
    """Describe scenes that go into one tile set.

    Bands of the same names in another order are put into the order of the first scene; of more bands than a tile set
    has, those of its names are taken. Where names differ otherwise,
    bands go by their order; those that scenes name in several ways are called by their number. A scene that shows what
    another one does, be it another name of its file or a copy, is left out with a warning: its pixels would stand on
    both sides of a split. So is one that is in the tile set. Of copies, the first one stays; where scenes come with
    their splits, that of test before that of val before that of train.

    Args:
        sources: The scenes.
        base: The tile set that they are added to, or None.
        by_number: Whether bands were chosen by number: then their names do not matter.
        paired: Whether each has labels of its own, which are left out with it.
        progress: Told after each scene.

    Raises:
        SceneError: A scene cannot be used.
        TileError: Their bands differ in number, dtype or scale, from each other or from those of the tile set, or all
            of them are in it already.
    """
    seen = _Seen(base)
    found: dict[int, tuple[SceneFiles, SceneInfo]] = {}
    first: SceneInfo | None = None
    unfit: list[tuple[str, SatsegError]] = []
    in_ranks = sorted(enumerate(sources), key=lambda entry: _RANKS.get(entry[1].split, 0))
    for done, (number, source) in enumerate(in_ranks, start=1):
        progress(ProgressEvent("Looking at scenes", done, len(sources), "scene"))
        if seen.named(source):
            continue
        try:
            source, info, shown = _describe(source, None if first is None else first.bands, base, by_number=by_number)
            first = first or info
            _check_alike(info, first, base)
        except (SceneError, TileError) as error:
            unfit.append((source.source.name, error))
            continue
        if not seen.shown(info.path, shown):
            found[number] = source, info
    _refuse(unfit)
    seen.tell(anything_new=bool(found), paired=paired)
    chosen, infos = zip(*(found[number] for number in sorted(found)), strict=True)
    _tell_doubts(infos)
    return Scenes(chosen, tuple(_named_alike(infos, base, by_number=by_number)), seen.contents)


def _refuse(unfit: Sequence[tuple[str, SatsegError]]) -> None:
    """Raise the error of the first scene that cannot be used, with the names of others."""
    if unfit:
        error, others = unfit[0][1], [name for name, _ in unfit[1:]]
        if others:
            more = f" and {len(others) - _FEW:,} more" if len(others) > _FEW else ""
            error.message += f" Nor can these be used: {', '.join(others[:_FEW])}{more}."
            error.args = (error.message,)
        raise error


def _tell_doubts(infos: Sequence[SceneInfo]) -> None:
    """Warn of places that cannot be: of the first one, and how many there are."""
    doubted = [info for info in infos if info.doubt]
    if doubted:
        more = f" ({len(doubted) - 1} more scenes are doubtful likewise)" if len(doubted) > 1 else ""
        log.warning("%s %s%s.", doubted[0].path, doubted[0].doubt, more)


class _Seen:
    """What scenes there were before: those of a tile set, and those that were named earlier."""

    def __init__(self, base: TileSet | None) -> None:
        self._base = base
        self._paths: frozenset[str] = frozenset() if base is None else frozenset(base.index["scene"])
        before = {} if base is None else base.contents
        self._before = {shown: path for shown, path in before.items() if path in self._paths}
        self._named: dict[tuple[str, ...], str] = {}
        self._twins: list[tuple[str, str]] = []
        self._there: list[tuple[str, str]] = []
        self.contents: dict[str, str] = {}

    def named(self, source: SceneFiles) -> bool:
        """Tell whether the files of a scene are in the tile set, or were named before."""
        files, name = identity(source.source.paths), source.source.name
        if name in self._paths:
            self._there.append((name, name))
            return True
        return self._again(self._named, files, name)

    def shown(self, path: str, shown: str | None) -> bool:
        """Tell whether the tile set, or another scene, shows the same."""
        if shown is None:
            return False
        if shown in self._before:
            self._there.append((path, self._before[shown]))
            return True
        return self._again(self.contents, shown, path)

    def tell(self, *, anything_new: bool, paired: bool) -> None:
        """Warn of the scenes that are left out, and of their labels where they have some of their own.

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
                    hint="Delete its rows from the index first, to cut it anew.",
                )
            log.info(
                "Left out, since they are in %s already: %d scenes, such as %s%s.",
                self._base.path,
                len(self._there),
                path,
                same,
            )
        if self._twins:
            log.info(
                "Left out as copies of other scenes%s: %d, such as %s, which is %s.",
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
) -> tuple[SceneFiles, SceneInfo, str | None]:
    wanted = first if base is None else base.bands
    with source.open() as scene:
        order = (
            None
            if by_number or wanted is None or source.extra
            else _reordered(scene.info.bands, wanted, among=base is not None)
        )
        if order is None:
            return source, scene.info, content_hash(scene)
    source = replace(source, source=replace(source.source, bands=order))
    with source.open() as scene:
        return source, scene.info, content_hash(scene)


def _reordered(bands: BandSpec, wanted: BandSpec, *, among: bool) -> tuple[str, ...] | None:
    """Return the names of bands in the order that is wanted, where they are the same in another one.

    With ``among``, the scene may have others, too.
    """
    theirs, ours = sorted(_folded(bands)), sorted(_folded(wanted))
    return select_bands(bands, wanted.names) if theirs == ours or (among and len(theirs) > len(ours)) else None


def _check_alike(info: SceneInfo, first: SceneInfo, base: TileSet | None) -> None:
    bands, gsd, name = (first.bands, first.gsd, first.path) if base is None else (base.bands, base.gsd, str(base.path))
    if (len(info.bands), info.bands.dtype) != (len(bands), bands.dtype):
        raise TileError(
            f"{info.path} has {_spell(info.bands)}, but {name} has {_spell(bands)}.",
            hint="Scenes of one tile set need as many bands and one dtype; --bands chooses among bands.",
        )
    if not same_scale(info.bands, bands):
        raise TileError(
            f"{info.path} has other scales or offsets than {name}: {_scales(info.bands)} against {_scales(bands)}.",
            hint="Bring them to one scale first, for example with gdal_translate -unscale.",
        )
    if info.gsd and gsd and abs(info.gsd[0] / gsd[0] - 1) > 0.1:
        log.warning("%s has %.3g m per pixel, %s has %.3g.", info.path, info.gsd[0], name, gsd[0])


def _named_alike(infos: Sequence[SceneInfo], base: TileSet | None, *, by_number: bool) -> list[SceneInfo]:
    """Give all scenes one name for each band, and warn where theirs differ."""
    names, whose = (infos[0].bands.names, infos[0].path) if base is None else (base.bands.names, str(base.path))
    folded = tuple(name.casefold() for name in names)
    other = [info for info in infos if _folded(info.bands) != folded]
    shuffled = [info for info in other if sorted(_folded(info.bands)) == sorted(folded)]
    unnamed = by_number or all(map(is_generic, names))
    example = next(iter(shuffled or ([] if unnamed else other)), None)
    if example is not None:
        log.warning(
            "Bands go by their order, since they are named otherwise than those of %s (%s) in %d of the scenes, such "
            "as %s (%s).",
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
    """Return a stem as text without control characters, and cut so that numbers and suffixes still fit behind it."""
    return re.sub(r"[\x00-\x1f\x7f]", "_", printable(stem)).encode()[:_LONGEST_NAME].decode("utf-8", "ignore")


def unique_names(stems: Sequence[str], base: TileSet | None) -> list[str]:
    """Return a name per scene: its file's stem, numbered where several scenes share it, spelt out and not too long."""
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
