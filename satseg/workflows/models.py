"""List the networks."""

from __future__ import annotations

from satseg.backend import Architecture, list_architectures


def models() -> list[Architecture]:
    """List every network that can be trained, sorted by name. Does not import torch.

    Raises:
        ArchitectureError: A file of ``backend/models`` does not describe its networks as it should.
    """
    return list_architectures()
