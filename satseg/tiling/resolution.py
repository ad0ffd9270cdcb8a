"""Advise on the ground resolution of tiles: the coarsest one at which objects keep enough pixels.

A coarser grid shows the network more ground in each window, and takes less time for the same ground. How wide objects
must stay follows Johnson ("Analysis of image forming systems", 1958): observers recognise a thing at four line pairs,
8 px, across its narrow side. A tenth of the objects may be narrower than that; the median has at least twice as many.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from satseg.geo.units import parse_length
from satseg.records import SceneInfo
from satseg.tiling.object_sizes import ObjectSizes
from satseg.tiling.settings import AUTO, LARGEST, TileSettings

log = logging.getLogger("satseg")

_MEDIAN, _NARROW = 16, 8  # px across the median object of a class, and across the one that a tenth are narrower than
_OBJECTS = 20  # fewer say little
_OUTLINE = 2  # px along outlines, where the width is given in metres
_TILES = 16  # in all scenes: four blocks of two by two, which fill three splits without smaller tiles
_ALIKE = 0.1  # relative difference of ground resolutions
_STEPS = 16  # each twice as coarse as the one before


@dataclass(frozen=True)
class Advice:
    """A ground resolution that suits the labels, or why there is none.

    Args:
        gsd: Value of the setting ``gsd``; None keeps the pixels of the scenes.
        why: Reason, as a clause.
        times: How much more ground a tile shows than in the coarsest scene.
    """

    gsd: str | None
    why: str
    times: int = 1

    @property
    def offer(self) -> str:
        """What the resolution would do, as a sentence."""
        if self.times == 1:
            return (
                f"The scenes differ in ground resolution; `gsd='{self.gsd}'` would bring all to that of the coarsest, "
                f"in which {self.why}."
            )
        why = f"{self.why[0].upper()}{self.why[1:]}"
        return f"{why}; `gsd='{self.gsd}'` would show the network {self.times} times the ground per step."

    @property
    def choice(self) -> str:
        """What was chosen, as a sentence."""
        if self.gsd is None:
            return f"Kept the ground resolution of the scenes: {self.why}."
        gain = f"shows the network {self.times} times the ground per step" if self.times > 1 else "suits all scenes"
        return f"Chose `gsd='{self.gsd}'`, which {gain}: {self.why}."


def advise(sizes: ObjectSizes, infos: Sequence[SceneInfo], settings: TileSettings) -> Advice:
    """Return the coarsest resolution that suits: a power of two times that of the coarsest scene, rounded.

    No scene is interpolated to finer pixels. Scenes of different resolutions are at least brought to the coarsest one.

    Args:
        sizes: Sizes of the objects.
        infos: The scenes as they are.
        settings: The settings: 16 tiles of ``size`` must fit, and widths along outlines in metres keep 2 px.
    """
    if not sizes.in_metres:
        return Advice(None, "that of some is unknown")
    if sizes.count < _OBJECTS:
        return Advice(None, f"the labels have fewer than {_OBJECTS} objects to measure")
    sides = [side for info in infos for side in info.gsd or ()]
    coarsest = max(sides)
    most, limit = min(_limits(sizes, infos, settings, coarsest))
    first = 0 if coarsest > min(sides) * (1 + _ALIKE) else 1
    steps = [step for step in range(first, _STEPS) if _resolution(coarsest, step) <= most]
    if not steps:
        return Advice(None, limit)
    name, size = min(sizes.classes.items(), key=lambda entry: entry[1].median)
    why = f"the median {name!r} object ({size.count:,} measured) is {_px(size.median / coarsest)} wide"
    return Advice(f"{_resolution(coarsest, steps[-1]):g}m", why, times=4 ** steps[-1])


def log_advice(advice: Advice, settings: TileSettings) -> None:
    """Log the resolution that was chosen, or would suit; nothing where the user chose one or none would."""
    if settings.gsd == AUTO:
        log.info("%s", advice.choice)
    elif settings.gsd is None and advice.gsd is not None:
        log.info("%s", advice.offer)


def _limits(
    sizes: ObjectSizes, infos: Sequence[SceneInfo], settings: TileSettings, coarsest: float
) -> Iterator[tuple[float, str]]:
    """Yield the coarsest resolutions that objects, outlines and scenes allow, each with what forbids coarser ones."""
    for name, size in sizes.classes.items():
        yield size.median / _MEDIAN, f"the median {name!r} object is {_px(size.median / coarsest)} wide"
        yield size.narrow / _NARROW, f"one {name!r} object in ten is less than {_px(size.narrow / coarsest)} wide"
    for option in ("boundary", "ignore_border"):
        given = getattr(settings, option)
        length = None if given is None else parse_length(given, option)
        if length is not None and length.value and length.unit == "m":
            yield length.value / _OUTLINE, f"{length.given} would be less than {_OUTLINE} px"
    side = settings.size or LARGEST
    shapes = [(info.width * info.gsd[0], info.height * info.gsd[1]) for info in infos if info.gsd is not None]
    yield max(map(min, shapes)) / side, f"they would be less than {side} px wide"
    area = sum(width * height for width, height in shapes)
    yield math.sqrt(area / _TILES) / side, f"they would hold fewer than {_TILES} tiles of {side} px"


def _resolution(coarsest: float, step: int) -> float:
    """Return a resolution in metres to two digits; that of the scene itself to three, so that it is not resampled."""
    return float(f"{coarsest * 2**step:.{2 if step else 3}g}")


def _px(width: float) -> str:
    return f"{width:.0f} px" if width >= 10 else f"{width:.2g} px"
