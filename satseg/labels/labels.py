"""Labels on the grid of a scene: polygons and class rasters, laid over each other."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np
from rasterio.windows import Window

from satseg.arguments import list_few
from satseg.classes import BACKGROUND, IGNORE_INDEX, MAX_CLASSES, ClassTable
from satseg.errors import LabelError
from satseg.labels.class_found import example_map, list_values
from satseg.labels.class_map import IGNORE, ClassMap, order_names, spell_pair
from satseg.labels.class_map_check import unmatched_message
from satseg.labels.class_values import ClassValues
from satseg.labels.object_widths import Widths
from satseg.labels.outlines import UNKNOWN, between_objects, near_outline
from satseg.labels.raster_labels import RasterLabels
from satseg.labels.vector_labels import VectorLabels
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

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


class LabelSource:
    """Labels of one or more scenes.

    Pixels that no source covers are background if all sources of a scene are polygons, unless ``refinements`` say
    otherwise; with a class raster among the sources they are unlabelled.

    Args:
        layers: Sources, from bottom to top.
        of_scenes: Positions in ``layers`` of the sources of each scene, by its path; None uses all for every scene.
        classes: Table in which class names must be found; None builds one.
        extend: Whether classes that are not in ``classes`` are appended to the table, with a warning; at least one
            class must be in it.
        class_map: The class map of the layers; without ``classes``, it determines the order of classes.
        refinements: Changes made to the labels.

    Raises:
        LabelError: A class is not in ``classes``, or there are too many.
    """

    def __init__(
        self,
        layers: Sequence[VectorLabels | RasterLabels],
        *,
        of_scenes: Mapping[str, Sequence[int]] | None = None,
        classes: ClassTable | None = None,
        extend: bool = False,
        class_map: ClassMap | None = None,
        refinements: Refinements | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self._of_scenes = of_scenes
        self.refinements = refinements or Refinements()
        self.background_implied = False
        """Whether background exists only because polygons do not cover the whole scene."""
        self._mapped = class_map is not None
        self.classes = classes or self._make_table(class_map)
        known: dict[tuple[str, ...], np.ndarray] = {}
        self._ids = []
        for layer in self.layers:
            key = (type(layer).__name__, *layer.names)  # thousands of files may have the same classes
            if key not in known:
                known[key] = self._ids_of(layer, extend=extend)
            self._ids.append(known[key])
        self.cells: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        """Cells that were computed last, of any scene: counting labels and cutting them then computes them once."""
        if self.refinements.boundary is not None and BOUNDARY not in self.classes.names:
            raise LabelError(f"There is no class {BOUNDARY!r} among {', '.join(self.classes.names)}.")

    def among(self, classes: ClassTable, *, extend: bool = False) -> LabelSource:
        """Return the same labels with the classes of a table.

        Args:
            classes: Table in which class names must be found.
            extend: Whether other classes are appended to it.

        Raises:
            LabelError: A class is not in the table; with ``extend``, none is.
        """
        return LabelSource(
            self.layers, of_scenes=self._of_scenes, classes=classes, extend=extend, refinements=self.refinements
        )

    def without_background(self) -> LabelSource:
        """Return the same labels without a background class: pixels outside all polygons are unlabelled."""
        return LabelSource(
            self.layers,
            of_scenes=self._of_scenes,
            classes=self.classes.without_background(),
            refinements=replace(self.refinements, unknown_outside=True),
        )

    @property
    def path(self) -> str:
        """Files of the labels, for messages."""
        return list_few([layer.path for layer in self.layers])

    @property
    def polygons(self) -> tuple[VectorLabels, np.ndarray] | None:
        """The polygons and the uint8 class id of each of their names; None unless they are the only source."""
        if len(self.layers) == 1 and isinstance(self.layers[0], VectorLabels):
            return self.layers[0], self._ids[0]
        return None

    def warn_of_unmatched(
        self, class_map: ClassMap | None, *, beside: ClassValues | None = None, strict: bool = True
    ) -> None:
        """Warn about keys of a class map that no value matches, see :func:`~.class_map_check.unmatched_message`.

        Args:
            class_map: The class map.
            beside: Values of a map to which the class map applies as well.
            strict: Whether keys that resemble no value are reported too; they may be meant for other labels or a map.
        """
        if class_map is None:
            return
        values = {value: keys for layer in self._distinct() for value, keys in layer.spellings.items()}
        values |= {} if beside is None else beside.spellings
        path = self.path if beside is None else f"{self.path} and {', '.join(beside.paths)}"
        unmet = unmatched_message(path, class_map, values, only_alike=not strict)
        if unmet is not None:
            log.warning(unmet)

    @property
    def empty(self) -> bool:
        """Whether there are no labels at all."""
        return all(map(_is_empty, self.layers))

    @property
    def repaired(self) -> int:
        """Geometries that were invalid and were repaired."""
        return sum(layer.repaired for layer in self._stores())

    @property
    def dropped(self) -> int:
        """Features without a usable polygon."""
        return sum(layer.dropped for layer in self._stores())

    def on(self, scene: SceneInfo) -> Labels:
        """Return the labels on the grid of a scene.

        Raises:
            LabelError: No label touches the scene, or a raster cannot be warped onto it.
        """
        numbers = self._numbers_of(scene)
        mine = self.layers_of(scene)
        layers = [(self.layers[number].on(scene), self._ids[number]) for number in numbers]
        labels = Labels(self, layers, scene, elsewhere=self._elsewhere(mine), polygons=_are_polygons(mine))
        if not (labels.touch() or all(map(_is_empty, mine))):
            labels.close()
            paths = ", ".join(layer.path for layer in mine) if self._of_scenes is not None else self.path
            raise LabelError(
                f"No label of {paths} touches the scene {scene.path}.",
                hint="Check that both cover the same ground and that their CRSs are right.",
            )
        return labels

    def layers_of(self, scene: SceneInfo) -> list[VectorLabels | RasterLabels]:
        """Return the sources of a scene."""
        return [self.layers[number] for number in self._numbers_of(scene)]

    def polygons_of(self, scene: SceneInfo) -> tuple[VectorLabels, np.ndarray] | None:
        """Return the polygons of a scene, as :attr:`polygons`; None unless they are its only source."""
        numbers = self._numbers_of(scene)
        layer = self.layers[numbers[0]] if len(numbers) == 1 else None
        return (layer, self._ids[numbers[0]]) if isinstance(layer, VectorLabels) else None

    def _numbers_of(self, scene: SceneInfo) -> Sequence[int]:
        return range(len(self.layers)) if self._of_scenes is None else self._of_scenes.get(scene.path, ())

    def _elsewhere(self, layers: Sequence[VectorLabels | RasterLabels]) -> int:
        """Return the class id of pixels that no layer of a scene covers."""
        background = self.classes.background
        known = _are_polygons(layers) and not self.refinements.unknown_outside
        return background if background is not None and known else IGNORE_INDEX

    def _distinct(self) -> list[VectorLabels | RasterLabels]:
        """Return the layers, with only the first of the rasters that share their values."""
        by_values = {
            id(layer.values if isinstance(layer, RasterLabels) else layer): layer for layer in self.layers[::-1]
        }
        return list(by_values.values())[::-1]

    def _stores(self) -> list[VectorLabels | RasterLabels]:
        area = self.refinements.labelled_area
        return [*self.layers, *([] if area is None else [area])]

    def _make_table(self, class_map: ClassMap | None) -> ClassTable:
        groups = [range(len(self.layers))] if self._of_scenes is None else self._of_scenes.values()
        vectors = any(_are_polygons([self.layers[number] for number in group]) for group in groups)
        vectors &= not self.refinements.unknown_outside
        said = {name for layer in self._distinct() for name in layer.names}
        said |= set(class_map.names.values() if class_map is not None else ())
        self.background_implied = vectors and BACKGROUND not in said
        names = [BACKGROUND] if vectors else []
        names += class_map.classes if class_map is not None else []
        for layer in self._distinct():
            names += sorted(layer.names, key=_natural_order) if isinstance(layer, VectorLabels) else layer.names
        names += [BOUNDARY] if self.refinements.boundary is not None else []
        names = order_names(names, background_first=vectors or class_map is not None)
        if len(names) > MAX_CLASSES:
            raise LabelError(
                f"{self.path} has {len(names)} different class values; a map has at most {MAX_CLASSES}.",
                hint="Use an attribute of classes, not of single objects; or select some of them with `where`, or with "
                "`class_map='classes.csv'` in which *=ignore stands for the rest. List them with `satseg.info` and "
                "`class_field`, and write that table with `class_map='-'`.",
            )
        colours = {name: colour for layer in self._distinct() for name, colour in _colours(layer).items() if colour}
        return ClassTable.from_names(names).recoloured(
            colours | dict(class_map.colours if class_map is not None else {})
        )

    def _ids_of(self, layer: VectorLabels | RasterLabels, *, extend: bool) -> np.ndarray:
        """Return the uint8 class id of each of the layer's names; with ``extend``, missing ones are appended."""
        unknown = [name for name in layer.names if name not in (*self.classes.names, IGNORE)]
        if unknown and isinstance(layer, VectorLabels):
            made = {BOUNDARY} if self.refinements.boundary is not None else set()
            objects = [c.id for c in self.classes if c.id != self.classes.background and c.name not in made]
            if len(layer.names) == 1 and len(objects) == 1 and layer.names[0] == layer.own_name:
                return np.array(objects, dtype=np.uint8)  # a single class is the one that is not background
        if unknown:
            shared = set(layer.names) & set(self.classes.names) - {BACKGROUND}
            if not (extend and shared):
                self._refuse(layer, unknown)
            log.warning(
                "%s has classes that are not among %s: %s. They are added as classes of their own.",
                layer.path,
                ", ".join(self.classes.names),
                ", ".join(unknown),
            )
            self.classes = self.classes.extended(unknown)
        ids = {name: i for i, name in enumerate(self.classes.names)} | {IGNORE: IGNORE_INDEX}
        return np.array([ids[name] for name in layer.names], dtype=np.uint8)

    def _refuse(self, layer: VectorLabels | RasterLabels, unknown: Sequence[str]) -> None:
        known = ", ".join(self.classes.names)
        if isinstance(layer, RasterLabels) and layer.values.nameless:
            raise LabelError(
                f"{layer.path} does not name its values, {list_values(layer.values.codes)}; the classes are {known}.",
                hint="Map them to classes, for example with "
                f"`class_map={example_map(layer.values.codes, dict(enumerate(self.classes.names)))!r}`",
            )
        message = f"{layer.path} has the class {sorted(unknown)[0]!r}, which is not among {known}."
        if self._mapped:  # the class comes from the class map, not from the labels
            unnamed = any(name == f"class {name[6:]}" for name in self.classes.names)
            raise LabelError(
                message,
                hint=f"Use these names in `class_map`{', or leave it out' if unnamed else ''}: {known}. Other names "
                "need a new tile set: use `overwrite=True`, and `class_map` from the first call on.",
            )
        if isinstance(layer, RasterLabels) or layer.class_field is not None:
            alike = {name.lower(): name for name in self.classes.names}
            pairs = [spell_pair(name, alike.get(name.lower(), "NAME")) for name in layer.names if name != IGNORE]
            raise LabelError(message, hint=f"Map them to classes: `class_map={','.join(pairs)!r}`")
        raise LabelError(
            message,
            hint="Name the attribute that holds the class with `class_field`, or map the values with `class_map`.",
        )


