"""What a tile set was made from, and what that says to a call that goes on with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from satseg import __version__
from satseg.errors import OutputError
from satseg.fields import typed
from satseg.files.atomic_write import work_folder
from satseg.outputs.claim import clear
from satseg.records import TileSummary, as_json
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet
from satseg.tiling.appending import TileOptions
from satseg.tiling.build import is_begun
from satseg.tiling.plan import Layout
from satseg.tiling.scenes import GivenScenes
from satseg.tiling.sources import SceneFiles

log = logging.getLogger("satseg")


def provenance_of(
    given: GivenScenes, options: TileOptions, layout: Layout, chosen: Sequence[str], inputs: Mapping[str, str]
) -> dict[str, Any]:
    """Return what tiles are made from, beside the scenes, which the index names.

    Args:
        given: Scenes and labels.
        options: What was asked for.
        layout: How tiles are laid out.
        chosen: Those fields of it that nobody asked for.
        inputs: Fingerprints.
    """
    named = {"stack": given.stack, "pairs": given.listed, "given_splits": given.given_splits}
    made: dict[str, Any] = {"satseg": __version__, "source": list(given.labels or (given.listed or ())[-1:])}
    made |= {name: value for name, value in named.items() if value}
    made |= options.as_provenance() | asdict(layout)
    return as_json({**made, **({"chosen": list(chosen)} if chosen else {}), "inputs": inputs})


def with_its_choice(provenance: dict[str, Any], output: Path) -> dict[str, Any]:
    """Return provenance with the tiles and blocks that a finished call chose, where it was left the same choice."""
    made = (TileSet.open(output).provenance or [{}])[-1]
    if "chosen" not in provenance or made.get("chosen") != provenance["chosen"]:
        return provenance
    return {**provenance, **{name: made[name] for name in provenance["chosen"]}}


def recall(output: Path, provenance: Mapping[str, Any], *, appended: bool = False) -> TileSummary:
    """Tell what a finished call with the same arguments wrote, or added to what was there.

    Raises:
        OutputError: What is there was made from other inputs, or with other arguments.
    """
    tile_set = TileSet.open(output)
    made = tile_set.provenance[-1] if tile_set.provenance else {}
    if made != provenance or (len(tile_set.provenance) > 1 and not appended):
        changed = [kind for kind, digest in provenance["inputs"].items() if made.get("inputs", {}).get(kind) != digest]
        what = f"from other {' and '.join(changed)}" if changed else f"with other arguments{_both(made, provenance)}"
        raise OutputError(
            f"{output} exists already, made {what}.",
            hint="Replace it with --overwrite, without --resume, or choose another folder with -o.",
        )
    clear(work_folder(output))  # of a call that ended before it had tidied up
    log.info("%s is finished already.", output)
    return TileSummary(
        path=str(output),
        scenes=tile_set.index["scene"].nunique(),
        tiles=tiles_by_split(tile_set.index),
        pixels=tile_set.pixels(),
        skipped=0,
        repaired=0,
        dropped=0,
        overlapping=len(tile_set.leaks()),
        unplaced=tile_set.unplaced,
        size=tile_set.tile_size,
        block=None if made.get("whole_scenes") or _is_drawn(made) else made.get("block"),
        finished_before=True,
    )


def _both(made: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name what differs with both values, where anything does that people choose."""
    names = [name for name in {**made, **wanted} if made.get(name) != wanted.get(name)]
    told = [
        f"{name.replace('_', ' ')} {typed(made.get(name))}, not {typed(wanted.get(name))}"
        for name in names
        if name not in ("satseg", "inputs", "chosen")
    ]
    return f": {'; '.join(told)}" if told else ""


def _is_drawn(made: Mapping[str, Any]) -> bool:
    return made.get("split_by") not in (None, "block", "scene")


def is_pending(output: Path, provenance: Mapping[str, Any]) -> bool:
    """Tell whether an interrupted call is to replace the tile set that is there; it may be what that call made."""
    return is_begun(output) and TileSet.open(output).provenance[-1:] != [provenance]


def is_joined(sources: Sequence[SceneFiles], base: TileSet) -> bool:
    """Tell whether an earlier call has added all its scenes already."""
    return set(base.index["scene"]).issuperset(s.source.name for s in sources)


def tiles_by_split(index: Any) -> dict[str, int]:
    """Return how many tiles of an index each split has."""
    counts = index["split"].value_counts()
    return {split: int(counts.get(split, 0)) for split in SPLITS}
