"""Fit a scene and a network to each other: bands, values and pixel size as in training."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from satseg.arguments import STEM
from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError, ReadError, SceneError
from satseg.inference.domain_shift import describe_domain_shift
from satseg.inference.network import GSD_TOLERANCE, Network
from satseg.inference.views import COARSEST, FINEST
from satseg.raster.scales import Conversion
from satseg.raster.scene import Scene
from satseg.raster.selection import is_generic, select_bands
from satseg.raster.source import SceneSource
from satseg.raster.voids import describe_undeclared_void
from satseg.records import BandSpec, SceneInfo

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class FittedScene:
    """A scene with the bands that a network was trained on.

    Args:
        source: Opens the scene with these bands.
        info: Its grid and bands.
        remote: Whether a part of it is read over the network.
    """

    source: SceneSource
    info: SceneInfo
    remote: bool


def fit_scene(source: SceneSource, checkpoint: Checkpoint | None) -> FittedScene:
    """Open a scene once, choose its bands, and warn where it looks unlike the training scenes.

    Args:
        source: The scene; bands that it names are taken as they are.
        checkpoint: What the network was trained on; None takes the scene as it is.

    Raises:
        SceneError: The scene cannot be opened.
        CheckpointError: It does not hold what the network was trained on.
    """
    with source.open() as scene:
        if checkpoint is None:
            return FittedScene(source, scene.info, scene.remote)
        chosen, theirs = source.bands is not None, scene.info.bands
        _check_extra(theirs, checkpoint, source.name, chosen=chosen)
        wanted = checkpoint.card.bands.first(len(checkpoint.card.bands) - theirs.extra)
        bands = None if chosen else select_bands(theirs.own, wanted.names)
        if bands is not None:
            log.info("Taking the bands %s of %s.", ", ".join(bands), source.name)
            source, scene = replace(source, bands=bands), scene.select(bands)
        for remark in scene.remarks:
            log.info("%s.", remark)
        if scene.info.doubt:
            log.warning("%s %s.", source.name, scene.info.doubt)
        checkpoint.check_fits(scene.info.bands, source.name, by_name=not chosen, converted=True)
        _warn_of_domain_shift(scene, checkpoint, source.name)
        # Of a remote scene, each corner would be fetched twice.
        if not scene.remote and (void := describe_undeclared_void(scene)):
            log.warning("%s %s", source.name, void)
        return FittedScene(source, scene.info, scene.remote)


def _check_extra(theirs: BandSpec, checkpoint: Checkpoint, name: str, *, chosen: bool) -> None:
    """Refuse a scene without the extra rasters that a network was trained with, or with others.

    Args:
        theirs: Bands of the scene and of its extra rasters.
        checkpoint: What the network was trained on; older ones do not say which of its bands were extra.
        name: Path of the scene.
        chosen: Whether the user chose the bands of the scene, any of which may be what an extra raster was.

    Raises:
        CheckpointError: They are missing, more or fewer, or in another order.
    """
    ours = checkpoint.card.bands
    names, given = ours.extra_names, theirs.extra_names
    if names and not given:
        there = [band.casefold() for band in theirs.names]
        in_scene = chosen or all(map(is_generic, theirs.names)) or all(band.casefold() in there for band in names)
        if in_scene and len(theirs) >= len(ours):
            return
        raise CheckpointError(
            f"{checkpoint.path} was trained with the extra {_bands(names)}, which {name} does not have.",
            hint=f"Name the raster: `extra='{names[0]}.tif'`, or `extra='{names[0]}/{STEM}.tif'` for one per scene",
        )
    if given and (len(given) != len(names or given) or len(given) >= len(ours)):
        was = f"the extra {_bands(names)}" if names else f"{len(ours)} bands in all"
        raise CheckpointError(
            f"{name} is given the extra {_bands(given)}, but {checkpoint.path} was trained with {was}.",
            hint="Name the rasters of the training with `extra`." if names else "Leave out `extra`.",
        )
    if given != names and sorted(map(str.casefold, given)) == sorted(map(str.casefold, names)):
        raise CheckpointError(
            f"{name} is given the extra {_bands(given)}, but {checkpoint.path} was trained with the extra "
            f"{_bands(names)}.",
            hint="Name the rasters of `extra` in that order.",
        )


def _bands(names: Sequence[str]) -> str:
    return f"band {names[0]!r}" if len(names) == 1 else f"bands {', '.join(names)}"


def _warn_of_domain_shift(scene: Scene, checkpoint: Checkpoint, name: str) -> None:
    card = checkpoint.card
    conversion = Conversion.between(scene.info.bands, card.bands)
    statistics = conversion.statistics(card.statistics) if conversion else card.statistics
    try:
        phrases = describe_domain_shift(scene, statistics)
    except ReadError:  # raised again when the scene is mapped, or turned into nodata
        return
    if phrases:
        log.warning("%s looks unlike the training scenes: %s.", name, "; ".join(phrases))


def fit_network(network: Network, info: SceneInfo, checkpoint: Checkpoint | None, *, resample: bool = True) -> Network:
    """Return the network, converting the values of a scene, and resampling it, to those it was trained on.

    Args:
        network: The network as it was trained.
        info: The scene.
        checkpoint: What the network was trained on; None takes the scene as it is.
        resample: Whether scenes with larger or smaller pixels than in training are resampled.

    Raises:
        SceneError: The pixel sizes differ too much to resample.
    """
    if checkpoint is None:
        return network
    conversion = Conversion.between(info.bands, checkpoint.card.bands)
    if conversion is not None and not conversion.changes_nothing:
        log.info("%s has another scale or offset than the training scenes: its values are converted.", info.path)
        network = network.converted(conversion)
    gsd = checkpoint.card.gsd
    return network if gsd is None or not resample else _resampled(network, info, gsd)


def _resampled(network: Network, info: SceneInfo, gsd: Sequence[float]) -> Network:
    """Return the network, resampling the scene where its pixels differ from those of the training by over 10 %."""
    if info.gsd is None:
        if info.doubt is None:  # otherwise the warning about its CRS covers this
            log.warning(
                "%s does not state the size of its pixels; the map is right only if they are about as large as "
                "in training, %.3g m.",
                info.path,
                gsd[0],
            )
        return network
    columns, rows = (here / trained for here, trained in zip(info.gsd, gsd, strict=True))
    if max(abs(math.log(rows)), abs(math.log(columns))) <= math.log(GSD_TOLERANCE):
        return network
    for here, trained in zip(info.gsd, gsd, strict=True):
        if not COARSEST <= here / trained <= FINEST:
            raise SceneError(
                f"{info.path} has {here:.3g} m per pixel and the network was trained at {trained:.3g} m: "
                f"too far apart to resample the scene, which goes up to a factor of {FINEST:g}.",
                hint="Choose a scene of more similar pixels, or do not resample it: `gsd='scene'`.",
            )
    log.info(
        "%s has %.3g m per pixel and the network was trained at %.3g m: the scene is resampled to that.",
        info.path,
        info.gsd[0],
        gsd[0],
    )
    return network.resampled(rows, columns)
