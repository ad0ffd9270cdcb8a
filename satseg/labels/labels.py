"""Labels on the grid of one scene: polygons and class rasters, laid over each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.labels.object_widths import Widths
from satseg.labels.outlines import UNKNOWN, between_objects, near_outline
from satseg.labels.vector_labels import VectorLabels
from satseg.records import SceneInfo

BOUNDARY = "boundary"

PixelLength = Callable[[SceneInfo], float]
"""A length in pixels of a scene."""

CELL = 512
_CELLS = 256  # cached cells: 64 MiB, a scene of 8192 x 8192 px
_CACHED_BYTES = 512 * 2**20


class SceneLayer(Protocol):
    """Labels of one source on the grid of one scene."""

    def touch(self) -> bool:
        """Tell whether the source may have labels for the scene."""
        ...

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return object numbers (row, col) int32, 0 for none, and the uint8 class id of each number."""
        ...

    def widths(self, ids: np.ndarray, unit: tuple[float, float], scenes: int) -> Iterator[Widths]:
        """Measure the objects of a sample that several scenes share, with pixels of a given length along x and y."""
        ...

    def close(self) -> None:
        """Close open files."""
        ...


@dataclass(frozen=True)
class Refinements:
    """Changes made to labels after they are laid over each other.

    Args:
        labelled_area: Polygons outside of which pixels are unlabelled; None if labels are complete everywhere.
        ignore_border: Distance from outlines within which pixels are ignored.
        boundary: Distance within which pixels of an object from its outline, and pixels between two objects from both,
            become the class ``boundary``.
        unknown_outside: Whether pixels outside all polygons are unlabelled; else they are background.
    """

    labelled_area: VectorLabels | None = None
    ignore_border: PixelLength | None = None
    boundary: PixelLength | None = None
    unknown_outside: bool = False


