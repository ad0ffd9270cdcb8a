"""Provenance of a tile set: what it was made from, and whether an earlier run has made the same already."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from satseg.errors import OutputError
from satseg.fields import typed
from satseg.files.atomic_write import work_folder
from satseg.outputs.lock import clear
from satseg.records import TileSummary, as_json
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet
from satseg.tiling.build import is_begun
from satseg.tiling.inputs import TileInputs
from satseg.tiling.plan import Layout
from satseg.tiling.settings import TileSettings
from satseg.tiling.sources import SceneFiles
from satseg.version import __version__

log = logging.getLogger("satseg")


def provenance_of(
    inputs: TileInputs, settings: TileSettings, layout: Layout, chosen: Sequence[str], digests: Mapping[str, str]
) -> dict[str, Any]:
    """Return what tiles are made from, except for the scenes, which the index names.

    Args:
        inputs: Scenes and labels.
        settings: The settings, completed by those of the tile set that is added to.
        layout: How tiles are laid out.
        chosen: Fields of the layout that the planner chose.
        digests: Fingerprints of the inputs.
    """
    named = {"stack": inputs.stack, "pairs": inputs.pair_source, "given_splits": inputs.assigned}
    made: dict[str, Any] = {"satseg": __version__, "source": list(inputs.labels or (inputs.pair_source or ())[-1:])}
    made |= {name: value for name, value in named.items() if value}
    made |= settings.provenance() | asdict(layout)
    return as_json({**made, **({"chosen": list(chosen)} if chosen else {}), "inputs": digests})


def with_its_choice(provenance: dict[str, Any], output: Path) -> dict[str, Any]:
    """Return provenance with the sizes that a finished run chose, where this run leaves the same ones open."""
    made = (TileSet.open(output).provenance or [{}])[-1]
    if "chosen" not in provenance or made.get("chosen") != provenance["chosen"]:
        return provenance
    return {**provenance, **{name: made[name] for name in provenance["chosen"]}}


def summary_of_finished(output: Path, provenance: Mapping[str, Any], *, appended: bool = False) -> TileSummary:
    """Return the summary of a tile set that an earlier run with the same arguments finished.

    Raises:
        OutputError: It was made from other inputs, or with other arguments.
    """
    tile_set = TileSet.open(output)
    made = tile_set.provenance[-1] if tile_set.provenance else {}
    if made != provenance or (len(tile_set.provenance) > 1 and not appended):
        changed = [kind for kind, digest in provenance["inputs"].items() if made.get("inputs", {}).get(kind) != digest]
        what = f"from other {' and '.join(changed)}" if changed else f"with other arguments{_both(made, provenance)}"
        raise OutputError(
            f"{output} exists already, made {what}.",
            hint="Replace it with `overwrite`, without `resume`, or choose another `output`.",
        )
    clear(work_folder(output))  # left by a run that ended before tidying up
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
    """Return the settings that differ, with both values; nothing if only the version or the inputs do."""
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
    """Tell whether an interrupted run is to replace the existing tile set, unless that run made it."""
    return is_begun(output) and TileSet.open(output).provenance[-1:] != [provenance]


def is_joined(sources: Sequence[SceneFiles], base: TileSet) -> bool:
    """Tell whether an earlier run has already added all scenes."""
    return set(base.index["scene"]).issuperset(s.source.name for s in sources)


def tiles_by_split(index: Any) -> dict[str, int]:
    """Return the number of tiles of each split."""
    counts = index["split"].value_counts()
    return {split: int(counts.get(split, 0)) for split in SPLITS}
