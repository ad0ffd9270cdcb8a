"""List the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from satseg.backend import Architecture, find_architecture, list_architectures
from satseg.errors import UsageError

_KEYS: dict[str, Callable[[Architecture], Any]] = {
    "name": lambda entry: entry.name,
    "family": lambda entry: entry.family,
    "year": lambda entry: entry.year,
    "parameters": lambda entry: entry.parameters,
    "multiply-adds": lambda entry: entry.multiply_adds,
    "stride": lambda entry: entry.output_stride,
    "field": lambda entry: entry.receptive_field or math.inf,  # those that see the whole image come last
}


def models(names: str | Sequence[str] = (), *, sort: str = "name") -> list[Architecture]:
    """List the built-in networks. Does not import torch.

    Args:
        names: Names of networks, or parts of their names, families or encoders; empty lists all.
        sort: Sort key, ascending: ``name``, ``family``, ``year``, ``parameters``, ``multiply-adds``, ``stride`` or
            ``field``.

    Raises:
        ArchitectureError: There is no such network, or the docstring of a network in ``backend/models`` is incomplete.
        UsageError: Unknown sort key.
    """
    if sort not in _KEYS:
        raise UsageError(f"Networks cannot be sorted by {sort!r}.", hint=f"Sort by one of {', '.join(_KEYS)}.")
    words = [names] if isinstance(names, str) else list(names)
    known = list_architectures()
    chosen = {entry.name for word in words for entry in _meant(word, known)} if words else {e.name for e in known}
    return sorted((entry for entry in known if entry.name in chosen), key=_KEYS[sort])


def _meant(word: str, known: Sequence[Architecture]) -> list[Architecture]:
    """Return the network of this name, else those whose name, title, family or encoder contains the word."""
    plain = word.lower()
    exact = [entry for entry in known if entry.name == plain]
    part = [
        entry
        for entry in known
        if any(plain in text.lower() for text in (entry.name, entry.title, entry.family, entry.encoder))
    ]
    return exact or part or [find_architecture(word)]
