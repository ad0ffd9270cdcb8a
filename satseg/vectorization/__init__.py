"""From class maps to polygons: tracing as a planar map, attributes, vector files."""

from __future__ import annotations

from satseg.vectorization.formats import VECTOR_SUFFIXES, require_way
from satseg.vectorization.options import ATTRIBUTES, PolygonOptions
from satseg.vectorization.sink import PolygonSink

__all__ = ["ATTRIBUTES", "VECTOR_SUFFIXES", "PolygonOptions", "PolygonSink", "require_way"]