class Labels:
    """Labels on the grid of one scene. Use it as a context manager; not to be shared between threads.

    They are computed in cells, which are cached since tiles overlap; the result does not depend on the windows read.
    """

    def __init__(
        self,
        source: LabelSource,
        layers: Sequence[tuple[SceneLayer, np.ndarray]],
        scene: SceneInfo,
        *,
        elsewhere: int,
        polygons: bool,
    ) -> None:
        self._layers = layers
        self._elsewhere = elsewhere
        self._polygons = polygons
        self._scene = scene
        self._source = source
        refinements = source.refinements
        self._border = refinements.ignore_border(scene) if refinements.ignore_border else 0.0
        self._boundary = refinements.boundary(scene) if refinements.boundary else 0.0
        self._area = None if refinements.labelled_area is None else refinements.labelled_area.on(scene)
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
        cells, key = self._source.cells, (self._grid, row, column)
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
            covered, _ = self._area.objects(window, np.zeros(len(self._area_names()), dtype=np.uint8))
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
        background = self._source.classes.background
        if background is not None:
            objects[classes == background] = 0
        unknown = classes == IGNORE_INDEX
        if self._polygons:  # they have outlines even if the outside is unlabelled
            unknown &= objects > 0
        objects[unknown] = UNKNOWN
        if self._boundary:
            edges = near_outline(objects, self._boundary) & (objects > 0)
            gaps = between_objects(objects, self._boundary)
            classes[edges | gaps] = self._source.classes.names.index(BOUNDARY)
        if self._border:
            classes[near_outline(objects, self._border)] = IGNORE_INDEX

    def _area_names(self) -> list[str]:
        area = self._source.refinements.labelled_area
        return [] if area is None else area.names


def _is_empty(layer: VectorLabels | RasterLabels) -> bool:
    return isinstance(layer, VectorLabels) and not layer.store.count


def _are_polygons(layers: Sequence[VectorLabels | RasterLabels]) -> bool:
    return all(isinstance(layer, VectorLabels) for layer in layers)


def _natural_order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _colours(layer: VectorLabels | RasterLabels) -> Mapping[str, str | None]:
    return layer.colours if isinstance(layer, RasterLabels) else {}
