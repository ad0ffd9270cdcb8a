"""Labels of an evaluation: read by the settings that are given, else like those that a network was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from satseg.errors import LabelError, printable
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.class_lists import read_class_map
from satseg.labels.class_map import ClassMap
from satseg.labels.class_values import ClassValues
from satseg.labels.label_files import open_labels
from satseg.labels.label_meaning import LabelMeaning
from satseg.labels.label_source import LabelSource
from satseg.labels.raster_labels import is_raster
from satseg.labels.settings import LabelSettings

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class LabelReading:
    """Labels and how they are read.

    Args:
        path: Vector features or class rasters, later ones on top; or those of each scene, by its name.
        settings: What they mean.
        remembered: The class map as text, if it is that of a network or map.
        ids: Whether rasters hold ids of objects in place of classes.
    """

    path: Sequence[str] | Mapping[str, Sequence[str]]
    settings: LabelSettings
    remembered: str | None = None
    ids: bool = False

    def like(self, meaning: LabelMeaning, source: str | Path) -> LabelReading:
        """Return labels that are read like those of a network or map, except for settings that are given.

        Args:
            meaning: Meaning of the labels of the network or map.
            source: The network or map.
        """
        given = [name for name in self.settings.given if getattr(self.settings, name)]
        wanted = {name: value for name, value in meaning.to_dict().items() if name not in given}
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
        log.info("Labels are read like those of %s: %s.", source, LabelMeaning.from_dict(wanted))
        return replace(self, settings=self.settings.changed(**wanted), remembered=wanted.get("class_map"))

    @property
    def paired(self) -> bool:
        """Whether every scene has its own labels."""
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
            UsageError: It cannot be read.
        """
        return read_class_map(self.settings.class_map)

    def open(self, beside: ClassValues | None = None) -> LabelSource:
        """Open the labels, with their own classes.

        Args:
            beside: Values of a map that they are compared with, if the class map was given for both.

        Raises:
            LabelError: They cannot be used.
            UsageError: The class map cannot be read.
        """
        settings, mapping = self.settings, self.mapping
        if mapping is not None and settings.class_field is None and not any(map(is_raster, self._files)):
            # All features have the class that their file is named after: the class map may be for the map only.
            stems = [] if self.paired else [printable(Path(VectorLayer.open(file).path).stem) for file in self._files]
            named = any(mapping.find(stem) for stem in stems)
            mapping = mapping if named else None
        if mapping is not None:
            mapping = replace(mapping, keeps_targets=True)
        try:
            source = open_labels(self.path, settings, class_map=mapping, ids=self.ids)
        except LabelError as error:
            if self.remembered and "Add `class_map=" in (error.hint or ""):
                error.hint = (
                    f"{error.hint} It replaces the one of the training, so give both: `class_map={self.remembered!r}`."
                )
            raise
        source.warn_of_unmatched(self.mapping if beside else mapping, beside=beside, strict=beside is not None)
        return source
