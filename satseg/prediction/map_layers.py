"""Layers of a map while it is made: what each pass stores of every pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from satseg.classes import ClassTable
from satseg.inference.decision import OF_OBJECTS, Decision
from satseg.objects import ObjectOutputs
from satseg.prediction.settings import PredictionSettings
from satseg.records import MapLayer

_SIEVED = (MapLayer.CLASSES, MapLayer.CONFIDENCE)


@dataclass(frozen=True)
class MapLayers:
    """Layers of a map, and of the passes that lead to it.

    Args:
        decision: How probabilities become the layers of the map.
        sieves: Whether small regions are dissolved.
        refines: Whether a CRF refines the network's probabilities in a second pass.
        divides: Whether classes are divided into objects, whose ids are a layer of their own.
    """

    decision: Decision
    sieves: bool = False
    refines: bool = False
    divides: bool = False

    @classmethod
    def of(
        cls,
        settings: PredictionSettings,
        classes: ClassTable,
        written: Iterable[MapLayer],
        said: ObjectOutputs | None,
    ) -> MapLayers:
        """Return the layers that are written, and those that attributes of polygons are computed from.

        Args:
            settings: How scenes are mapped.
            classes: Classes of the network.
            written: Layers with a file of their own.
            said: What the network says of objects, or None.

        Raises:
            UsageError: A threshold makes no sense.
        """
        attributes = settings.polygons.attributes or ()
        scored = settings.objects and (not attributes or "score" in attributes)
        has_confidence = scored or any(name.startswith("confidence") for name in attributes)
        kept = frozenset(written) - {MapLayer.OBJECTS} | ({MapLayer.CONFIDENCE} if has_confidence else frozenset())
        kept |= frozenset(OF_OBJECTS[said]) if settings.objects and said else frozenset()
        decision = Decision.parse(classes, settings.threshold, kept)
        return cls(decision, bool(settings.sieve), settings.crf, settings.objects)

    @property
    def has_confidence(self) -> bool:
        """Whether the probability of each pixel's class is stored."""
        return MapLayer.CONFIDENCE in self.decision.layers

    @property
    def bands(self) -> dict[MapLayer, int]:
        """Bands of each layer of the map."""
        return _bands(self.decision)

    @property
    def sieved(self) -> list[MapLayer]:
        """Layers that a sieve changes."""
        return [layer for layer in self.bands if layer in _SIEVED] if self.sieves else []

    @property
    def first_decision(self) -> Decision:
        """What the network leaves to a second pass that refines it: plain classes, and all probabilities."""
        kept = self.decision.layers - {MapLayer.CONFIDENCE} | {MapLayer.PROBABILITIES}
        return replace(self.decision, thresholds={}, layers=kept)

    @property
    def first_bands(self) -> dict[MapLayer, int]:
        """Bands of each layer that the network leaves to a second pass."""
        return _bands(self.first_decision)

    def bands_of(self, layer: MapLayer) -> int:
        """Return the bands of a raster that is written."""
        return 1 if layer is MapLayer.OBJECTS else self.bands[layer]

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes of all work rasters, which stay until the outputs are complete."""
        first = _bytes(self.first_bands) if self.refines else 0
        return _bytes(self.bands) + len(self.sieved) + first + MapLayer.OBJECTS.dtype.itemsize * self.divides


def _bytes(bands: Mapping[MapLayer, int]) -> int:
    return sum(count * layer.dtype.itemsize for layer, count in bands.items())


def _bands(decision: Decision) -> dict[MapLayer, int]:
    return {layer: decision.bands(layer) for layer in sorted(decision.layers)}
