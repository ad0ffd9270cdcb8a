"""Detect data sets that are published in folders named train, val and test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from satseg.errors import printable
from satseg.tiles.splits import SPLITS

log = logging.getLogger("satseg")

_SEVERAL = 2
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def warn_of_split_folders(files: Sequence[Sequence[str]], patterns: Sequence[str] = ()) -> None:
    """Warn where scenes that are about to be assigned to splits already lie in folders named by split.

    Args:
        files: Path of each scene and, if it has its own, that of its labels.
        patterns: Patterns of scenes and labels, if given.
    """
    found: dict[str, tuple[str, Sequence[str]]] = {}
    for paths in files:
        folder = next((part for part in reversed(Path(paths[0]).parts[:-1]) if part.casefold() in _SPLITS), None)
        if folder is not None:
            found.setdefault(_SPLITS[folder.casefold()], (folder, paths))
    if len(found) < _SEVERAL:
        return
    splits = [split for split in SPLITS if split in found]
    calls = [
        _options(split, *found[split], patterns) + (" `append=True`" if split != splits[0] else "") for split in splits
    ]
    log.warning(
        "The scenes of the folders %s will be assigned to new splits. To keep their splits, run: %s",
        ", ".join(printable(found[split][0]) for split in splits),
        "; then ".join(calls),
    )


def _options(split: str, folder: str, paths: Sequence[str], patterns: Sequence[str]) -> str:
    """Return the settings that tile only the scenes of one folder."""
    if len(patterns) == len(paths):
        narrowed = [repr(_narrowed(*pair, folder)) for pair in zip(patterns, paths, strict=True)]
        return f"`pairs=({', '.join(narrowed)})` `split='{split}'`"
    return f"only the scenes of {printable(folder)}, with `split='{split}'`"


def _narrowed(pattern: str, path: str, folder: str) -> str:
    """Return a pattern with the name of a folder in place of the wildcard that matched it."""
    parts, named = Path(pattern).parts, Path(path).parts
    if "**" in parts:
        return pattern.replace("**", f"**/{printable(folder)}/**", 1)
    return str(Path(*(folder if name == folder else part for part, name in zip(parts, named, strict=True))))
