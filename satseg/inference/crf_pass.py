"""The second pass of a map: refine the network's probabilities with a dense CRF, from the work rasters of the first."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import torch
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.errors import SceneError
from satseg.inference.crf import BLOCK, CRF, refined_blocks
from satseg.inference.decision import OF_OBJECTS, Decision
from satseg.inference.pipeline import Cell
from satseg.mapfile.work_raster import WorkRaster
from satseg.raster.block_reader import ReadFailure, read_tolerantly
from satseg.raster.scene import Scene
from satseg.records import BandStatistics, MapLayer

_NOT_REFINED = (MapLayer.DISAGREEMENT, *(layer for layers in OF_OBJECTS.values() for layer in layers))


def refined_cells(
    rasters: dict[MapLayer, WorkRaster],
    scene: Scene,
    decision: Decision,
    *,
    statistics: BandStatistics,
    device: torch.device,
    on_failure: ReadFailure | None = None,
) -> Callable[[int], Generator[Cell, None, None]]:
    """Return what gives the cells of the refined map from a number of finished rows on, a multiple of the blocks.

    Args:
        rasters: Work rasters of the first pass: classes and probabilities, and disagreement and layers of objects
            where they are kept.
        scene: The scene; read in the caller's thread.
        decision: How refined probabilities become classes, and which layers are stored.
        statistics: Of the training tiles, in which colours are compared.
        device: Where to compute.
        on_failure: Called for parts that could be read in the first pass and cannot now, which become nodata; None
            raises the error.
    """
    height, width = scene.info.height, scene.info.width
    kept = [layer for layer in _NOT_REFINED if layer in decision.layers]
    shares = replace(decision, layers=decision.layers - set(kept))

    def read(layer: MapLayer, window: Window) -> np.ndarray:
        top, left = int(window.row_off), int(window.col_off)
        return rasters[layer].read(top, top + int(window.height), left, left + int(window.width))

    def read_image(window: Window) -> tuple[np.ndarray, np.ndarray]:
        # What the first pass left out (nodata, another area, damage) is not refined.
        mapped = read(MapLayer.CLASSES, window)[0] != IGNORE_INDEX
        if on_failure is None:
            return scene.read(window)[0], mapped
        failures: list[tuple[Window, SceneError]] = []
        bands, valid = read_tolerantly(scene, window, lambda *failure: failures.append(failure))
        if (mapped & ~valid).any():  # else the first pass has reported it
            for failure in failures:
                on_failure(*failure)
        return bands, mapped & valid

    def cells(finished: int) -> Generator[Cell, None, None]:
        blocks = refined_blocks(
            lambda window: read(MapLayer.PROBABILITIES, window),
            read_image,
            height,
            width,
            crf=CRF(),
            statistics=statistics,
            device=device,
            first_row=finished // BLOCK,
        )
        for block in blocks:
            layers = shares.decide(block)
            rows, columns = block.valid.shape
            layers |= {layer: read(layer, Window(block.left, block.top, columns, rows)) for layer in kept}
            yield Cell(block.top, block.left, layers, block.ends_row)

    return cells
