"""Labels on the grid of one scene: polygons and class rasters, laid over each other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from rasterio.windows import Window

from satseg.classes import BOUNDARY, IGNORE_INDEX, ClassTable
from satseg.labels.object_widths import Widths
from satseg.labels.outlines import UNKNOWN, between_objects, near_outline
from satseg.labels.vector_labels import VectorLabels
from satseg.records import SceneInfo

PixelLength = Callable[[SceneInfo], float]
"""A length in pixels of a scene."""

CELL = 512
_CACHE_BYTES = 64 * 2**20  # the classes of a scene of 8192 x 8192 px
_LARGEST_CACHE_BYTES = 512 * 2**20


@dataclass(frozen=True, eq=False)
class Cell:
    """Labels of a square part of a scene.

    Args:
        classes: (row, col) uint8 class ids, 255 if unlabelled.
        ids: (row, col) int32 instance ids, 0 for none; None if objects are not kept.
    """

    classes: np.ndarray
    ids: np.ndarray | None


class SceneLayer(Protocol):
    """Labels of one source on the grid of one scene."""

    def touch(self) -> bool:
        """Tell whether the source may have labels for the scene."""
        ...

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return object numbers (row, col) int32, 0 for none, and the uint8 class id of each number."""
        ...

    def instances(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return these, and the int64 position of each number among the objects of the source, from 1.

        It is 0 for what is no object, and negative where the source knows that there is none.
        """
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
        taken: Instance ids before those of each layer; None keeps no objects.
    """

    def __init__(
        self,
        layers: Sequence[tuple[SceneLayer, np.ndarray]],
        scene: SceneInfo,
        *,
        classes: ClassTable,
        refinements: Refinements,
        cells: OrderedDict[Hashable, Cell],
        elsewhere: int,
        polygons: bool,
        taken: Sequence[int] | None = None,
    ) -> None:
        self._layers = layers
        self._elsewhere = elsewhere
        self._polygons = polygons
        self._taken = taken
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
        cell_bytes = CELL**2 * (1 if taken is None else 5)
        self._kept = min(max(_CACHE_BYTES // cell_bytes, 2 * across + 2), _LARGEST_CACHE_BYTES // cell_bytes)

    def touch(self) -> bool:
        """Tell whether there may be labels for the scene."""
        known = any(layer.touch() for layer, _ in self._layers)
        return known if self._area is None else self._area.touch()

    def read(self, window: Window) -> np.ndarray:
        """Return (row, col) uint8 class ids of a window inside the scene, 255 if unlabelled."""
        classes = np.empty((int(window.height), int(window.width)), dtype=np.uint8)
        for within, cell, part in self._cells_of(window):
            classes[within] = cell.classes[part]
        return classes

    @property
    def keep_objects(self) -> bool:
        """Whether objects are kept."""
        return self._taken is not None

    def read_ids(self, window: Window) -> np.ndarray:
        """Return (row, col) int32 instance ids of a window inside the scene, 0 for none.

        They are negative where the object goes on beyond the window, or touches the edge of the scene, beyond which
        nothing is known. Objects are not changed by refinements: their borders and unlabelled parts are included.
        """
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        up, down = min(1, top), min(1, self._scene.height - bottom)
        west, east = min(1, left), min(1, self._scene.width - right)
        wider = Window(left - west, top - up, right - left + west + east, bottom - top + up + down)
        ids = np.empty((int(wider.height), int(wider.width)), dtype=np.int32)
        for within, cell, part in self._cells_of(wider):
            assert cell.ids is not None
            ids[within] = cell.ids[part]
        ids = np.pad(ids, ((1 - up, 1 - down), (1 - west, 1 - east)), mode="edge")
        around = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
        inside = ids[1:-1, 1:-1]
        return np.where(np.isin(inside, around), -inside, inside)

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
            objects, _, _ = self._lay(window)
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

    def _cells_of(self, window: Window) -> Iterator[tuple[tuple[slice, slice], Cell, tuple[slice, slice]]]:
        """Yield the cells that a window meets, with the place of the common pixels in the window and in the cell."""
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        for row in range(top // CELL, -(-bottom // CELL)):
            for column in range(left // CELL, -(-right // CELL)):
                rows = max(top, row * CELL), min(bottom, (row + 1) * CELL)
                columns = max(left, column * CELL), min(right, (column + 1) * CELL)
                yield (
                    _part(rows, columns, top, left),
                    self._cell(row, column),
                    _part(rows, columns, row * CELL, column * CELL),
                )

    def _cell(self, row: int, column: int) -> Cell:
        cells, key = self._cells, (self._grid, row, column)
        kept = cells.get(key)
        if kept is not None:
            cells.move_to_end(key)
            return kept
        while len(cells) >= self._kept:
            cells.popitem(last=False)
        made = cells[key] = self._make_cell(row * CELL, column * CELL)
        return made

    def _make_cell(self, top: int, left: int) -> Cell:
        margin = int(np.ceil(max(self._border, self._boundary)))
        height, width = min(CELL, self._scene.height - top), min(CELL, self._scene.width - left)
        window = Window(left - margin, top - margin, width + 2 * margin, height + 2 * margin)
        objects, classes, id_of = self._lay(window)
        inner = np.s_[margin : margin + height, margin : margin + width]
        ids = np.take(id_of, objects[inner]) if self.keep_objects else None
        if margin:
            self._refine(objects, classes)
        if self._area is not None:
            covered, _ = self._area.objects(window, np.zeros(len(self._area_names), dtype=np.uint8))
            classes[covered == 0] = IGNORE_INDEX
        return Cell(np.ascontiguousarray(classes[inner]), ids)

    def _lay(self, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lay the sources over each other.

        Returns:
            (row, col) object numbers, unique over all sources; (row, col) class ids; and the int32 instance id of each
            number, 0 for what is no object.
        """
        first, *others = self._layers
        objects, class_of, positions = first[0].instances(window, first[1])
        class_of[0] = self._elsewhere
        classes = np.take(class_of, objects)
        id_of = [self._id_of(0, class_of, positions)]
        used = len(class_of)
        for number, (layer, ids) in enumerate(others, start=1):
            mine, class_of, positions = layer.instances(window, ids)
            covered = mine > 0
            if (positions < 0).any():  # known to be no object
                covered &= (positions[mine] > 0) | (objects == 0)
            np.copyto(classes, class_of[mine], where=covered)
            np.copyto(objects, mine + used, where=covered)
            id_of.append(self._id_of(number, class_of, positions))
            used += len(class_of)
        return objects, classes, np.concatenate(id_of)

    def _id_of(self, number: int, class_of: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return the int32 instance ids of the objects of a layer."""
        none = (positions <= 0) | (class_of == IGNORE_INDEX) | (class_of == self._classes.background)
        return np.where(none, 0, positions + (self._taken[number] if self._taken else 0)).astype(np.int32)

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


def _part(rows: tuple[int, int], columns: tuple[int, int], top: int, left: int) -> tuple[slice, slice]:
    """Return rows and columns of a scene, first and last, as slices of an array that begins at ``top`` and ``left``."""
    return slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left)
