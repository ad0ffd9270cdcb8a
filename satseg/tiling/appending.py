"""The options of ``tile``: those that are given, those that a tile set keeps for what is added, and defaults."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from satseg.arguments import file_and_name, join_names
from satseg.classes import BACKGROUND
from satseg.errors import TileError, UsageError
from satseg.geo.units import Quantity, parse_resolution
from satseg.labels.class_map import ClassMap
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import TileSet

log = logging.getLogger("satseg")

_NOTHING: tuple[object, ...] = (None, (), {})
_OF_ONE_CALL = ("split", "size", "block")  # the tile set itself says its sizes
_SAME_GSD = 0.1  # of each other
_LONGEST = 60  # characters of a value in a message


@dataclass(frozen=True)
class TileOptions:
    """What may be said of tiles beside scenes and labels, named and meant as in :func:`tile`.

    Args:
        given: Names of those options that were given; others have the values of a tile set, or defaults.
    """

    bands: tuple[str, ...] | None = None
    extra: tuple[str, ...] = ()
    gsd: Quantity | None = None
    class_field: str | None = None
    class_map: ClassMap | None = None
    where: str | None = None
    burn_order: str = "file"
    all_touched: bool = False
    unlabelled: tuple[int, ...] = ()
    labelled_area: str | None = None
    outside: str = BACKGROUND
    ignore_border: Quantity | None = None
    boundary: Quantity | None = None
    size: int | None = None
    overlap: int | None = None
    sampling: str = "grid"
    min_valid: float = 0.0
    keep_empty: float = 1.0
    min_pixels: Mapping[str, int] | None = None
    limit: int | None = None
    split: str | None = None
    split_by: str | None = None
    block: int | None = None
    buffer: Quantity = "0px"
    shares: tuple[float, ...] = (0.7, 0.15, 0.15)
    seed: int = 0
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, **options: Any) -> TileOptions:
        """Return options; those that are None or hold nothing are not given.

        Raises:
            UsageError: There is no such split, or options exclude each other.
        """
        given = {name: value for name, value in options.items() if value not in _NOTHING}
        found = cls(**given, given=frozenset(given))
        found._check_split()
        return found

    @property
    def regions(self) -> str | None:
        """File of the polygons that decide splits."""
        return None if self.split_by in (None, "block", "scene") else file_and_name(self.split_by)[0]

    def kept_from(self, base: TileSet, *, given_splits: bool) -> TileOptions:
        """Return these options, and those of a tile set for what was not given; say which.

        A class map that is given adds to that of the tile set, as it does to others that are given.

        Args:
            base: The tile set that tiles are added to.
            given_splits: Whether each scene comes with its split.

        Raises:
            TileError: The tile set has another ground resolution.
            UsageError: Its scenes came with their splits, and these do not.
        """
        made = base.provenance[0] if base.provenance else {}
        self._check_gsd(base, made)
        if made.get("given_splits") and not (given_splits or self.given & {"split_by", "shares"}):
            raise UsageError(
                f"The scenes of {base.path} came with their splits, and these come without.",
                hint="Say into which one they go: --split train. Or deal them: --split 0.7,0.15,0.15",
            )
        left = {*self.given, *_OF_ONE_CALL, *(("split_by", "shares") if given_splits else ())}
        there = {name: value for name, value in _read(made).items() if name not in left}
        names = [field.name for field in fields(self) if there.get(field.name) is not None]
        kept = {name: there[name] for name in names if there[name] != getattr(self, name)}
        before = _read(base.provenance[-1] if base.provenance else {}).get("class_map")  # with what was added to it
        if before is not None:
            kept["class_map"] = before if self.class_map is None else _over(self.class_map, before)
        told = [_spell(name, value) for name, value in kept.items() if name != "overlap"]
        if told:
            log.info("Kept from %s: %s. What is given again replaces it.", base.path, ", ".join(told))
        return replace(self, **kept)

    def as_provenance(self) -> dict[str, Any]:
        """Return what is not as by default, ready for JSON."""
        options = [field for field in fields(self) if field.name != "given"]
        named = {field.name: value for field in options if (value := getattr(self, field.name)) != field.default}
        if self.class_map is not None:
            named |= {"class_map": self.class_map.text, "class_colours": dict(self.class_map.colours)}
        return named

    def _check_split(self) -> None:
        if self.split is None:
            return
        if self.split not in SPLITS:
            raise UsageError(f"There is no split {self.split!r}; tile sets have {', '.join(SPLITS)}.")
        for name, option in {"split_by": "--split-by", "shares": "shares"}.items():
            if name in self.given:
                raise UsageError(f"--split {self.split} puts all scenes into one split; {option} deals them. Give one.")

    def _check_gsd(self, base: TileSet, made: Mapping[str, Any]) -> None:
        if self.gsd is None or base.gsd is None:
            return
        wanted = parse_resolution(self.gsd, "gsd")
        if abs(wanted / base.gsd[0] - 1) > _SAME_GSD:
            there = f"--gsd {made['gsd']}" if made.get("gsd") else f"{base.gsd[0]:.3g} m per pixel"
            raise TileError(f"{base.path} has {there}; tiles of --gsd {self.gsd} cannot be added to it.")


def _over(class_map: ClassMap, before: ClassMap) -> ClassMap:
    """Return a class map that is looked at first, and another one for what it does not name."""
    names = {**class_map.names, **{value: name for value, name in before.names.items() if value not in class_map.names}}
    return ClassMap.of_pairs(names.items(), {**before.colours, **class_map.colours})


def _read(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as they stand in the description of a tile set."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in made.items()}
    if isinstance(found.get("buffer"), int):  # in pixels
        found["buffer"] = f"{found['buffer']}px"
    if found.get("class_map"):
        names = ClassMap.parse(found["class_map"]).names
        found["class_map"] = ClassMap.of_pairs(names.items(), found.get("class_colours"))
    return found


def _spell(name: str, value: Any) -> str:
    """Return an option as on the command line, a long value cut short."""
    option = f"--{'split' if name == 'shares' else name.replace('_', '-')}"
    if value is True:
        return option
    if isinstance(value, ClassMap):
        value = value.text
    elif isinstance(value, Mapping):
        value = join_names(f"{key}={count}" for key, count in value.items())
    elif isinstance(value, tuple):
        value = join_names(f"{part:g}" if isinstance(part, float) else part for part in value)
    text = str(value) if len(str(value)) <= _LONGEST else f"{str(value)[:_LONGEST]}..."
    return f"{option} {shlex.quote(text)}"
