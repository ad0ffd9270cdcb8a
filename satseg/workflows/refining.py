"""The second pass of a map: refine what the network said by a dense CRF, from the work rasters of the first."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import torch
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.inference.crf import BLOCK, CRF, refined_blocks
from satseg.inference.decision import Decision
from satseg.inference.pipeline import Cell
from satseg.raster.rawrows import RawRows
from satseg.raster.scene import Scene
from satseg.records import BandStatistics, MapLayer


def refined_cells(
    rasters: dict[MapLayer, RawRows],
    scene: Scene,
    decision: Decision,
    *,
    statistics: BandStatistics,
    device: torch.device,
) -> Callable[[int], Generator[Cell, None, None]]:
    """Return what gives the cells of the refined map from a number of finished rows on, a multiple of the blocks.

    Args:
        rasters: Work rasters of the first pass: classes and probabilities, and disagreement where that is kept.
        scene: The scene; read in the caller's thread.
        decision: How refined probabilities become classes, and what is kept.
        statistics: Of the training tiles, in which colours are compared.
        device: Where to compute.
    """
    height, width = scene.info.height, scene.info.width
    shares = replace(decision, layers=decision.layers - {MapLayer.DISAGREEMENT})

    def read(layer: MapLayer, window: Window) -> np.ndarray:
        top, left = int(window.row_off), int(window.col_off)
        return rasters[layer].read(top, top + int(window.height), left, left + int(window.width))

    def read_image(window: Window) -> tuple[np.ndarray, np.ndarray]:
        # What the first pass left out (nodata, another area, damage) is not looked at.
        return scene.read(window)[0], read(MapLayer.CLASSES, window)[0] != IGNORE_INDEX

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
            if MapLayer.DISAGREEMENT in decision.layers:
                rows, columns = block.valid.shape
                layers[MapLayer.DISAGREEMENT] = read(
                    MapLayer.DISAGREEMENT, Window(block.left, block.top, columns, rows)
                )
            yield Cell(block.top, block.left, layers, block.ends_row)

    return cells
