"""What networks of checkpoints of format 1 compute otherwise: they go on as they were trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_SLIDES = "scores slide across each window by up to its output stride"
_SIZES = "scores slide across windows whose sides are no multiples of its output stride"
_FORMER = {
    **dict.fromkeys(("bisenet", "deeplabv1", "deeplabv3", "deeplabv3plus", "denseaspp", "dfanet"), _SLIDES),
    **dict.fromkeys(("espnetv2", "fasterseg", "icnet", "pspnet", "refinenet"), _SLIDES),
    **dict.fromkeys(("ddrnet23", "ddrnet23slim", "ddrnet39", "deeplabv2", "panoptic_deeplab"), _SIZES),
    "enet": "its asymmetric convolutions begin with the column",
}


def former_behaviour(arch: str, options: Mapping[str, Any]) -> str | None:
    """Return what a network of a checkpoint of format 1 does otherwise than one that is trained now, None if nothing.

    Args:
        arch: Its name.
        options: Its options.
    """
    if arch == "unet":
        return "what it upsamples slides across each window by up to 15 px" if options.get("bilinear") else None
    return _FORMER.get(arch)


def as_in_format_1(model: nn.Module) -> None:
    """Let a fresh network compute what those of checkpoints of format 1 do, before it gets their weights.

    Each of its modules that has changed since says how, by a method of this name.
    """
    for module in model.modules():
        if change := getattr(module, "as_in_format_1", None):
            change()
