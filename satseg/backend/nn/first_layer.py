"""First layer of a pretrained encoder: it takes the bands of a tile set, so that its weights see what they expect.

Weights of ImageNet expect red, green and blue as (value / 255 - mean) / std, with their own mean and std; those of
satellite images expect the reflectances of their bands likewise. A network of this package sees (value - mean) / std of
its tile set, of any bands. Both are affine, and so is a convolution: scaled kernels and a shifted norm make the two the
same, to float error, wherever no padding is in sight.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from satseg.backend.nn.key_layouts import flat
from satseg.errors import ArchitectureError
from satseg.records import BandSpec, BandStatistics

log = logging.getLogger("satseg")

_ATTRIBUTE = "pretrained_input"  # of a first layer
_EIGHT_BITS = 255.0
_SENTINEL = ("b01", "blue", "green", "red", "b05", "b06", "b07", "nir", "b8a", "b09", "b10", "b11", "b12")
_CHANNELS = {  # of weights with so many of them; of Sentinel-2, L1C has 13 and L2A 12
    3: ("red", "green", "blue"),
    12: tuple(name for name in _SENTINEL if name != "b10"),
    13: _SENTINEL,
}
_SAME = {"r": "red", "g": "green", "b": "blue", "b02": "blue", "b03": "green", "b04": "red", "b08": "nir"}
_SAME |= {"swir16": "b11", "swir1": "b11", "swir22": "b12", "swir2": "b12"}
_BRIGHTEST = 1.5  # mean reflectance; that of fresh snow is 0.9


@dataclass(frozen=True)
class Origin:
    """Where the weights of an encoder come from, as a model card records it.

    Args:
        source: Package and version, name of a file, or address at a hub.
        trained_on: Data that they were trained on; None if that is not known.
        licence: Licence of the weights; None if that is not known.
    """

    source: str
    trained_on: str | None = None
    licence: str | None = None

    def __str__(self) -> str:
        """Return the source, and what is known of it."""
        known = ", ".join(part for part in (self.trained_on, self.licence) if part)
        return f"{self.source} ({known})" if known else self.source

    def to_dict(self) -> dict[str, str]:
        """Return what is known, as plain values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False)
class PretrainedInput:
    """What pretrained weights expect of their input; the first layer carries it until bands are known.

    Args:
        origin: Where the weights come from.
        channels: Channels of their input.
        mean: Mean of each channel, of 8-bit values divided by 255, or of reflectances where bands are named; empty if
            it is not known.
        std: Standard deviation likewise.
        kernels: (O, channels, h, w), weights of the first convolution as they were trained; None if it cannot be
            adapted.
        bands: Names of the channels, whose values are reflectances; empty for the usual ones of their number.
    """

    origin: Origin
    channels: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    kernels: Tensor | None = None
    bands: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels; empty if they are not known."""
        return self.bands or _CHANNELS.get(self.channels, ())


def take_bands(net: nn.Module, in_channels: int, expected: PretrainedInput) -> None:
    """Let a pretrained encoder take other bands, and note what its weights expect for :func:`match_bands`.

    As long as the names of bands are not known, they take the kernels in order, repeated as needed; a single band takes
    their sum. The response to equal bands stays the same.

    Args:
        net: The encoder, with weights.
        in_channels: Bands of the input.
        expected: What its weights expect, without the kernels, which are those of ``net``.

    Raises:
        ArchitectureError: It cannot take so many bands.
    """
    conv = first_convolution(net, expected.channels)
    if conv is not None:
        kernels = conv.weight.detach()
        conv.in_channels = in_channels
        conv.weight = nn.Parameter(_spread(kernels, _channels([""] * in_channels, expected)))
        setattr(conv, _ATTRIBUTE, replace(expected, kernels=kernels))
    elif in_channels == expected.channels:
        setattr(next(_weighted(net)), _ATTRIBUTE, expected)
    else:
        raise ArchitectureError(
            f"This encoder takes only the {expected.channels} bands of its pretrained weights, not {in_channels}."
        )


def first_convolution(net: nn.Module, channels: int) -> nn.Conv2d | None:
    """Return the one convolution that sees the input; None if that is not clear, or if it normalises its weights.

    Args:
        net: An encoder.
        channels: Channels of its input.
    """
    named = net.named_modules()
    found = {name: part for name, part in named if isinstance(part, nn.Conv2d) and part.in_channels == channels}
    if len(found) > 1:  # squeezed channels may be as many, and some networks have several that see the input
        config: Mapping[str, object] = getattr(net, "pretrained_cfg", {})
        stated = flat(str(config.get("first_conv")))
        found = {name: part for name, part in found.items() if flat(name) == stated}
    part = next(iter(found.values()), None)
    plain = part is not None and part.groups == 1 and "Std" not in type(part).__name__
    return part if plain else None


def hand_on(source: nn.Module, target: nn.Module) -> None:
    """Note at a layer that it took the weights of another one, and with them what they expect."""
    expected = getattr(source, _ATTRIBUTE, None)
    if expected is not None:
        setattr(target, _ATTRIBUTE, expected)


def match_bands(model: nn.Module, bands: BandSpec, statistics: BandStatistics) -> Origin | None:
    """Adapt the first layer of a network's pretrained encoder to the bands that the network will see.

    Bands named red, green and blue (or as Sentinel-2 numbers them) take the kernels of their colour; others take the
    mean of all. 8-bit values that are normalised by these statistics then mean exactly what the weights expect: the
    kernels are scaled, and the bias or the running mean of the next norm is shifted. So do reflectances, as scale and
    offset of the bands make them of the values, if the weights expect these. Other values have no such meaning and are
    taken as they are, with mean 0 and standard deviation 1.

    Args:
        model: A network, just built.
        bands: Its bands.
        statistics: Statistics that normalise them.

    Returns:
        Where the weights of its encoder come from; None without pretrained weights.

    Raises:
        ArchitectureError: The weights are for certain bands, and none of these has the name of one.
    """
    layers = list(_weighted(model))
    for layer, after in zip_longest(layers, layers[1:]):
        expected: PretrainedInput | None = getattr(layer, _ATTRIBUTE, None)
        if expected is not None:
            delattr(layer, _ATTRIBUTE)
            if expected.kernels is not None:
                _match(cast(nn.Conv2d, layer), after, expected, bands, statistics)
            return expected.origin
    return None


def _match(
    conv: nn.Conv2d, after: nn.Module | None, expected: PretrainedInput, bands: BandSpec, statistics: BandStatistics
) -> None:
    assert expected.kernels is not None
    _check_names(bands, expected)
    kernels = expected.kernels.double()  # (O, C, h, w)
    channels = _channels(bands.names, expected)
    constant = _constant_of(conv, after)
    units = _units(expected, bands, statistics) if constant is not None else None
    _report(bands, channels, expected, scaled=units is not None)
    if units is None or constant is None:
        conv.weight.data.copy_(_spread(kernels, channels))
        return
    per_unit = kernels / _per_channel(expected.std)
    of_bands = _spread(per_unit, channels)  # (O, bands, h, w)
    weights = of_bands * _per_channel(units[0])  # for raw values
    centre = _spread(per_unit * _per_channel(expected.mean), channels) - of_bands * _per_channel(units[1])
    values, sign = constant
    values.data.add_(sign * (weights * _per_channel(statistics.mean) - centre).sum(dim=(1, 2, 3)))
    std = [value if value > 0 else 1.0 for value in statistics.std]  # as Normaliser has it
    conv.weight.data.copy_(weights * _per_channel(std))


def _check_names(bands: BandSpec, expected: PretrainedInput) -> None:
    """Refuse bands none of which is one of the bands that weights name: in order, they would be others."""
    if expected.bands and not {_canonical(name) for name in bands.names} & set(map(_canonical, expected.bands)):
        raise ArchitectureError(
            f"The weights in {expected.origin.source} take the bands {', '.join(expected.bands)}, and none of the "
            f"tiles' bands has such a name: {', '.join(bands.names)}.",
            hint="Set the descriptions of the scenes' bands to these names, and cut the tiles again.",
        )


def _units(
    expected: PretrainedInput, bands: BandSpec, statistics: BandStatistics
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return the factor and the offset of each band that give raw values the unit of the weights.

    Returns:
        None if the values have no such unit: they are not of 8 bits, or no reflectances.
    """
    if not expected.mean:
        return None
    if not expected.bands:
        return ([1 / _EIGHT_BITS] * len(bands), [0.0] * len(bands)) if bands.dtype == "uint8" else None
    parts = zip(bands.scales, statistics.mean, bands.offsets, strict=True)
    reflectances = [scale * mean + offset for scale, mean, offset in parts]
    return (bands.scales, bands.offsets) if max(map(abs, reflectances)) <= _BRIGHTEST else None


