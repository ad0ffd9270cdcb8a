"""Select bands by number or name, and derive names from those of files."""

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
    """Tell whether a band name is just a number (``band_1``, ``Layer 2``)."""
    return bool(_GENERIC.fullmatch(name.strip()))


def without_file_name(names: Sequence[str], path: str) -> list[str]:
    """Strip the name of a file from its band names, if all of them begin or end with it.

    ``tile_007_R`` and ``tile_007_NIR`` of ``tile_007.tif`` become ``R`` and ``NIR``, as in all other chips of a data
    set; ``tile_007_1`` and ``tile_007_2`` become empty.
    """
    name_of_file = PurePath(path).stem
    folded = name_of_file.casefold()
    if len(names) < 2 or not folded or not all(folded in name.casefold() for name in names):
        return list(names)  # the usual case: compiling a pattern for each file takes longer than opening it
    stem, separator = re.escape(name_of_file), _SEPARATORS.pattern
    own = re.compile(f"{stem}{separator}(?P<after>.*)|(?P<before>.*){separator}{stem}", re.IGNORECASE | re.DOTALL)
    found = [own.fullmatch(name) for name in names]
    if not all(found):
        return list(names)
    words = [(match["after"] or match["before"] or "").strip() for match in found if match is not None]
    return ["" if is_generic(word) else word for word in words] if len(set(words)) == len(words) else list(names)


def select_bands(available: BandSpec, wanted: Sequence[str]) -> tuple[str, ...] | None:
    """Select the bands of a scene that match those of a network, by name.

    Bands are selected only if each wanted name is a real one (not just a number) and matches exactly one band.

    Args:
        available: Bands of the scene.
        wanted: Names of the bands that a network was trained on.

    Returns:
        Names as the scene spells them, in the wanted order; None if the scene has just these bands in this order, or
        names do not match.
    """
    theirs = [name.casefold() for name in available.names]
    ours = [name.casefold() for name in wanted]
    if theirs == ours or any(is_generic(name) or theirs.count(name) != 1 for name in ours):
        return None
    return tuple(available.names[theirs.index(name)] for name in ours)


def find_bands(names: Sequence[str], numbers: Sequence[int], wanted: Sequence[str], scene: str) -> list[int]:
    """Return the positions of bands given by number or name.

    Args:
        names: Name of each band of a scene.
        numbers: Number of each band, from 1; gaps are alpha bands.
        wanted: Numbers, or names in any case.
        scene: Name of the scene for messages.

    Raises:
        SceneError: A band does not exist, or several have the same name.
    """
    return [_find(names, numbers, band.strip(), scene) for band in wanted]


def _find(names: Sequence[str], numbers: Sequence[int], band: str, scene: str) -> int:
    known = ", ".join(f"{number} {name}" for number, name in zip(numbers, names, strict=True))
    if band.isdecimal():
        if int(band) in numbers:
            return numbers.index(int(band))
        raise SceneError(f"{scene} has no image band number {band}.", hint=f"Its bands are {known}.")
    folded = [name.casefold() for name in names]
    matches = folded.count(band.casefold())
    if matches == 1:
        return folded.index(band.casefold())
    if matches:
        raise SceneError(f"{scene} has {matches} bands named {band!r}.", hint=f"Select it by number: {known}.")
    near = difflib.get_close_matches(band.casefold(), folded, n=1)
    suggestion = f" Did you mean {names[folded.index(near[0])]!r}?" if near else ""
    raise SceneError(f"{scene} has no band {band!r}.{suggestion}", hint=f"Its bands are {known}.")


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return the distinct parts of file names: their stems without the words that all of them begin and end with.

    ``S2_20240601_B02_10m.jp2`` and ``S2_20240601_B03_10m.jp2`` are ``B02`` and ``B03``.
    """
    stems = [PurePath(path).stem for path in paths]
    words = [[word for word in _SEPARATORS.split(stem) if word] for stem in stems]
    head = len(common_words(words))
    tail = len(common_words([part[head:][::-1] for part in words]))
    return ["_".join(part[head : len(part) - tail]) or stem for part, stem in zip(words, stems, strict=True)]


def shared_ending(stems: Sequence[str]) -> str:
    """Return the words that all stems end with; empty for a single stem.

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
