"""Measure the objects of labels on the ground."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from satseg.errors import LabelError
from satseg.geo.units import Gsd
from satseg.labels.label_source import LabelSource
from satseg.records import ObjectWidths, Progress, ProgressEvent, SceneInfo, no_progress
from satseg.tiling.cut import empty_class

_SCENES = 16  # that are measured at most
_OBJECT = 0.5  # of the narrow side of a scene; what is wider is ground cover rather than an object
NARROW = 0.1
"""Share of the objects that are narrower than ``ClassSize.narrow``."""


@dataclass(frozen=True)
class ClassSize:
    """Widths of the objects of a class, in metres on the ground; in pixels if the ground resolution is unknown.

    Args:
        count: Objects measured.
        median: Half of them are at least as wide.
        narrow: A tenth of them are narrower.
    """

    count: int
    median: float
    narrow: float


@dataclass(frozen=True)
class ObjectSizes:
    """Sizes of the objects in labels.

    Args:
        classes: Sizes by class name; classes without objects are missing.
        in_metres: Whether the ground resolution of all scenes is known.
    """

    classes: Mapping[str, ClassSize]
    in_metres: bool

    @property
    def count(self) -> int:
        """Objects measured in all."""
        return sum(size.count for size in self.classes.values())

    def in_pixels(self, gsd: Gsd, shares: Mapping[str, float]) -> dict[str, ObjectWidths]:
        """Return the widths by class name.

        Args:
            gsd: Ground metres per pixel along x and y, or None.
            shares: Share of each class in the labelled pixels; classes without one are left out.
        """
        pixel = math.sqrt(gsd[0] * gsd[1]) if self.in_metres and gsd is not None else 1.0
        return {
            name: ObjectWidths(size.count, size.median / pixel, size.narrow / pixel, shares[name])
            for name, size in self.classes.items()
            if name in shares
        }


def measure_objects(labels: LabelSource, infos: Sequence[SceneInfo], progress: Progress = no_progress) -> ObjectSizes:
    """Measure the width of each object, see :mod:`satseg.labels.object_widths`.

    Of many objects and scenes, a sample is measured that is the same at every call. The background has no objects.

    Args:
        labels: The labels.
        infos: The scenes.
        progress: Called after each scene.
    """
    in_metres = all(info.gsd is not None for info in infos)
    sample = infos[:: -(-len(infos) // _SCENES)]
    empty = empty_class(labels.classes)
    background = None if empty is None else labels.classes.names.index(empty)
    found: dict[int, list[np.ndarray]] = {}
    for done, info in enumerate(sample, start=1):
        unit = info.gsd if in_metres and info.gsd is not None else (1.0, 1.0)
        widest = _OBJECT * min(info.width * unit[0], info.height * unit[1])
        with suppress(LabelError), labels.on(info) as here:  # what is wrong is told when tiles are planned
            for classes, widths in here.widths(unit, len(sample), background):
                for number in np.unique(classes).tolist():
                    found.setdefault(number, []).append(widths[(classes == number) & (widths <= widest)])
        progress(ProgressEvent("Measuring objects", done, len(sample), "scene"))
    widths_of = {labels.classes.names[number]: np.concatenate(found[number]) for number in sorted(found)}
    return ObjectSizes({name: _size(widths) for name, widths in widths_of.items() if len(widths)}, in_metres)


def _size(widths: np.ndarray) -> ClassSize:
    narrow, median = np.quantile(widths, [NARROW, 0.5]).tolist()
    return ClassSize(len(widths), median, narrow)
