"""How Deepness maps a scene, written anew from its documentation and from what it was seen to do; it is not its code.

The plugin itself is not on the package index, and needs QGIS. Only what networks for classes need is here: a layer
whose pixels have the resolution of the file, all of it mapped, with the parameters that the file brings.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio


def plugin_classes(network: Path, scene: Path) -> np.ndarray:
    """Return the classes (H, W) that the plugin maps, and check that it opens the file as it is meant."""
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    ((given,), (found,)) = session.get_inputs(), session.get_outputs()
    side = told["tile_size"]
    assert told["model_type"] == "Segmentor"
    assert (given.type, given.shape[2:], found.shape[2:]) == ("tensor(float)", [side, side], [side, side])
    assert list(told["class_names"]) == [str(number) for number in range(found.shape[1])]
    with rasterio.open(scene) as dataset:
        assert [100 * size for size in dataset.res] == [told["resolution"]] * 2
        bands = dataset.read(list(range(1, given.shape[1] + 1)))
    step = side - side * told["tiles_overlap"] // 100
    canvas = _on_canvas(bands, side, step)
    mapped = np.zeros(canvas.shape[1:], dtype=np.int64)
    for rows, kept_rows in _along(canvas.shape[1], side, step):
        for columns, kept_columns in _along(canvas.shape[2], side, step):
            pixels = _prepared(canvas[:, rows, columns], told)
            (probabilities,) = session.run(None, {given.name: pixels[None]})[0]
            sure = np.where(probabilities < told["seg_thresh"], 0, probabilities)
            classes = np.zeros(canvas.shape[1:], dtype=np.int64)
            classes[rows, columns] = sure.argmax(axis=0)
            mapped[kept_rows, kept_columns] = classes[kept_rows, kept_columns]
    height, width = bands.shape[1:]
    return mapped[len(mapped) - height :, :width]


def _on_canvas(bands: np.ndarray, side: int, step: int) -> np.ndarray:
    """Continue an image with zeros upwards and to the right, until tiles fill it."""
    missing = [side - length if length <= side else -(length - side) % step for length in bands.shape[1:]]
    return np.pad(bands, ((0, 0), (missing[0], 0), (0, missing[1])))


def _prepared(tile: np.ndarray, told: dict[str, list[float]]) -> np.ndarray:
    """Divide pixels of any type by 255, and standardise them."""
    scaled = np.float32(tile / 255)
    mean, std = (np.array(told[f"standardization_{name}"], np.float32)[:, None, None] for name in ("mean", "std"))
    return (scaled - mean) / std


def _along(length: int, side: int, step: int) -> list[tuple[slice, slice]]:
    """Return tiles along an axis, and what is kept of each: half of an overlap goes to either neighbour."""
    half = (side - step) // 2
    starts = range(0, length - side + 1, step)
    return [
        (
            slice(start, start + side),
            slice(start + half * (start > 0), start + side - half * (start + side < length)),
        )
        for start in starts
    ]