class Labels:
    """Labels on the grid of one scene. Use it as a context manager; not to be shared between threads.

    They are computed in cells, which are cached since tiles overlap; the result does not depend on the windows read.

    Args:
        layers: Sources, each with the uint8 class ids of its names; later ones lie on top of earlier ones.
        scene: The scene.
        classes: Classes of the labels.
        refinements: Changes made to them.
        cells: Cache of cells that scenes share.
        elsewhere: Class id of pixels that no layer covers.
        polygons: Whether all layers are polygons.
    """

    def __init__(
        self,
        layers: Sequence[tuple[SceneLayer, np.ndarray]],
        scene: SceneInfo,
        *,
        classes: ClassTable,
        refinements: Refinements,
        cells: OrderedDict[Hashable, np.ndarray],
        elsewhere: int,
        polygons: bool,
    ) -> None:
        self._layers = layers
        self._elsewhere = elsewhere
        self._polygons = polygons
        self._scene = scene
        self._classes = classes
        self._cells = cells
        self._border = refinements.ignore_border(scene) if refinements.ignore_border else 0.0
        self._boundary = refinements.boundary(scene) if refinements.boundary else 0.0
        area = refinements.labelled_area
        self._area = None if area is None else area.on(scene)
        self._area_names = [] if area is None else area.names
        self._grid = (scene.path, scene.transform, scene.width, scene.height)
        across = -(-scene.width // CELL)
        self._kept = min(max(_CELLS, 2 * across + 2), _CACHED_BYTES // CELL**2)

    def touch(self) -> bool:
        """Tell whether there may be labels for the scene."""
        known = any(layer.touch() for layer, _ in self._layers)
        return known if self._area is None else self._area.touch()

    def read(self, window: Window) -> np.ndarray:
        """Return (row, col) uint8 class ids of a window inside the scene, 255 if unlabelled."""
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        classes = np.empty((bottom - top, right - left), dtype=np.uint8)
        for row in range(top // CELL, -(-bottom // CELL)):
            for column in range(left // CELL, -(-right // CELL)):
                cell_top, cell_left = row * CELL, column * CELL
                rows = slice(max(top, cell_top), min(bottom, cell_top + CELL))
                columns = slice(max(left, cell_left), min(right, cell_left + CELL))
                classes[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = self._cell(
                    row, column
                )[rows.start - cell_top : rows.stop - cell_top, columns.start - cell_left : columns.stop - cell_left]
        return classes

    def implied(self, window: Window, classes: np.ndarray) -> np.ndarray:
        """Tell which pixels are background only because no polygon covers them.

        Args:
            window: Window inside the scene.
            classes: (row, col) uint8 class ids, as :meth:`read` returns them for it.

        Returns:
            (row, col) bool; all False if there are class rasters or a labelled area.
        """
        elsewhere = self._elsewhere
        if elsewhere == IGNORE_INDEX or self._area is not None:
            return np.zeros(classes.shape, dtype=bool)
        implied: np.ndarray = classes == elsewhere
        if implied.any() and any((ids == elsewhere).any() for _, ids in self._layers):  # some polygons are background
            objects, _ = self._lay(window)
            implied &= objects == 0
        return implied

    def widths(self, unit: tuple[float, float], scenes: int, background: int | None) -> Iterator[Widths]:
        """Measure the objects of all sources: all of them, or a sample whose size is bounded.

        Args:
            unit: Length of a pixel along x and y.
            scenes: Number of scenes that share the sample.
            background: Class that has no objects, or None.

        Yields:
            uint8 class ids and widths in that unit, (N,) each.

        Raises:
            LabelError: The labels cannot be read.
        """
        for layer, ids in self._layers:
            things = np.where(ids == background, IGNORE_INDEX, ids).astype(np.uint8)
            for classes, widths in layer.widths(things, unit, scenes):
                kept = classes != IGNORE_INDEX
                yield classes[kept], widths[kept]

    def close(self) -> None:
        """Close open files."""
        for layer, _ in self._layers:
            layer.close()

    def __enter__(self) -> Labels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cell(self, row: int, column: int) -> np.ndarray:
        cells, key = self._cells, (self._grid, row, column)
        kept = cells.get(key)
        if kept is not None:
            cells.move_to_end(key)
            return kept
        while len(cells) >= self._kept:
            cells.popitem(last=False)
        made = cells[key] = self._make_cell(row * CELL, column * CELL)
        return made

    def _make_cell(self, top: int, left: int) -> np.ndarray:
        margin = int(np.ceil(max(self._border, self._boundary)))
        height, width = min(CELL, self._scene.height - top), min(CELL, self._scene.width - left)
        window = Window(left - margin, top - margin, width + 2 * margin, height + 2 * margin)
        objects, classes = self._lay(window)
        inner = np.s_[margin : margin + height, margin : margin + width]
        if margin:
            self._refine(objects, classes)
        if self._area is not None:
            covered, _ = self._area.objects(window, np.zeros(len(self._area_names), dtype=np.uint8))
            classes[covered == 0] = IGNORE_INDEX
        return np.ascontiguousarray(classes[inner])

    def _lay(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Lay the sources over each other; return object numbers, unique over all sources, and class ids."""
        first, *others = self._layers
        objects, class_of = first[0].objects(window, first[1])
        class_of[0] = self._elsewhere
        classes = np.take(class_of, objects)
        used = len(class_of)
        for layer, ids in others:
            mine, class_of = layer.objects(window, ids)
            covered = mine > 0
            np.copyto(classes, class_of[mine], where=covered)
            np.copyto(objects, mine + used, where=covered)
            used += len(class_of)
        return objects, classes

    def _refine(self, objects: np.ndarray, classes: np.ndarray) -> None:
        """Mark outlines in place."""
        background = self._classes.background
        if background is not None:
            objects[classes == background] = 0
        unknown = classes == IGNORE_INDEX
        if self._polygons:  # they have outlines even if the outside is unlabelled
            unknown &= objects > 0
        objects[unknown] = UNKNOWN
        if self._boundary:
            edges = near_outline(objects, self._boundary) & (objects > 0)
            gaps = between_objects(objects, self._boundary)
            classes[edges | gaps] = self._classes.names.index(BOUNDARY)
        if self._border:
            classes[near_outline(objects, self._border)] = IGNORE_INDEX
