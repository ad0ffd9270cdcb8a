"""Decide classes and other layers of a map from blended probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import UsageError
from satseg.inference.blending import Blended
from satseg.objects import ObjectOutputs
from satseg.objects.grouping import MOST_STEPS, OFFSET_STEPS
from satseg.records import CERTAIN, MapLayer

OF_OBJECTS: Mapping[ObjectOutputs, tuple[MapLayer, ...]] = {
    ObjectOutputs.EDGES: (MapLayer.BOUNDARY, MapLayer.DISTANCE),
    ObjectOutputs.CENTRES: (MapLayer.CENTRES, MapLayer.OFFSETS),
}
"""Layers of what a network says of objects, in the order of its outputs."""


@dataclass(frozen=True)
class Decision:
    """How probabilities become classes, and which layers are stored.

    A pixel takes its most probable class. A class with a threshold is given exactly to the pixels where its
    probability reaches the threshold: it wins there over all classes without one, and elsewhere it is
    excluded. Of several that reach theirs, the one with the largest ratio to its threshold wins; where every
    class has a threshold and none reaches it, the pixel goes to the background, or else to the most probable class.

    Args:
        num_classes: Classes.
        thresholds: Class id to least probability, in 0..1.
        background: Id of the background class, if there is one.
        layers: Layers that are stored; classes always are.
    """

    num_classes: int
    thresholds: Mapping[int, float] = field(default_factory=dict)
    background: int | None = None
    layers: frozenset[MapLayer] = frozenset({MapLayer.CLASSES})

    @classmethod
    def parse(cls, classes: ClassTable, thresholds: tuple[str, ...], layers: frozenset[MapLayer]) -> Decision:
        """Read thresholds such as ``building=0.7``.

        Raises:
            UsageError: Not a name and a share, or no such class.
        """
        ids = {entry.name: entry.id for entry in classes}
        found: dict[int, float] = {}
        for text in thresholds:
            name, _, value = text.rpartition("=")
            try:
                share = float(value)
            except ValueError:
                share = -1.0
            if not name or not 0 < share <= 1:
                raise UsageError(
                    f"The threshold {text!r} is not of the form CLASS=P, with P above 0 and at most 1.",
                    hint=f"For example `threshold='{classes[len(classes) - 1].name}=0.7'`.",
                )
            if name not in ids:
                raise UsageError(
                    f"There is no class {name!r} to threshold.", hint=f"The network's classes are {', '.join(ids)}."
                )
            if ids[name] in found:
                raise UsageError(f"The class {name!r} has two thresholds.")
            found[ids[name]] = share
        return cls(len(classes), found, classes.background, layers | {MapLayer.CLASSES})

    def bands(self, layer: MapLayer) -> int:
        """Return how many bands a layer has."""
        return {MapLayer.PROBABILITIES: self.num_classes, MapLayer.OFFSETS: 2}.get(layer, 1)

    @property
    def shares(self) -> int:
        """How many planes of what is decided on are shares, which are cross-faded where windows overlap."""
        said = ObjectOutputs.CENTRES if MapLayer.OFFSETS in self.layers else ObjectOutputs.EDGES
        return self.num_classes + said.shares

    @torch.inference_mode()
    def decide(self, blended: Blended) -> dict[MapLayer, np.ndarray]:
        """Return the layers of a cell: (band, row, col) by layer, 255 where not valid, or 0 in offsets."""
        probabilities = blended.probabilities[: self.num_classes]
        confidence, classes = self._classes(probabilities)
        kept = {MapLayer.CLASSES: classes.to(torch.uint8)[None]}
        if MapLayer.CONFIDENCE in self.layers:
            kept[MapLayer.CONFIDENCE] = _eight_bits(confidence)[None]
        if MapLayer.PROBABILITIES in self.layers:
            kept[MapLayer.PROBABILITIES] = _eight_bits(probabilities)
        if MapLayer.DISAGREEMENT in self.layers and blended.disagreement is not None:
            kept[MapLayer.DISAGREEMENT] = _eight_bits(blended.disagreement)[None]
        for layers in OF_OBJECTS.values():
            first = self.num_classes
            for layer in layers:
                planes = slice(first, first + self.bands(layer))
                first = planes.stop
                if layer in self.layers:
                    said = blended.probabilities[planes]
                    assert len(said) == self.bands(layer), "the network says what is to be stored"
                    kept[layer] = _steps(said) if layer is MapLayer.OFFSETS else _eight_bits(said)
        return {layer: _masked(values.cpu().numpy(), blended.valid) for layer, values in kept.items()}

    def _classes(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of the class that a pixel takes, and the class, both (h, w)."""
        if not self.thresholds:
            best = probabilities.max(dim=0)
            return best.values, best.indices
        score = probabilities.clone()
        for class_id, threshold in self.thresholds.items():
            probability = probabilities[class_id]
            # Reached: above every probability. Not reached: below every one.
            # A product, since devices round a division by a number differently.
            ratio = probability * (1 / threshold)
            score[class_id] = torch.where(probability >= threshold, 1 + ratio, probability - 1)
        classes = score.argmax(dim=0)
        if len(self.thresholds) == self.num_classes and self.background is not None:
            classes = torch.where(score.amax(dim=0) < 0, self.background, classes)
        return probabilities.gather(0, classes[None])[0], classes


def _eight_bits(shares: Tensor) -> Tensor:
    return (shares * CERTAIN).round().clamp(0, CERTAIN).to(torch.uint8)


def _steps(offsets: Tensor) -> Tensor:
    return (offsets * OFFSET_STEPS).round().clamp(-MOST_STEPS, MOST_STEPS).to(torch.int16)


def _masked(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    none = IGNORE_INDEX if values.dtype == np.uint8 else 0
    return values if valid.all() else np.where(valid, values, values.dtype.type(none))
