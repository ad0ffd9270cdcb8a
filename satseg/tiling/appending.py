"""Add to a tile set: keep the settings it was made with where none are given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from satseg.arguments import join_names
from satseg.errors import TileError, UsageError
from satseg.labels.class_map import ClassMap
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import AUTO, TileSettings

log = logging.getLogger("satseg")

_OF_ONE_CALL = ("size", "block")  # the tile set itself has its sizes
_SAME_GSD = 0.1  # relative difference
_LONGEST = 60  # characters of a value in a message


def completed(settings: TileSettings, base: TileSet, *, assigned: bool) -> TileSettings:
    """Return settings, with those of a tile set where none are given; log which.

    A class map that is given is added to that of the tile set.

    Args:
        settings: Settings of the tiles to add.
        base: The tile set to add to.
        assigned: Whether the user assigned each scene to a split.

    Raises:
        TileError: The tile set has another ground resolution, or only one of both has objects.
        UsageError: The tile set has another size, or its scenes were assigned to splits and these are not.
    """
    made = base.provenance[0] if base.provenance else {}
    if settings.gsd == AUTO:  # the tile set has one already
        settings = settings.changed(gsd=None)
    if settings.size not in (None, base.tile_size):
        raise UsageError(
            f"{base.path} has tiles of {base.tile_size} px; tiles of {settings.size} px cannot be added to it."
        )
    _check_gsd(settings, base, made)
    _check_objects(settings, base)
    if made.get("given_splits") and not (assigned or settings.divides):
        raise UsageError(
            f"The scenes of {base.path} were assigned to splits; these are not.",
            hint="Assign them to a split: `split='train'`. Or divide them: `split='0.7,0.15,0.15'`",
        )
    given = {name for name in settings.given if getattr(settings, name) is not None}
    left = {*given, *_OF_ONE_CALL, *(("split_by", "split") if assigned else ())}
    there = {name: value for name, value in _settings_in(made).items() if name not in left}
    names = [field.name for field in fields(settings) if there.get(field.name) is not None]
    kept = {name: there[name] for name in names if there[name] != getattr(settings, name)}
    before = _settings_in(base.provenance[-1] if base.provenance else {}).get("class_map")  # with what was added to it
    if before is not None:
        kept["class_map"] = before if settings.classes is None else _merged(settings.classes, before)
    told = [_spelt(name, value) for name, value in kept.items() if name != "overlap"]
    if told:
        log.info("Kept from %s: %s. To change a setting, give it.", base.path, ", ".join(told))
    return settings.changed(**kept)


def _check_gsd(settings: TileSettings, base: TileSet, made: Mapping[str, Any]) -> None:
    wanted = settings.ground_metres
    if wanted is not None and base.gsd is not None and abs(wanted / base.gsd[0] - 1) > _SAME_GSD:
        there = f"`gsd='{made['gsd']}'`" if made.get("gsd") else f"{base.gsd[0]:.3g} m per pixel"
        raise TileError(f"{base.path} has {there}; tiles of `gsd='{settings.gsd}'` cannot be added to it.")


def _check_objects(settings: TileSettings, base: TileSet) -> None:
    kept = base.objects is not None
    if "objects" in settings.given and settings.objects != kept:
        raise TileError(
            f"{base.path} was made {'with' if kept else 'without'} `objects`; the new tiles must be made so, too.",
            hint="Leave out `objects`, or make a tile set of its own.",
        )


def _merged(class_map: ClassMap, before: ClassMap) -> ClassMap:
    """Return a class map that takes precedence over an earlier one."""
    names = {**class_map.names, **{value: name for value, name in before.names.items() if value not in class_map.names}}
    return ClassMap.of_pairs(names.items(), {**before.colours, **class_map.colours})


def _settings_in(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the provenance of a tile set."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in made.items()}
    found["split"] = found.get("shares")  # the name of a split is of one call
    if isinstance(found.get("buffer"), int):  # in pixels
        found["buffer"] = f"{found['buffer']}px"
    if found.get("class_map"):
        names = ClassMap.parse(found["class_map"]).names
        found["class_map"] = ClassMap.of_pairs(names.items(), found.get("class_colours"))
    return found


def _spelt(name: str, value: Any) -> str:
    """Return a setting as in Python, a long value cut short."""
    if isinstance(value, bool):
        return f"`{name}={value}`"
    if isinstance(value, ClassMap):
        value = value.text
    elif isinstance(value, Mapping):
        value = join_names(f"{key}={count}" for key, count in value.items())
    elif isinstance(value, tuple):
        value = join_names(f"{part:g}" if isinstance(part, float) else part for part in value)
    text = str(value) if len(str(value)) <= _LONGEST else f"{str(value)[:_LONGEST]}..."
    return f"`{name}={text!r}`"
