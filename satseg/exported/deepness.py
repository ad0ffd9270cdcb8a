"""Metadata of networks for the QGIS plugin Deepness, which other programs write, too.

The plugin documents them under "Add metadata to the model": each value is JSON. It takes images of 8 bits, divides them
by 255, and standardises them; networks give planes of the same size, one for each class, or one for a single class.
Names of classes may also be a Python literal, and stand under ``names``.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from satseg.checkpoint import ModelCard
from satseg.classes import BACKGROUND, ClassTable
from satseg.errors import CheckpointError
from satseg.exported.graph import Graph
from satseg.fields import shown
from satseg.records import BandSpec, BandStatistics

ARCH = "onnx"
"""What stands for the architecture of foreign files."""

_FULL = 255.0  # of 8 bits
_SEGMENTOR = "segmentor"
_NAMES = ("class_names", "names")
_SIZES = ("tile_size", "tiles_size")
_MARKS = ("model_type", "class_names", "standardization_mean", "resolution", *_SIZES)
_WINDOW = 512
_LARGEST = 4096
_BATCHED = 4  # axes: images, bands, rows, columns


def is_for_deepness(graph: Graph) -> bool:
    """Tell whether a file has any of the plugin's metadata."""
    return any(name in graph.metadata for name in _MARKS)


def card_of(graph: Graph) -> ModelCard:
    """Return what the metadata say as a card: bands without names of 8 bits, classes, pixel size, size of tiles.

    Raises:
        CheckpointError: The network makes no maps of classes, or its metadata are invalid or contradict its graph.
    """
    kind = _value(graph, "model_type", "Segmentor")
    if str(kind).lower() != _SEGMENTOR:
        raise CheckpointError(f"Its metadata say that it is a {shown(kind)}; maps are made by a Segmentor.")
    if len(graph.input.shape) != _BATCHED or graph.input.dtype != "float32":
        raise CheckpointError(
            f"It takes {graph.input.dtype} with {len(graph.input.shape)} axes, not float32 images (N, C, H, W)."
        )
    bands = _bands(graph)
    mean, std = (_numbers(graph, f"standardization_{part}", bands) for part in ("mean", "std"))
    if mean is None or std is None:
        mean, std = (0.0,) * bands, (1.0,) * bands
    if not all(value > 0 for value in std):
        raise CheckpointError(f"Its standardization_std is {shown(list(std))}, not above 0.")
    resolution = _number(graph, "resolution")  # cm
    return ModelCard(
        arch=ARCH,
        classes=ClassTable.from_names(_class_names(graph)),
        bands=BandSpec(tuple(f"band_{i + 1}" for i in range(bands)), "uint8", (1.0,) * bands, (0.0,) * bands),
        statistics=BandStatistics(
            1, tuple(_FULL * m for m in mean), tuple(_FULL * s for s in std), (0.0,) * bands, (_FULL,) * bands
        ),
        gsd=None if resolution is None else (resolution / 100, resolution / 100),
        tile_size=window_of(graph),
    )


def window_of(graph: Graph) -> int:
    """Return the side of the images that it takes: that of its graph, else that of its metadata.

    Raises:
        CheckpointError: They are not square, or the size makes no sense.
    """
    rows, columns = graph.input.shape[2:]
    if rows != columns:
        raise CheckpointError(f"It takes images of {rows} x {columns} px; only square ones are supported.")
    told = next((name for name in _SIZES if name in graph.metadata), None)
    side = rows or (_number(graph, told) if told else None) or _WINDOW
    if side != int(side) or not 32 <= side <= _LARGEST:
        raise CheckpointError(f"It takes images of {side:g} px a side; sizes range from 32 to {_LARGEST}.")
    return int(side)


def _bands(graph: Graph) -> int:
    """Return the number of bands."""
    bands = graph.input.shape[1]
    if bands is not None:
        return bands
    told = _value(graph, "standardization_mean", None)
    if isinstance(told, list) and told:
        return len(told)
    raise CheckpointError("Neither its graph nor its metadata (standardization_mean) say how many bands it takes.")


def _class_names(graph: Graph) -> list[str]:
    """Return a name for each class; a single plane stands for the second of two."""
    shape = graph.output.shape
    single = len(shape) < _BATCHED or shape[1] == 1
    planes = None if graph.output.dtype.startswith(("int", "uint")) else 2 if single else shape[1]
    names = _told_names(graph)
    if names is None:
        if planes is None:
            raise CheckpointError("Neither its graph nor its metadata (class_names) say how many classes it gives.")
        return [BACKGROUND, "class_1"] if single else [f"class_{i}" for i in range(planes)]
    if planes == 2 and len(names) == 1 and single:
        names = [BACKGROUND, *names]
    if planes is not None and len(names) != planes:
        raise CheckpointError(f"Its metadata name {len(names)} classes, but its graph gives {planes}.")
    return names


def _told_names(graph: Graph) -> list[str] | None:
    key = next((name for name in _NAMES if name in graph.metadata), None)
    if key is None:
        return None
    found = _parsed(graph, key)
    if isinstance(found, list) and len(found) == 1:  # one dictionary for each output
        found = found[0]
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"Its {key} are {shown(found)}, not names by the number of each class.")
    try:
        names = {int(number): str(name) for number, name in found.items()}
    except ValueError:
        raise CheckpointError(f"Its {key} are {shown(found)}, not names by the number of each class.") from None
    if sorted(names) != list(range(len(names))):
        raise CheckpointError(f"Its {key} number the classes {sorted(names)}, not from 0 on without gaps.")
    return [names[number] for number in range(len(names))]


def _numbers(graph: Graph, key: str, bands: int) -> tuple[float, ...] | None:
    found = _value(graph, key, None)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != bands or not all(_is_number(value) for value in found):
        raise CheckpointError(f"Its {key} is {shown(found)}, not one number for each of {bands} bands.")
    return tuple(map(float, found))


def _number(graph: Graph, key: str) -> float | None:
    found = _value(graph, key, None)
    if found is not None and not (_is_number(found) and float(found) > 0):
        raise CheckpointError(f"Its {key} is {shown(found)}, not a number above 0.")
    return None if found is None else float(found)


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError):
        return False


def _value(graph: Graph, key: str, default: Any) -> Any:
    return _parsed(graph, key) if key in graph.metadata else default


def _parsed(graph: Graph, key: str) -> Any:
    """Return a value from JSON, or from a Python literal, or as it stands."""
    text = graph.metadata[key]
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text
