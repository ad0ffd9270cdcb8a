"""Pair scenes with their labels: by two folders, two patterns, or a table."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath

from satseg.arguments import STEM, list_few
from satseg.errors import UsageError, printable
from satseg.files.names import LAYER_SUFFIXES, identity, is_local_file
from satseg.presence import HEADER
from satseg.raster.selection import distinct_names
from satseg.tiling.scene_table import LabelledScene, read_scene_table

log = logging.getLogger("satseg")

PairsSource = str | Path | Sequence[str | Path]
"""Folders or patterns of scenes and of labels, or a table of both, which may be the one entry of a sequence."""

_RASTERS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".vrt", ".img"})
_Stems = Mapping[str, Sequence[str]]  # possible stems of each file
_EXAMPLE = "For example: `pairs=('images', 'masks')`, or `pairs=('S1/{stem}_S1.tif', 'labels/{stem}_mask.tif')`"


def find_pairs(given: PairsSource) -> list[LabelledScene]:
    """Find the labels of each scene.

    In two folders, files of the same name are paired, or else files whose names vary in the same part
    (``img_007.png`` and ``mask_007.png``). In two patterns, ``{stem}`` is the part that both names share, ``*`` any
    text within a name and ``**`` any number of folders; all other characters match themselves. Hidden files are
    ignored, and so are tile sets that are not named themselves. Scenes without labels and labels without a scene are
    skipped with a warning. Where the pairing is not by equal names, the first pair is logged.

    Args:
        given: Folder or pattern of scenes, and that of labels; or a table, as :func:`read_scene_table` reads it.

    Returns:
        Scenes in the order of their names, or of the table.

    Raises:
        UsageError: A folder or file is missing, nothing belongs together, something could belong to several, or a scene
            is its own labels.
    """
    sources = _sources(given)
    if len(sources) == 1:
        listed = read_scene_table(sources[0])
        _refuse_own_labels(listed)
        return listed
    if len(sources) != 2:
        raise UsageError(f"`pairs` takes two folders or patterns, not {len(sources)}.", hint=_EXAMPLE)
    scenes, labels = (_Side.of(side, what) for side, what in zip(sources, ("scenes", "labels"), strict=True))
    matched = _match(scenes, labels, scenes.stems(), labels.stems())
    by_differences = not matched and not scenes.pattern and not labels.pattern
    if by_differences:
        matched = _match(scenes, labels, scenes.differences(), labels.differences())
    if not matched:
        raise UsageError(
            f"No scene of {scenes.text} has labels in {labels.text}: scenes are {scenes.example()}; labels are "
            f"{labels.example()}.",
            hint=f"Give patterns with the part that their names share. {_EXAMPLE}. Or list them in a CSV table.",
        )
    if by_differences or any("*" in side.text for side in (scenes, labels)):
        log.info(
            "Paired scenes with labels, such as %s with %s.", *(printable(PurePath(file).name) for file in matched[0])
        )
    _warn_of_unpaired("scenes have no labels", scenes, {scene for scene, _ in matched})
    _warn_of_unpaired("label files have no scene", labels, {label for _, label in matched})
    found = [LabelledScene(scene, (label,)) for scene, label in matched]
    _refuse_own_labels(found)
    return found


def _refuse_own_labels(pairs: Sequence[LabelledScene]) -> None:
    own = [pair.scene for pair in pairs if identity([pair.scene]) in [identity([label]) for label in pair.labels]]
    if own:
        raise UsageError(
            f"The same file is both scene and labels in {len(own):,} of {len(pairs):,} pairs: {_some(own)}.",
            hint="Name the labels of each scene; a network would learn to copy its input.",
        )


def pairs_inputs(given: PairsSource | None, found: Sequence[LabelledScene] | None) -> list[str]:
    """Return all files and folders that pairs are read from, once each."""
    if given is None or found is None:
        return []
    sources = [side for side in _sources(given) if os.path.exists(side)]
    files = [file for pair in found for file in (pair.scene, *pair.labels)]
    return list(dict.fromkeys([*sources, *files]))


def _sources(given: PairsSource) -> list[str]:
    return [str(given)] if isinstance(given, str | Path) else list(map(str, given))


@dataclass(frozen=True)
class _Side:
    """Files on one side of the pairs.

    Args:
        text: Folder or pattern.
        files: Its files, sorted by name.
        pattern: Whether it is a pattern.
    """

    text: str
    files: tuple[str, ...]
    pattern: bool

    @classmethod
    def of(cls, text: str, what: str) -> _Side:
        """List the files of a folder or pattern."""
        suffixes = _RASTERS if what == "scenes" else _RASTERS | LAYER_SUFFIXES
        if os.path.isdir(text):
            files = tuple(str(path) for path in _entries(Path(text)) if path.suffix.lower() in suffixes)
            if not files:
                raise UsageError(
                    f"The folder {text} holds no {'raster' if what == 'scenes' else 'labels'}.",
                    hint=f"To search its subfolders, give a pattern: '{text}/**/{STEM}.tif'",
                )
            return cls(text, files, pattern=False)
        if STEM not in text:
            raise UsageError(_why_no_side(text), hint=_EXAMPLE)
        files = tuple(_Pattern(text).files())
        if not _Pattern(text).suffix:  # sidecar files are not scenes
            files = tuple(file for file in files if PurePath(file).suffix.lower() in suffixes)
        if not files:
            raise UsageError(f"No file matches {text}.", hint=_nearest(text))
        return cls(text, files, pattern=True)

    def stems(self) -> _Stems:
        """Return the possible stems of each file."""
        if not self.pattern:
            return {file: [PurePath(file).stem] for file in self.files}
        pattern = _Pattern(self.text)
        return {file: pattern.stems(file) for file in self.files}

    def differences(self) -> _Stems:
        """Return the part of the name of each file that differs from the others."""
        return {file: [words] for file, words in zip(self.files, distinct_names(self.files), strict=True)}

    def example(self) -> str:
        """Return some of its files for a message."""
        return _some([PurePath(file).name for file in self.files])


def _why_no_side(text: str) -> str:
    if os.path.isfile(text):
        table = PurePath(text).suffix.lower() in (".csv", ".parquet", ".tsv", ".txt")
        return f"{text} is one file." + (" A table of scenes is passed alone." if table else "")
    if "*" in text:
        return f"The pattern {text} lacks {STEM}, the part of a name that scenes and labels share."
    return f"There is no folder {text}."


def _nearest(text: str) -> str | None:
    """Return a hint on the folder of a pattern that matches nothing."""
    if not is_local_file(text):
        return "Patterns match local files only; list URLs in a CSV table."
    folder = PurePath(text).parent
    while re.search(r"\*|\{stem\}", str(folder)):
        folder = folder.parent
    if not os.path.isdir(folder):
        return f"There is no folder {folder}."
    names = [entry.name for entry in _entries(Path(folder))]
    return f"{folder} holds {_some(names)}." if names else f"{folder} is empty."


def _match(scenes: _Side, labels: _Side, ours: _Stems, theirs: _Stems) -> list[tuple[str, str]]:
    """Match scenes and labels of the same stem; of several possible stems of a name, the longest is used.

    Raises:
        UsageError: Several scenes, or several files of labels, have the same stem.
    """
    shared = {stem for stems in ours.values() for stem in stems} & {stem for stems in theirs.values() for stem in stems}
    sides: list[dict[str, str]] = []
    for side, stems in ((scenes, ours), (labels, theirs)):
        by_stem: dict[str, list[str]] = defaultdict(list)
        for file in side.files:
            stem = max(shared.intersection(stems[file]), key=len, default=None)
            if stem is not None:
                by_stem[stem].append(file)
        _refuse_several(side, by_stem)
        sides.append({stem: files[0] for stem, files in by_stem.items()})
    one, other = sides
    return [(file, other[stem]) for stem, file in one.items() if stem in other]


def _refuse_several(side: _Side, by_stem: Mapping[str, Sequence[str]]) -> None:
    several = {stem: files for stem, files in by_stem.items() if len(files) > 1}
    if several:
        stem, files = next(iter(several.items()))
        more = f" (and {len(several) - 1:,} more names)" if len(several) > 1 else ""
        raise UsageError(
            f"Both {printable(files[0])} and {printable(files[1])} of {side.text} match {printable(stem)}{more}.",
            hint=f"Select the files by a pattern, such as {side.text}/{STEM}{PurePath(files[0]).suffix}."
            if not side.pattern
            else "Make the pattern more specific, or list scenes and labels in a CSV table.",
        )


def _warn_of_unpaired(what: str, side: _Side, used: Collection[str]) -> None:
    left = [PurePath(file).name for file in side.files if file not in used]
    if left:
        log.warning("%s: %d of %d %s and are skipped: %s.", side.text, len(left), len(side.files), what, _some(left))


def _some(names: Sequence[str]) -> str:
    return list_few([printable(name) for name in names])


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted, without hidden files (macOS adds one to each copied file)."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


class _Pattern:
    """Names of files with ``{stem}`` in them.

    Args:
        text: The pattern.

    Attributes:
        suffix: Suffix of the names; empty if the pattern ends in a wildcard.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts = Path(text).parts
        self.suffix = _parted(text)[1]

    def files(self) -> Iterator[str]:
        """Yield the files that match, sorted."""
        found = [Path(self._parts[0])] if Path(self._text).is_absolute() else [Path()]
        for part in self._parts[len(found[0].parts) :]:
            found = [below for folder in found for below in _below(folder, part)]
        whole = _compiled(self._text, None)
        yield from (text for text in sorted({str(path) for path in found}) if whole.fullmatch(text))

    def stems(self, file: str) -> list[str]:
        """Return the texts that ``{stem}`` may stand for in the name of a file; with ``*`` there may be several."""
        if "*" not in self._text:
            match = _compiled(self._text, None).fullmatch(file)
            return [match["stem"]] if match else []
        longest = max(len(part) for part in Path(file).parts)
        matches = (_compiled(self._text, length).fullmatch(file) for length in range(1, longest + 1))
        return [match["stem"] for match in matches if match]


