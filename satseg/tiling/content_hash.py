"""Hash the content of scenes, to detect copies of the same scene."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
from rasterio.windows import Window

from satseg.tiling.sources import AnyScene

_WHOLE = 2**20  # px; smaller scenes are hashed as a whole
_PLACES = 3  # samples along each side of larger ones
_SIDE = 64  # px of a sample


def content_hash(scene: AnyScene) -> str | None:
    """Return a hash of the valid pixels of a scene, independent of its file and georeference.

    Large scenes are sampled on a regular grid.

    Returns:
        None where all sampled pixels have one value, which does not identify a scene.

    Raises:
        ReadError: The scene cannot be read there.
    """
    info = scene.info
    digest = hashlib.sha256(f"{info.height} {info.width} {len(info.bands)} {info.bands.dtype}".encode())
    lowest, highest = [], []
    for window in _samples(info.height, info.width):
        values, valid = scene.read(window)
        digest.update(np.where(valid, values, values.dtype.type(0)).tobytes() + valid.tobytes())
        if valid.any():
            lowest.append(values[:, valid].min(axis=1))
            highest.append(values[:, valid].max(axis=1))
    flat = not lowest or bool((np.min(lowest, axis=0) == np.max(highest, axis=0)).all())
    return None if flat else digest.hexdigest()


def _samples(height: int, width: int) -> list[Window]:
    if height * width <= _WHOLE:
        return [Window(0, 0, width, height)]
    rows, columns = (
        [round(at) for at in np.linspace(0, max(length - _SIDE, 0), _PLACES)] for length in (height, width)
    )
    return [Window(left, top, min(_SIDE, width), min(_SIDE, height)) for top, left in product(rows, columns)]
