"""Scenes or maps, each with labels of its own, that are scored together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from pyproj.exceptions import ProjError

from satseg.arguments import Paths
from satseg.errors import LabelError, SatsegError, UsageError, printable
from satseg.files.names import open_raster
from satseg.geo.crs import full_turn, is_geographic, point_transform
from satseg.geo.grid import Grid
from satseg.labels.label_source import LabelSource
from satseg.labels.labels import Labels
from satseg.labels.raster_labels import RasterLabels
from satseg.records import Progress, ProgressEvent, SceneInfo
from satseg.tiling.pairs import find_pairs
from satseg.tiling.scene_table import LabelledScene

log = logging.getLogger("satseg")

_EDGE = np.linspace(0, 1, 17)


def pairs_to_score(given: Paths, split: str) -> list[LabelledScene]:
    """Return scenes with their labels; of a table with splits, those of one split.

    Raises:
        UsageError: No scene is found, or none is in the split.
    """
    found = find_pairs(given)  # type: ignore[arg-type]  # brought to text by the caller
    if all(pair.split is None for pair in found):
        return found
    chosen = [pair for pair in found if pair.split == split]
    splits = sorted({str(pair.split) for pair in found})
    if not chosen:
        raise UsageError(f"No scene is in the split {split}; there are {', '.join(splits)}.", hint="Choose a `split`.")
    log.info("Scoring %d of %d scenes: those in the split %s.", len(chosen), len(found), split)
    return chosen


def labels_of(pairs: Sequence[LabelledScene]) -> dict[str, tuple[str, ...]]:
    """Return the labels of each scene by its name."""
    return {printable(pair.scene): pair.labels for pair in pairs}


def refuse_apart(source: LabelSource, infos: Sequence[SceneInfo]) -> None:
    """Refuse pairs whose labels do not overlap their scene, before any scene is scored.

    Raises:
        LabelError: Some pairs are wrong or swapped.
    """
    wrong: list[SatsegError] = []
    for info in infos:
        try:
            with closing(on_scene(source, info)):
                pass
        except LabelError as error:
            wrong.append(error)
    if wrong:
        more = f" The same is true for {len(wrong) - 1:,} more of {len(infos):,} pairs." if len(wrong) > 1 else ""
        raise LabelError(
            f"{wrong[0].message}{more}", hint=wrong[0].hint or "Check that each scene is paired with its own labels."
        )


def on_scene(source: LabelSource, info: SceneInfo) -> Labels:
    """Bring labels onto a scene.

    Raises:
        LabelError: None of them touches it, be they features or class rasters.
    """
    layers = source.layers_of(info)
    if layers and all(isinstance(layer, RasterLabels) and _is_apart(layer.path, info) for layer in layers):
        paths = ", ".join(layer.path for layer in layers)
        raise LabelError(
            f"No label of {paths} touches the scene {info.path}.",
            hint="Check that both cover the same ground and that their CRSs are right.",
        )
    return source.on(info)


def together(progress: Progress, infos: Sequence[SceneInfo]) -> Callable[[int], Progress]:
    """Return a function that makes the callback of each scene, by its number; it reports the progress of all scenes."""
    ends = np.cumsum([info.pixels for info in infos]).tolist()

    def of_scene(number: int) -> Progress:
        before = ends[number] - infos[number].pixels

        def report(event: ProgressEvent) -> None:
            if event.unit == "px" and event.total:
                share = event.done / event.total  # of pixels or of windows
                event = replace(event, done=before + share * infos[number].pixels, total=ends[-1])
            progress(event)

        return report

    return of_scene


def _is_apart(path: str, scene: SceneInfo) -> bool:
    """Return whether a raster does not overlap a scene; False if unknown."""
    with open_raster(path) as dataset:
        grid, target = Grid.of(dataset), Grid.of_scene(scene)
    if grid.crs is None or target.crs is None:
        return False
    try:
        transform = point_transform(grid.crs, target.crs)
    except ProjError:
        return False
    x, y = transform(*_outline(grid))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return False
    left, right, bottom, top = x.min(), x.max(), y.min(), y.max()
    there_x, there_y = _outline(target)
    turns = (0.0, full_turn(target.crs), -full_turn(target.crs)) if is_geographic(target.crs) else (0.0,)
    beside = all((left + turn >= there_x.max()) | (right + turn <= there_x.min()) for turn in turns)
    return bool(beside or bottom >= there_y.max() or top <= there_y.min())


def _outline(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of points along the edges of a grid."""
    columns = np.concatenate([_EDGE, _EDGE, 0 * _EDGE, 0 * _EDGE + 1]) * grid.width
    rows = np.concatenate([0 * _EDGE, 0 * _EDGE + 1, _EDGE, _EDGE]) * grid.height
    x, y = grid.transform * (columns, rows)
    return np.asarray(x), np.asarray(y)