def _constant_of(conv: nn.Conv2d, after: nn.Module | None) -> tuple[Tensor, int] | None:
    """Return what shifts the output of a convolution, and the sign: its bias, or the running mean of the next norm."""
    if conv.bias is not None:
        return conv.bias, 1
    if isinstance(after, _BatchNorm) and after.running_mean is not None and after.num_features == conv.out_channels:
        return after.running_mean, -1
    return None


def _weighted(model: nn.Module) -> Iterator[nn.Module]:
    """Return the modules with parameters of their own, in order."""
    return (layer for layer in model.modules() if next(layer.parameters(recurse=False), None) is not None)


def _channels(names: Sequence[str], expected: PretrainedInput) -> list[int | None]:
    """Return the channel of pretrained weights whose kernels each band takes; None stands for the mean of all."""
    known = list(map(_canonical, expected.names))
    keys = map(_canonical, names)
    found = [known.index(key) if key in known else None for key in keys]
    if any(channel is not None for channel in found):
        return found
    return [None] if len(names) == 1 else [number % expected.channels for number in range(len(names))]


def _canonical(name: str) -> str:
    """Return the one name of a band that may be called in several ways."""
    key = name.strip().casefold()
    return _SAME.get(key, key)


def _spread(kernels: Tensor, channels: Sequence[int | None]) -> Tensor:
    """Return (O, bands, h, w): the kernels of the channels, whose sum over equal bands is that of all kernels."""
    mean = kernels.mean(dim=1, keepdim=True)
    chosen = [mean if channel is None else kernels[:, channel : channel + 1] for channel in channels]
    return torch.cat(chosen, dim=1) * (kernels.shape[1] / len(channels))


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def _report(bands: BandSpec, channels: Sequence[int | None], expected: PretrainedInput, *, scaled: bool) -> None:
    """Log what the bands are to the weights."""
    known = [name for name, channel in zip(bands.names, channels, strict=True) if channel is not None]
    others = [name for name, channel in zip(bands.names, channels, strict=True) if channel is None]
    parts = [", ".join(known)] if known else []
    parts += [f"{', '.join(others)} with the mean of all kernels"] if others else []
    unit = "reflectances" if expected.bands else "8-bit values"
    seen = f"{unit} as its weights expect them" if scaled else "values with mean 0 and standard deviation 1"
    why = ", since scale and offset of the tiles make no reflectances of their values" if expected.bands else ""
    log.info("The first layer of the encoder takes %s: %s%s.", " and ".join(parts), seen, "" if scaled else why)
