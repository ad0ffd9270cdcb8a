"""Initial weights of an encoder: from an installed package, from a hub, or from a file in one of several layouts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from satseg.backend.nn.first_layer import Origin, PretrainedInput, first_convolution, take_bands
from satseg.backend.nn.hub import PREFIX, download, hub_access, quiet
from satseg.backend.nn.key_layouts import Renamed, as_timm, flat, unwrap
from satseg.backend.nn.onnx_tensors import read_onnx_tensors
from satseg.backend.weight_packages import PackagedWeights, how_to_install, is_in_package, packaged_weights, weights_at
from satseg.errors import ArchitectureError, one_line

log = logging.getLogger("satseg")

_Values = tuple[float, ...]

_RGB = 3  # channels of usual weights
_IMAGENET: tuple[_Values, _Values] = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # mean and std that weights of torchvision expect
_OTHER_WAYS = "Or pass a file with weights of this encoder as `encoder_weights`, or train without `pretrained`."


def load_weights(
    name: str, make: Callable[..., nn.Module], plain: nn.Module, *, in_channels: int, weights: str | None
) -> nn.Module:
    """Build an encoder with weights, which takes any bands (:mod:`satseg.backend.nn.first_layer`).

    Args:
        name: Name of the encoder in timm.
        make: ``timm.create_model`` with all but the number of bands and what concerns weights.
        plain: The encoder for three bands without weights, on any device.
        in_channels: Bands of the input.
        weights: File with weights, or their address at a hub or in a package. None takes those of an installed package
            if there are any, else downloads those of timm.

    Raises:
        ArchitectureError: The weights cannot be had or read, or are not those of this encoder.
    """
    package = _in_package(name, weights)
    if package is not None:
        expected = _expected_by(package)
        return _made(name, make, _find(name, plain, str(package.path), expected.origin), in_channels, expected)
    if weights is None:
        return _from_timm(name, make, in_channels)
    hub = weights.startswith(PREFIX)
    origin = Origin(weights if hub else Path(weights).name)
    found = _find(name, plain, _downloaded(weights) if hub else weights, origin)
    values = _values_of(name) if found.layout == "timm" else _IMAGENET
    return _made(name, make, found, in_channels, PretrainedInput(origin, _RGB, *values))


def _in_package(name: str, weights: str | None) -> PackagedWeights | None:
    """Return the weights of an encoder in a package: those at an address, or those that there are without one."""
    if weights is None:
        return packaged_weights(name)
    if not is_in_package(weights):
        return None
    package = weights_at(weights)
    if name.partition(".")[0] != package.encoder:
        raise ArchitectureError(
            f"{weights} are weights of {package.encoder}, not of {name}.", hint=f"`encoder={weights!r}`"
        )
    return package


def _expected_by(package: PackagedWeights) -> PretrainedInput:
    """Return what the weights of a package expect of their input."""
    origin = Origin(package.source, package.trained_on, package.licence)
    if not package.bands:
        return PretrainedInput(origin, _RGB, *_values_of(package.encoder))
    return PretrainedInput(origin, len(package.bands), package.mean, package.std, bands=package.bands)


def _from_timm(name: str, make: Callable[..., nn.Module], in_channels: int) -> nn.Module:
    log.info("Downloading the weights of the encoder %s, unless they are in the cache", name)
    try:
        with hub_access():
            net = make(in_chans=_RGB, pretrained=True)
    except OSError as error:
        raise ArchitectureError(
            f"The weights of the encoder {name} cannot be loaded: {one_line(error)}.",
            hint=f"{how_to_install(name)} {_OTHER_WAYS}",
        ) from error
    except RuntimeError as error:
        raise ArchitectureError(f"The weights of the encoder {name} cannot be used: {_first_lines(error)}.") from error
    config = _config(name)
    origin = Origin(config.hf_hub_id or config.url or f"timm {name}", licence=config.license)
    take_bands(net, in_channels, PretrainedInput(origin, _RGB, *_values_of(name)))
    return net


def _downloaded(address: str) -> str:
    log.info("Downloading %s, unless it is in the cache", address)
    try:
        return download(address)
    except OSError as error:
        raise ArchitectureError(
            f"{address} cannot be downloaded: {one_line(error)}.",
            hint="Download the file elsewhere, and pass its name as `encoder_weights`.",
        ) from error


def _find(name: str, plain: nn.Module, path: str, origin: Origin) -> Renamed:
    """Read a file of weights, and find those of the encoder in it."""
    found = as_timm(_read(path), _whole(name).state_dict())
    held = {flat(key) for key in found.tensors}
    own = [key for key in plain.state_dict() if "num_batches" not in key]
    lacking = [key for key in own if flat(key) not in held]
    # timm loads what matches, so that a file of another network would go unnoticed.
    if lacking:
        raise ArchitectureError(
            f"{path} does not contain the weights of {name}: it lacks {lacking[0]}.",
            hint="Its tensors need the names of timm, torchvision, segmentation-models-pytorch or torchgeo.",
        )
    taken = len(held & {flat(key) for key in plain.state_dict()})
    log.info("%d of %d tensors (%s layout) taken from %s", taken, found.total, found.layout, origin)
    return found


def _made(
    name: str,
    make: Callable[..., nn.Module],
    found: Renamed,
    in_channels: int,
    expected: PretrainedInput,
) -> nn.Module:
    """Build the encoder with the tensors that were found, which may be for other channels than usual ones."""
    whole = _whole(name)
    first = first_convolution(whole, _RGB)
    kernels = next((found.tensors.get(f"{key}.weight") for key, part in whole.named_modules() if part is first), None)
    channels = expected.channels if kernels is None else kernels.shape[1]
    if expected.bands and channels != expected.channels:
        raise ArchitectureError(
            f"The weights in {expected.origin.source} take {channels} bands, but name {expected.channels}."
        )
    overlay = {"state_dict": found.tensors, "input_size": (channels, *_config(name).input_size[1:])}
    try:
        with quiet("timm"):
            net = make(in_chans=channels, pretrained=True, pretrained_cfg_overlay=overlay)
    except RuntimeError as error:
        raise ArchitectureError(
            f"The weights in {expected.origin.source} cannot be used: {_first_lines(error)}."
        ) from error
    known = expected if channels == expected.channels else PretrainedInput(expected.origin, channels)
    take_bands(net, in_channels, known)
    return net


def _values_of(name: str) -> tuple[_Values, _Values]:
    """Return the mean and the standard deviation of the input that timm states for an encoder."""
    config = _config(name)
    return tuple(config.mean), tuple(config.std)


def _read(path: str) -> dict[str, Tensor]:
    """Read the tensors of a file; pickled code in it does not run."""
    import torch
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ArchitectureError(f"The file {path} does not exist.")
    try:
        read = {".safetensors": load_file, ".onnx": read_onnx_tensors}.get(Path(path).suffix)
        state = unwrap(read(path) if read else torch.load(path, map_location="cpu", weights_only=True))
        finite = {key: bool(tensor.float().isfinite().all()) for key, tensor in state.items()}
    except Exception as error:  # readers of pickles, archives and tensors raise all kinds
        raise ArchitectureError(
            f"{path} contains no readable weights.", hint="Use .safetensors, or .pth that contains only tensors."
        ) from error
    if not all(finite.values()):
        wrong = next(key for key, fine in finite.items() if not fine)
        raise ArchitectureError(f"The weights in {path} are not finite: {wrong} contains NaN or infinite values.")
    odd = [key for key, tensor in state.items() if not tensor.is_floating_point() and "num_batches" not in key]
    if odd:
        raise ArchitectureError(
            f"The weights in {path} are not floating-point numbers: {odd[0]} is {state[odd[0]].dtype}."
        )
    return state


def _whole(name: str) -> nn.Module:
    """Return the network that an encoder is part of, without memory for its tensors."""
    import timm
    import torch

    with torch.device("meta"):
        net: nn.Module = timm.create_model(name, in_chans=3)
    return net


def _config(name: str) -> Any:
    import timm

    return timm.get_pretrained_cfg(name)


def _first_lines(error: RuntimeError) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:2]).rstrip(".")  # of one line per tensor