def _below(folder: Path, part: str) -> Iterator[Path]:
    """Yield the entries of a folder that match one component of a pattern."""
    if part == "**":
        yield folder
        yield from islice(_folders(folder), 1, None)
    elif STEM not in part and "*" not in part:
        yield from [folder / part] if os.path.lexists(folder / part) else []
    elif folder.is_dir():
        name = _compiled(part, None)
        yield from (path for path in _entries(folder) if name.fullmatch(path.name) and not _is_tileset(path))


def _is_tileset(path: Path) -> bool:
    return (path / HEADER).is_file()


def _folders(top: Path) -> Iterator[Path]:
    """Yield a folder and all folders below it, without hidden ones and tile sets."""
    for path, below, _ in os.walk(top):
        below[:] = [name for name in below if not name.startswith(".") and not _is_tileset(Path(path, name))]
        yield Path(path)


def _parted(text: str) -> tuple[str, str]:
    """Split a pattern into stem and suffix; the suffix is empty if it contains a wildcard."""
    head, dot, suffix = str(Path(text)).rpartition(".")
    return (head, dot + suffix) if re.fullmatch(r"\w+", suffix, re.ASCII) and dot else (str(Path(text)), "")


@lru_cache(maxsize=1024)
def _compiled(text: str, length: int | None) -> re.Pattern[str]:
    """Return the regular expression of a pattern, with a stem of ``length`` if given; the suffix ignores case."""
    head, suffix = _parted(text)
    stem = rf"(?P<stem>[^/]{'+' if length is None else f'{{{length}}}'})"
    made = ""
    for piece in re.split(r"(\*\*/|\*+|\{stem\})", head):
        if piece == STEM:
            made += stem if "(?P<stem>" not in made else "(?P=stem)"
        elif piece == "**/":
            made += "(?:[^/]+/)*"
        else:
            made += "[^/]*" if piece.startswith("*") else re.escape(piece)
    return re.compile(f"{made}(?i:{re.escape(suffix)})", re.DOTALL)
