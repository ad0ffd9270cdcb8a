"""What labels meant that tiles were cut with: networks and maps remember it, so that others are read alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from satseg.errors import UsageError, one_line
from satseg.fields import FieldError, Fields, parse_json
from satseg.labels.class_map import IGNORE, ClassMap

log = logging.getLogger("satseg")

LABELS_TAG = "SATSEG_LABELS"
"""Name under which maps keep it, as JSON."""

_LONGEST_FIELD = 1000  # characters
_LONGEST_MAP = 100_000
_MOST_VALUES = 1000
_LARGEST = 2**53
_SHOWN = 60  # characters of a class map


@dataclass(frozen=True)
class LabelMeaning:
    """How labels are read.

    Args:
        class_field: Attribute that names the class of each feature; None where all features are of one class.
        class_map: Class by value, as :meth:`ClassMap.parse` reads it; None where every value is a class.
        unlabelled: Values of class rasters that mean that nobody looked there.
        outside: ``ignore`` where nothing is known outside of all polygons; None where that is background.
    """

    class_field: str | None = None
    class_map: str | None = None
    unlabelled: tuple[int, ...] = ()
    outside: str | None = None

    @classmethod
    def of_tiles(cls, provenance: Sequence[Mapping[str, Any]]) -> LabelMeaning:
        """Return what the labels of a tile set mean; of several calls that made it, the last one that says decides.

        A class map too long to be carried along is left out, which is said.
        """
        told: dict[str, Any] = {}
        for made in provenance:
            told |= {field.name: made[field.name] for field in fields(cls) if made.get(field.name)}
        if len(told.get("class_map", "")) > _LONGEST_MAP:
            log.warning("The class map is too long for a checkpoint to remember: evaluate will need it again.")
            del told["class_map"]
        try:
            return cls.from_dict(told)
        except (FieldError, UsageError):  # of a header that somebody edited
            return cls()

    @classmethod
    def from_dict(cls, value: Any, name: str = "labels") -> LabelMeaning:
        """Read what :meth:`to_dict` wrote, or others did.

        Raises:
            FieldError: An entry holds what it may not.
            UsageError: The class map is none.
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
        """Read what a map tells; what cannot be understood is left out, with a warning that names its ``source``."""
        try:
            return cls.from_dict(parse_json(text), LABELS_TAG)
        except (FieldError, UsageError) as error:
            log.warning("%s does not say rightly what its labels meant: %s.", source, one_line(error))
            return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value}

    def to_json(self) -> str:
        """Return it as JSON; equal meanings are equal bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    def __str__(self) -> str:
        """Return it as options of ``evaluate``, a long class map by its size."""
        told = [] if self.class_field is None else [f"--class-field {self.class_field}"]
        if self.class_map is not None:
            values = len(ClassMap.parse(self.class_map).names)
            told.append(
                f"--class-map {self.class_map}" if len(self.class_map) <= _SHOWN else f"a class map of {values} values"
            )
        told += [f"--unlabelled {value}" for value in self.unlabelled]
        told += [] if self.outside is None else [f"--outside {self.outside}"]
        return ", ".join(told)

    def __bool__(self) -> bool:
        return bool(self.to_dict())


def _is_value(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
