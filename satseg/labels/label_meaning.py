"""The interpretation of labels, which networks and maps store so that other labels are read in the same way."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from satseg.errors import UsageError, one_line
from satseg.fields import FieldError, Fields, parse_json
from satseg.labels.class_map import IGNORE, ClassMap
from satseg.raster.values import LARGEST_EXACT

log = logging.getLogger("satseg")

LABELS_TAG = "SATSEG_LABELS"
"""Name of the tag of maps that stores it as JSON."""

_LONGEST_FIELD = 1000  # characters
_LONGEST_MAP = 100_000
_MOST_VALUES = 1000
_SHOWN = 60  # characters of a class map


@dataclass(frozen=True)
class LabelMeaning:
    """How labels are interpreted.

    Args:
        class_field: Attribute with the class of each feature; None if all features are one class.
        class_map: Class by value, as :meth:`ClassMap.parse` reads it; None if every value is a class.
        unlabelled: Values of class rasters that mean unlabelled.
        outside: ``ignore`` if pixels outside all polygons are unlabelled; None if they are background.
    """

    class_field: str | None = None
    class_map: str | None = None
    unlabelled: tuple[int, ...] = ()
    outside: str | None = None

    @classmethod
    def of_tiles(cls, provenance: Sequence[Mapping[str, Any]]) -> LabelMeaning:
        """Return the meaning of the labels of a tile set; later calls that added tiles override earlier ones.

        A class map that is too long to be stored is left out, with a warning.
        """
        meaning: dict[str, Any] = {}
        for made in provenance:
            meaning |= {field.name: made[field.name] for field in fields(cls) if made.get(field.name)}
        if len(meaning.get("class_map", "")) > _LONGEST_MAP:
            log.warning("The class map is too long to be stored in checkpoints: pass it again to `satseg.evaluate`.")
            del meaning["class_map"]
        try:
            return cls.from_dict(meaning)
        except (FieldError, UsageError):  # a header that was edited
            return cls()

    @classmethod
    def from_dict(cls, value: Any, name: str = "labels") -> LabelMeaning:
        """Read the result of :meth:`to_dict`, validating it.

        Raises:
            FieldError: An entry is invalid.
            UsageError: The class map is invalid.
        """
        given = Fields(value, name)
        field = given.text("class_field", longest=_LONGEST_FIELD) if given.holds("class_field") else None
        text = given.text("class_map", longest=_LONGEST_MAP) if given.holds("class_map") else None
        if text is not None:
            ClassMap.parse(text)
        values = given.value("unlabelled") if given.holds("unlabelled") else []
        if not isinstance(values, list | tuple) or len(values) > _MOST_VALUES or not all(map(_is_value, values)):
            raise FieldError(f"{name}.unlabelled is not a list of whole numbers, {_MOST_VALUES} at most")
        outside = given.choice("outside", [IGNORE]) if given.holds("outside") else None
        return cls(field, text, tuple(values), outside)

    @classmethod
    def from_json(cls, text: str, source: str) -> LabelMeaning:
        """Read the tag of a map; an invalid one is ignored, with a warning that names its ``source``."""
        try:
            return cls.from_dict(parse_json(text), LABELS_TAG)
        except (FieldError, UsageError) as error:
            log.warning("%s has an invalid description of its labels: %s.", source, one_line(error))
            return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that are not None, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value}

    def to_json(self) -> str:
        """Return it as JSON; equal meanings are equal bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    def __str__(self) -> str:
        """Return it as settings of ``evaluate``; a long class map is replaced by its size."""
        parts = [] if self.class_field is None else [f"`class_field={self.class_field!r}`"]
        if self.class_map is not None:
            values = len(ClassMap.parse(self.class_map).names)
            short = len(self.class_map) <= _SHOWN
            parts.append(f"`class_map={self.class_map!r}`" if short else f"a class map of {values} values")
        parts += [f"`unlabelled={value}`" for value in self.unlabelled]
        parts += [] if self.outside is None else [f"`outside={self.outside!r}`"]
        return ", ".join(parts)

    def __bool__(self) -> bool:
        return bool(self.to_dict())


def _is_value(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_EXACT
