"""ONNX files for Deepness, a plugin of QGIS: what it reads of them, and how it changes the pixels that it gives them.

The plugin (https://github.com/PUTvision/qgis-plugin-deepness, 0.6.3 and newer) takes metadata as JSON, and files of
one input (N, C, S, S) in float32, whose S has to be a number. It divides pixels of any dtype by 255, subtracts a mean
and divides by a standard deviation. Here these undo the division, up to rounding, which the file undoes.
"""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from torch import Tensor, nn

from satseg.checkpoint import ModelCard
from satseg.errors import UsageError

DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""What the plugin reads."""
OVERLAP = 25
"""Percent of a tile, half of it dropped along each side. Tiles of 512 px are 384 apart: a multiple of most strides."""

_TILE = 512
_DIVISOR = 255
_DIGITS = 3  # of the resolution: pixels of 0.3 m are 0.29989 m on the ground, and the plugin measures on the map
_ROUNDING = 2**-20  # relative; the plugin rounds three times


def require_fit(card: ModelCard) -> None:
    """Check that the plugin can run a network.

    Raises:
        UsageError: It cannot.
    """
    if card.bands.dtype not in DTYPES:
        raise UsageError(
            f"The network was trained on {card.bands.dtype}, which Deepness does not read.",
            hint="Train it on scenes of another dtype, or export without `deepness`.",
        )
    if card.gsd is None:
        raise UsageError(
            "The network was trained on scenes without a CRS, so that Deepness cannot be told its resolution.",
            hint="Train it on georeferenced scenes, or export without `deepness`.",
        )


def tile_side(card: ModelCard, window: int | None, *, global_context: bool) -> int:
    """Return the side of the tiles that the plugin is to cut, in pixels: that of the windows of ``predict``.

    Args:
        card: What the network was trained on.
        window: The single size that it takes, or None.
        global_context: Whether its output depends on the size of the image.
    """
    return window or (card.tile_size if global_context else _TILE)


def plugin_metadata(card: ModelCard, side: int) -> dict[str, str]:
    """Return what the plugin reads of a file, as JSON by its own keys.

    A threshold of 0 leaves the most probable class as it is; any other would turn unsure pixels into the first class.

    Args:
        card: What the network was trained on; its pixel sizes are known.
        side: Side of a tile in pixels.
    """
    channels = len(card.bands)
    values = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate(card.classes.names)},
        "resolution": _resolution(card),
        "tile_size": side,  # as the plugin reads it
        "tiles_size": side,  # as it documents it
        "tiles_overlap": OVERLAP,
        "standardization_mean": [0.0] * channels,
        "standardization_std": [1 / _DIVISOR] * channels,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _resolution(card: ModelCard) -> float:
    """Return centimetres per pixel."""
    assert card.gsd is not None
    return float(f"{100 * math.sqrt(card.gsd[0] * card.gsd[1]):.{_DIGITS}g}")


def as_fed(images: np.ndarray) -> np.ndarray:
    """Return raw pixels as the plugin gives them to a file: float32, and slightly off."""
    divided = (images / _DIVISOR).astype(np.float32)
    fed: np.ndarray = divided / np.float32(1 / _DIVISOR)
    return fed


class Restored(nn.Module):
    """Undo what the plugin has done to raw pixels.

    Args:
        dtype: Name of their dtype in the scene.
        nodata: Value that stands for missing data in them, or None.
    """

    def __init__(self, dtype: str, nodata: float | None) -> None:
        super().__init__()
        self.whole = np.dtype(dtype).kind in "iu"
        self.nodata = nodata

    def forward(self, pixels: Tensor) -> Tensor:
        """Return raw pixels: integers exactly, up to four million; others as close as float32 is, nodata exactly.

        Args:
            pixels: (N, C, H, W) float32.
        """
        if self.whole:
            return pixels.round()
        if self.nodata is None:
            return pixels
        near = (pixels - self.nodata).abs() <= _ROUNDING * abs(self.nodata)
        return torch.where(near, self.nodata, pixels)
