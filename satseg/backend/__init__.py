"""Networks: list and build them. Neither importing this package nor listing networks imports torch."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from satseg.arguments import is_whole
from satseg.backend.catalogue import Architecture, Entry, read_catalogue
from satseg.backend.custom import (
    Builder,
    build_custom,
    custom_code_errors,
    custom_code_failure,
    is_custom_file,
    recorded_name,
    run_custom_file,
)
from satseg.backend.former import as_in_format_1, former_behaviour
from satseg.backend.nn.addresses import encoder_at, is_address
from satseg.backend.weight_packages import ENCODER_PACKAGES, PackagedWeights, packaged_weights
from satseg.errors import ArchitectureError, one_line
from satseg.fields import shown
from satseg.objects import ObjectOutputs

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ENCODER_PACKAGES",
    "Architecture",
    "Builder",
    "PackagedWeights",
    "as_in_format_1",
    "create_model",
    "custom_code_errors",
    "custom_code_failure",
    "find_architecture",
    "former_behaviour",
    "is_address",
    "is_custom_file",
    "lasting_options",
    "list_architectures",
    "named_encoder",
    "object_outputs",
    "packaged_weights",
    "recorded_name",
    "run_custom_file",
    "with_crop",
    "with_elevation",
]

_OBJECTS = "objects"
_CROP = "crop"
_ELEVATION = "elevation"
_EDGES = "edges"  # whether the last outputs are those of objects, for networks that treat classes alone
_BUILD = "build"  # what builds the network that another one wraps
_GIVEN = ("in_channels", "num_classes", _OBJECTS, _EDGES, _BUILD)
_STARTING = ("pretrained", "encoder_weights")
_ENCODER = ("encoder", *_STARTING)


def list_architectures() -> list[Architecture]:
    """List every network that ``create_model`` builds, sorted by name, without importing torch.

    Raises:
        ArchitectureError: A file of ``backend/models`` lacks the description of a network.
    """
    return [entry.architecture for entry in read_catalogue().values()]


def find_architecture(arch: str) -> Architecture:
    """Find a network by its name, without importing torch.

    Raises:
        ArchitectureError: The network does not exist; the hint names similar ones.
    """
    return _find(arch).architecture


def object_outputs(arch: str | Builder) -> ObjectOutputs:
    """Return what a network says of objects if it learns them.

    A function that takes ``objects`` builds a network with a branch of its own for centres and offsets; the head of
    every other network gets outputs for inner boundary and distance.

    Args:
        arch: As :func:`create_model` takes it.

    Raises:
        ArchitectureError: The network does not exist.
    """
    return ObjectOutputs.CENTRES if _takes(arch, _OBJECTS) else ObjectOutputs.EDGES


def with_crop(arch: str | Builder, options: Mapping[str, Any], side: int) -> dict[str, Any]:
    """Return the options of a network with the side of the images that it is to learn from, if it has to know.

    A function that takes ``crop`` builds a network whose parameters belong to images of one size; it tells that size
    by its attribute ``window``. A crop that is given stays.

    Args:
        arch: As :func:`create_model` takes it.
        options: Options of the network.
        side: Of the images, in pixels.

    Raises:
        ArchitectureError: The network does not exist.
    """
    return {_CROP: side, **options} if _takes(arch, _CROP) else dict(options)


def with_elevation(arch: str | Builder, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network that is to learn from a scene and an extra raster behind its bands.

    A function that takes ``elevation`` builds a network that has an encoder of its own for the last band. What is given
    stays.

    Args:
        arch: As :func:`create_model` takes it.
        options: Options of the network.

    Raises:
        ArchitectureError: The network does not exist.
    """
    return {_ELEVATION: True, **options} if _takes(arch, _ELEVATION) else dict(options)


