"""Objects as arrays: what networks learn about them, and how maps of that become objects again."""

from __future__ import annotations

from enum import StrEnum

ONE = 254
"""Value of 8-bit maps that stands for 1."""

UNKNOWN = 255
"""Value of 8-bit maps where nothing is known."""


class ObjectOutputs(StrEnum):
    """What a network says of objects, behind its classes.

    ``EDGES`` are the inner boundary and the distance to the own edge, which the head of any network can learn.
    ``CENTRES`` are a heat map of centres, and the way from each pixel to its own one along rows and columns: those of a
    network that brings a branch for them.
    """

    EDGES = "edges"
    CENTRES = "centres"

    @property
    def planes(self) -> int:
        """Number of outputs."""
        return 2 if self is ObjectOutputs.EDGES else 3

    @property
    def shares(self) -> int:
        """How many of these, the first ones, are shares in 0..1, of which means make sense, unlike offsets."""
        return 2 if self is ObjectOutputs.EDGES else 1
