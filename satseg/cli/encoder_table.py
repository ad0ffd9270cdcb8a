"""Table of ``satseg models --encoders``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from satseg.cli import console

if TYPE_CHECKING:
    from satseg.backend.encoder_list import EncoderEntry
    from satseg.cli.table import Table

_ANY = 32  # networks bring sides to multiples of their coarsest stride themselves


def encoder_table(entries: list[EncoderEntry]) -> Table:
    """Return a row for each backbone: what it is, what it takes and gives, and why it cannot serve if so."""
    rows = [
        (
            entry.name,
            entry.family,
            f"{entry.parameters / 1e6:.1f} M" if entry.parameters else None,
            ", ".join(map(str, entry.strides)) or None,
            _sizes(entry),
            _weights(entry),
        )
        for entry in entries
    ]
    return console.table(("name", "family", "params", "strides", "sizes", "weights"), rows)


def _sizes(entry: EncoderEntry) -> str | None:
    if entry.reason:
        return f"cannot serve: {entry.reason}"
    if entry.multiple is None:
        return None
    return "any" if entry.multiple <= _ANY else f"multiples of {entry.multiple} px; others are padded"


def _weights(entry: EncoderEntry) -> str | None:
    return f"{entry.weights}: {', '.join(entry.tags)}" if entry.weights and entry.tags else entry.weights