def create_model(
    arch: str | Builder, *, in_channels: int, num_classes: int, objects: bool = False, **options: Any
) -> nn.Module:
    """Build a network with random weights, in training mode, on the default device of torch.

    Its ``forward`` takes normalised images (N, in_channels, H, W) float32 with H and W of at least 32, and returns
    logits (N, num_classes, H, W). With ``objects``, what it says of them follows: logits of inner boundary and
    distance, or heat of centres and two offsets from a branch of its own. Only the file of this network is imported.

    Args:
        arch: Name of a network from ``list_architectures``, or a function that builds a custom architecture.
        in_channels: Bands of the input, at least 1.
        num_classes: Classes of the output, at least 1.
        objects: Whether the network has outputs for objects, too.
        options: Options of this network; see its function in ``backend/models``.

    Raises:
        ArchitectureError: The network does not exist, does not take these options or values, or a custom architecture
            breaks this contract.
    """
    builder = _builder(_find(arch)) if isinstance(arch, str) else arch
    for name, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if not is_whole(value) or value < 1:
            raise ArchitectureError(f"A network needs {name} of at least 1, not {value!r}.")
    _check_options(builder, options)
    outputs = num_classes
    if objects:
        said = object_outputs(builder)
        outputs += said.planes
        if said is ObjectOutputs.CENTRES:
            options[_OBJECTS] = True
        else:
            num_classes = outputs
            options |= {_EDGES: True} if _takes(builder, _EDGES) else {}
    if not isinstance(arch, str):
        return build_custom(builder, in_channels=in_channels, num_classes=num_classes, options=options, outputs=outputs)
    _check_types(builder, options)
    inner = {_BUILD: create_model} if _takes(builder, _BUILD) else {}
    try:
        model: nn.Module = builder(in_channels=in_channels, num_classes=num_classes, **options, **inner)
    except (ValueError, RuntimeError) as error:  # of a value out of range; of a network that memory cannot hold
        raise ArchitectureError(f"{arch} cannot be built{_with(options)}: {one_line(error)}.") from error
    return model


def named_encoder(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network with the name of its encoder in place of an address.

    The address becomes that of its weights, so that a checkpoint does not depend on the hub or the package.

    Raises:
        ArchitectureError: The hub cannot be reached, the package is not installed, or there is no such encoder.
    """
    encoder = options.get("encoder")
    if not is_address(encoder):
        return dict(options)
    return {"encoder_weights": encoder, **options, "encoder": encoder_at(str(encoder))}


def lasting_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network without those that only choose its initial weights.

    A network that gets its weights from a checkpoint does not need them, and they may not be available any more.
    """
    return {name: value for name, value in options.items() if name not in _STARTING}


def _find(arch: str) -> Entry:
    catalogue = read_catalogue()
    if arch in catalogue:
        return catalogue[arch]
    # Compare letters and digits only, so that "DeepLab-v3+" finds "deeplabv3plus".
    plain = "".join(char for char in arch.lower().replace("+", "plus") if char.isalnum())
    near = difflib.get_close_matches(plain, catalogue, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`satseg models` lists all networks."
    raise ArchitectureError(f"There is no network named {arch!r}.", hint=hint)


def _builder(entry: Entry) -> Builder:
    builder: Builder = getattr(import_module(entry.module), entry.architecture.name)
    return builder


def _takes(arch: str | Builder, name: str) -> bool:
    """Tell whether the function that builds a network has an argument."""
    builder = _builder(_find(arch)) if isinstance(arch, str) else arch
    try:
        return name in inspect.signature(builder).parameters
    except ValueError:  # written in C
        return False


def _with(options: Mapping[str, Any]) -> str:
    return " with " + ", ".join(f"{name}={value!r}" for name, value in options.items()) if options else ""


def _check_types(builder: Builder, options: Mapping[str, Any]) -> None:
    """Refuse values whose type is not the one that a network of the catalogue declares."""
    declared = get_type_hints(builder)
    for name, value in options.items():
        if not _takes(builder, name):  # of the network that it wraps
            continue
        types = get_args(declared[name]) or (declared[name],)
        if float in types:
            types = (*types, int)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            named = " or ".join(kind.__name__.replace("NoneType", "None") for kind in types)
            raise ArchitectureError(
                f"The network {builder.__name__} takes the option {name} as {named}, not {shown(value)}."
            )


def _check_options(builder: Builder, options: dict[str, Any]) -> None:
    arch = getattr(builder, "__name__", "given")
    try:
        parameters = inspect.signature(builder).parameters
    except ValueError:  # written in C
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    taken = [name for name in parameters if name not in _GIVEN]
    unknown = [name for name in options if name not in taken]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], taken, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"{arch} takes {', '.join(taken) or 'no options'}."
    if unknown[0] in _ENCODER and "encoder" not in taken:
        hint = f"{arch} brings its own encoder; `satseg models` names those of the networks that can use another."
    raise ArchitectureError(f"The network {arch} does not take the option {unknown[0]!r}.", hint=hint)
