"""How ``evaluate`` reads labels: as users say, else like those that a network was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from satseg.classes import BACKGROUND
from satseg.errors import LabelError, printable
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.class_lists import ClassMapSource, read_class_map
from satseg.labels.class_map import ClassMap
from satseg.labels.class_values import ClassValues
from satseg.labels.label_files import open_labels
from satseg.labels.label_meaning import LabelMeaning
from satseg.labels.labels import LabelSource
from satseg.labels.raster_labels import is_raster

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class LabelReading:
    """How labels are read.

    Args:
        path: Vector features or class rasters, later ones on top; or those of each scene, by its name.
        class_field: Attribute that names the class of each feature; None puts all of them into one.
        class_map: Class by value, as text, file or dictionary; None makes a class of each value.
        where: Condition in SQL that features must meet.
        unlabelled: Values of class rasters that mean that nobody looked there.
        labelled_area: Vector file of the polygons outside of which nothing is known.
        outside: What lies outside of all polygons: ``background`` or ``ignore``; None is ``background``.
        remembered: The class map as text, where it is that of a network or map.
    """

    path: Sequence[str] | Mapping[str, Sequence[str]]
    class_field: str | None = None
    class_map: ClassMapSource | None = None
    where: str | None = None
    unlabelled: Sequence[int] = ()
    labelled_area: str | Path | None = None
    outside: str | None = None
    remembered: str | None = None

    def like(self, meaning: LabelMeaning, source: str | Path) -> LabelReading:
        """Return a reading like that of the labels behind a network or map, but for what the user says otherwise.

        Args:
            meaning: What those labels meant.
            source: The network or map.
        """
        wanted = {name: value for name, value in meaning.to_dict().items() if not getattr(self, name)}
        rasters = [is_raster(file) for file in self._files] if wanted.keys() & {"class_field", "unlabelled"} else []
        if not any(rasters):
            wanted.pop("unlabelled", None)
        if all(rasters):
            wanted.pop("class_field", None)
        else:
            vector = self._files[rasters.index(False)]
            field = wanted.get("class_field")
            if field is not None and field not in (fields := VectorLayer.open(vector).fields):
                raise LabelError(
                    f"{vector} has no attribute {field!r}, which named the classes of the labels behind {source}.",
                    hint=f"Choose one of its own as `class_field`: {', '.join(fields)}."
                    if fields
                    else "It has no attributes.",
                )
        if not wanted:
            return self
        log.info("Labels are read like those behind %s: %s.", source, LabelMeaning.from_dict(wanted))
        return replace(self, **wanted, remembered=wanted.get("class_map"))

    @property
    def paired(self) -> bool:
        """Whether each scene has labels of its own."""
        return isinstance(self.path, Mapping)

    @property
    def _files(self) -> list[str]:
        """All files of labels, in order."""
        if not isinstance(self.path, Mapping):
            return list(self.path)
        return list(dict.fromkeys(file for files in self.path.values() for file in files))

    @cached_property
    def mapping(self) -> ClassMap | None:
        """The class map.

        Raises:
            UsageError: It is none.
        """
        return read_class_map(self.class_map)

    def open(self, beside: ClassValues | None = None) -> LabelSource:
        """Open them, with classes of their own.

        Args:
            beside: Values of a map that they are compared with, where the class map was given for both.

        Raises:
            LabelError: They cannot be used.
            UsageError: The class map is none.
        """
        mapping = self.mapping
        if mapping is not None and self.class_field is None and not any(map(is_raster, self._files)):
            # All features are of the class that their file is named after: a class map may speak of the map alone.
            stems = [] if self.paired else [printable(Path(VectorLayer.open(file).path).stem) for file in self._files]
            named = any(mapping.find(stem) for stem in stems)
            mapping = mapping if named else None
        if mapping is not None:
            mapping = replace(mapping, keeps_targets=True)
        try:
            source = open_labels(
                self.path,
                class_field=self.class_field,
                class_map=mapping,
                where=self.where,
                unlabelled=self.unlabelled,
                labelled_area=self.labelled_area,
                outside=self.outside or BACKGROUND,
            )
        except LabelError as error:
            if self.remembered and "Add `class_map=" in (error.hint or ""):
                error.hint = (
                    f"{error.hint} It replaces the one of the training, so give both: `class_map={self.remembered!r}`."
                )
            raise
        source.warn_of_unmatched(self.mapping if beside else mapping, beside=beside, strict=beside is not None)
        return source
