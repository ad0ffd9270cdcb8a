"""Addresses of pretrained encoders, at a hub or in a package: each brings weights and the encoder's name in timm."""

from __future__ import annotations

from satseg.backend.nn.hub import PREFIX, architecture_at
from satseg.backend.weight_packages import is_in_package, weights_at
from satseg.errors import ArchitectureError, one_line


def is_address(encoder: object) -> bool:
    """Return whether this is the address of an encoder, and not its name in timm."""
    return isinstance(encoder, str) and (encoder.startswith(PREFIX) or is_in_package(encoder))


def encoder_at(address: str) -> str:
    """Return the name in timm of the encoder at an address.

    Raises:
        ArchitectureError: The package is not installed, or has no such weights; the hub cannot be reached, or has no
            encoder of timm there.
    """
    if is_in_package(address):
        return weights_at(address).encoder
    try:
        return architecture_at(address)
    except OSError as error:
        raise ArchitectureError(
            f"The encoder {address} cannot be had: {one_line(error)}.",
            hint="Name an encoder of timm, and pass the address or a file of its weights as `encoder_weights`.",
        ) from error
