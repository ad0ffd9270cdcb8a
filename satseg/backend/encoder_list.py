"""Backbones of timm, and those of this package, as encoders: which can serve, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from satseg.backend.weight_packages import packaged_weights
from satseg.errors import ArchitectureError
from satseg.results import Result

MOST_EXAMINED = 40
"""Backbones whose parameters, strides and sizes are worked out at a time: each takes about a second."""

_PYRAMID = (4, 8, 16, 32)  # what a plain transformer gets


@dataclass(frozen=True, repr=False)
class EncoderEntry(Result):
    """A backbone, and what it can do as an encoder.

    Args:
        name: Name for ``encoder``.
        family: File of timm that it is from.
        weights: Where ``pretrained`` finds weights: ``package``, ``hub`` or nowhere, which is None.
        tags: Names of the weights at the hub, which may follow the name behind a point.
        examined: Whether what follows has been worked out.
        parameters: Parameters for three bands; None if it cannot be built.
        strides: Input pixels per pixel of each level of features, finest first.
        multiple: The sides of images are multiples of this; others are mirrored at the edge up to it and cut back.
        reason: Why it cannot be an encoder; None if it can.
    """

    name: str
    family: str
    weights: str | None
    tags: tuple[str, ...]
    examined: bool = False
    parameters: int | None = None
    strides: tuple[int, ...] = ()
    multiple: int | None = None
    reason: str | None = None


def list_encoders(words: Sequence[str] = ()) -> list[EncoderEntry]:
    """List backbones, sorted by name; of up to :data:`MOST_EXAMINED` of them with what they can do. Imports torch.

    Args:
        words: Parts of names, families or tags of weights, all of which must fit; none lists all backbones.

    Raises:
        ArchitectureError: Nothing fits.
    """
    from satseg.backend.nn.mix_transformer import DEPTHS

    wanted = [word.lower() for word in words]
    entries = [*_of_timm(), *(EncoderEntry(name, "mix_transformer", None, ()) for name in DEPTHS)]
    found = [entry for entry in entries if all(word in _text(entry) for word in wanted)]
    if not found:
        raise ArchitectureError(
            f"No encoder has {' and '.join(map(repr, words))} in its name.",
            hint="The option `encoders` of `satseg models` lists all of them.",
        )
    found.sort(key=lambda entry: entry.name)
    return [_examined(entry) for entry in found] if len(found) <= MOST_EXAMINED else found


def _text(entry: EncoderEntry) -> str:
    return " ".join([entry.name, entry.family, *(f"{entry.name}.{tag}" for tag in entry.tags)])


def _of_timm() -> list[EncoderEntry]:
    import timm

    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags.setdefault(name, []).append(tag)
    return [
        EncoderEntry(
            name=name,
            family=timm.model_entrypoint(name).__module__.rpartition(".")[2],
            weights="package" if packaged_weights(name) else "hub" if name in tags else None,
            tags=tuple(tag for tag in tags.get(name, ()) if tag),
        )
        for name in timm.list_models()
    ]


def _examined(entry: EncoderEntry) -> EncoderEntry:
    """Return an entry with what its backbone can do."""
    if entry.family == "mix_transformer":
        return replace(entry, examined=True, parameters=_own_parameters(entry.name), strides=_PYRAMID, multiple=32)
    from satseg.backend.nn.suitability import examine

    found = examine(entry.name)
    return replace(
        entry,
        examined=True,
        parameters=found.parameters or None,
        strides=_PYRAMID if found.single_map and not found.reason else found.strides,
        multiple=None if found.reason else found.multiple,
        reason=found.reason or None,
    )


def _own_parameters(name: str) -> int:
    import torch

    from satseg.backend.nn.mix_transformer import MixTransformer

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in MixTransformer(name, in_channels=3).parameters())
