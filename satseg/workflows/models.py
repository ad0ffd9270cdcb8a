"""List the networks."""

from __future__ import annotations

from collections.abc import Sequence

from satseg.backend import Architecture, find_architecture, list_architectures
from satseg.errors import UsageError

_KEYS = {
    "name": "name",
    "year": "year",
    "parameters": "parameters",
    "multiply-adds": "multiply_adds",
    "stride": "output_stride",
}


def models(names: str | Sequence[str] = (), *, sort: str = "name") -> list[Architecture]:
    """List the networks that can be trained. Does not import torch.

    Args:
        names: What to list: names of networks, or texts that are part of their names or of their encoders'; all if
            empty.
        sort: ``name``, ``year``, ``parameters``, ``multiply-adds`` or ``stride``, the smallest first.

    Raises:
        ArchitectureError: There is no such network, or a file of ``backend/models`` does not describe its networks as
            it should.
        UsageError: They cannot be sorted by that.
    """
    if sort not in _KEYS:
        raise UsageError(f"Networks are not sorted by {sort!r}.", hint=f"Choose from {', '.join(_KEYS)}.")
    words = [names] if isinstance(names, str) else list(names)
    known = list_architectures()
    chosen = {entry.name for word in words for entry in _meant(word, known)} if words else {e.name for e in known}
    return sorted((entry for entry in known if entry.name in chosen), key=lambda entry: getattr(entry, _KEYS[sort]))


def _meant(word: str, known: Sequence[Architecture]) -> list[Architecture]:
    """Return the network of that name, else those with the word in their name, title or encoder's name."""
    plain = word.lower()
    exact = [entry for entry in known if entry.name == plain]
    part = [entry for entry in known if any(plain in text.lower() for text in (entry.name, entry.title, entry.encoder))]
    return exact or part or [find_architecture(word)]
