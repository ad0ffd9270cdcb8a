"""Find bands by number or name. Pure, no files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import PurePath

from satseg.errors import SceneError
from satseg.records import BandSpec

_GENERIC = re.compile(r"((band|layer|channel|raster)[\s_#-]*)?\d*", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s_.-]+")


def is_generic(name: str) -> bool:
    """Tell whether a band's name is none, but a number in other words (``band_1``, ``Layer 2``)."""
    return bool(_GENERIC.fullmatch(name.strip()))


def without_file_name(names: Sequence[str], path: str) -> list[str]:
    """Return the names of the bands of a file without that of the file, where all of them begin or end with it.

    ``tile_007_R`` and ``tile_007_NIR`` of ``tile_007.tif`` are ``R`` and ``NIR``, as in all other chips of a data set;
    ``tile_007_1`` and ``tile_007_2`` are no names.
    """
    name_of_file = PurePath(path).stem
    folded = name_of_file.casefold()
    if len(names) < 2 or not folded or not all(folded in name.casefold() for name in names):
        return list(names)  # as nearly always: a pattern for each file would take longer than opening it
    stem, separator = re.escape(name_of_file), _SEPARATORS.pattern
    own = re.compile(f"{stem}{separator}(?P<after>.*)|(?P<before>.*){separator}{stem}", re.IGNORECASE | re.DOTALL)
    found = [own.fullmatch(name) for name in names]
    if not all(found):
        return list(names)
    words = [(match["after"] or match["before"] or "").strip() for match in found if match is not None]
    return ["" if is_generic(word) else word for word in words] if len(set(words)) == len(words) else list(names)


def select_bands(available: BandSpec, wanted: Sequence[str]) -> tuple[str, ...] | None:
    """Return the bands that a scene must be opened with to give the wanted ones in their order.

    Only names decide, and only if each of them is a real one that a single band of the scene has: a scene whose
    bands are just numbered is left as it is.

    Args:
        available: Bands of the scene.
        wanted: Names of the bands that a network was trained on.

    Returns:
        Names as the scene spells them, or None where there is nothing to select: the scene has just these bands
        in this order, or names cannot tell.
    """
    theirs = [name.casefold() for name in available.names]
    ours = [name.casefold() for name in wanted]
    if theirs == ours or any(is_generic(name) or theirs.count(name) != 1 for name in ours):
        return None
    return tuple(available.names[theirs.index(name)] for name in ours)


def find_bands(names: Sequence[str], numbers: Sequence[int], wanted: Sequence[str], scene: str) -> list[int]:
    """Return the positions of bands that were asked for.

    Args:
        names: Name of each band of a scene.
        numbers: Number of each band, from 1; gaps are alpha bands.
        wanted: Numbers, or names in any case.
        scene: What the scene is called in messages.

    Raises:
        SceneError: There is no such band, or a name is that of several.
    """
    return [_find(names, numbers, band.strip(), scene) for band in wanted]


def _find(names: Sequence[str], numbers: Sequence[int], band: str, scene: str) -> int:
    known = ", ".join(f"{number} {name}" for number, name in zip(numbers, names, strict=True))
    if band.isdecimal():
        if int(band) in numbers:
            return numbers.index(int(band))
        raise SceneError(f"{scene} has no image band number {band}.", hint=f"It has {known}.")
    folded = [name.casefold() for name in names]
    matches = folded.count(band.casefold())
    if matches == 1:
        return folded.index(band.casefold())
    if matches:
        raise SceneError(f"{scene} has {matches} bands named {band!r}.", hint=f"Name it by number: {known}.")
    near = difflib.get_close_matches(band.casefold(), folded, n=1)
    suggestion = f" Did you mean {names[folded.index(near[0])]!r}?" if near else ""
    raise SceneError(f"{scene} has no band {band!r}.{suggestion}", hint=f"It has {known}.")


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return what tells files apart: their stems without the words that all of them begin and end with.

    ``S2_20240601_B02_10m.jp2`` and ``S2_20240601_B03_10m.jp2`` are ``B02`` and ``B03``.
    """
    stems = [PurePath(path).stem for path in paths]
    words = [[word for word in _SEPARATORS.split(stem) if word] for stem in stems]
    head = len(common_words(words))
    tail = len(common_words([part[head:][::-1] for part in words]))
    return ["_".join(part[head : len(part) - tail]) or stem for part, stem in zip(words, stems, strict=True)]


def shared_ending(stems: Sequence[str]) -> str:
    """Return the words that all stems end with; none for a single one.

    ``city_12_roofs`` and ``city_13_roofs`` share ``roofs``.
    """
    words = [[word for word in _SEPARATORS.split(stem) if word][::-1] for stem in stems]
    return "_".join(common_words(words)[::-1]) if len(words) > 1 else ""


def common_words(parts: Sequence[Sequence[str]]) -> list[str]:
    """Return the words with which all sequences begin."""
    common = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return common
