"""The labels of scenes: their sources, the classes that these have, and which of them belong to a scene."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from satseg.arguments import list_few
from satseg.classes import BACKGROUND, BOUNDARY, IGNORE_INDEX, MAX_CLASSES, ClassTable
from satseg.errors import LabelError
from satseg.labels.class_found import example_map, list_values
from satseg.labels.class_map import IGNORE, ClassMap, order_names, spell_pair
from satseg.labels.class_map_check import unmatched_message
from satseg.labels.class_values import ClassValues
from satseg.labels.id_raster import IdRaster
from satseg.labels.labels import Cell, Labels, Refinements
from satseg.labels.raster_labels import RasterLabels
from satseg.labels.vector_labels import VectorLabels
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

Layer = VectorLabels | RasterLabels | IdRaster
"""Labels of one file."""


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
        taken: Instance ids that are taken already; None keeps no objects. With it, no layer is a class raster.

    Raises:
        LabelError: A class is not in ``classes``, or there are too many.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        of_scenes: Mapping[str, Sequence[int]] | None = None,
        classes: ClassTable | None = None,
        extend: bool = False,
        class_map: ClassMap | None = None,
        refinements: Refinements | None = None,
        taken: int | None = None,
    ) -> None:
        self.layers = tuple(layers)
        self._of_scenes = of_scenes
        self.refinements = refinements or Refinements()
        self._taken = taken
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
        self._cells: OrderedDict[Hashable, Cell] = OrderedDict()
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
            self.layers,
            of_scenes=self._of_scenes,
            classes=classes,
            extend=extend,
            refinements=self.refinements,
            taken=self._taken,
        )

    def without_background(self) -> LabelSource:
        """Return the same labels without a background class: pixels outside all polygons are unlabelled."""
        return LabelSource(
            self.layers,
            of_scenes=self._of_scenes,
            classes=self.classes.without_background(),
            refinements=replace(self.refinements, unknown_outside=True),
            taken=self._taken,
        )

    def numbered_after(self, taken: int) -> LabelSource:
        """Return the same labels, the instance ids of whose objects follow ``taken`` earlier ones."""
        return LabelSource(
            self.layers,
            of_scenes=self._of_scenes,
            classes=self.classes,
            refinements=self.refinements,
            taken=taken,
        )

    @property
    def objects(self) -> int | None:
        """Number of instance ids that the labels take, from 1 or after earlier ones; None if objects are not kept."""
        return None if self._taken is None else sum(_count(layer) for layer in self.layers)

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
        before = None if self._taken is None else self._ids_before(self._taken)
        labels = Labels(
            layers,
            scene,
            classes=self.classes,
            refinements=self.refinements,
            cells=self._cells,
            elsewhere=self._elsewhere(mine),
            polygons=_are_polygons(mine),
            taken=None if before is None else [before[number] for number in numbers],
        )
        if not (labels.touch() or all(map(_is_empty, mine))):
            labels.close()
            paths = ", ".join(layer.path for layer in mine) if self._of_scenes is not None else self.path
            raise LabelError(
                f"No label of {paths} touches the scene {scene.path}.",
                hint="Check that both cover the same ground and that their CRSs are right.",
            )
        return labels

    def layers_of(self, scene: SceneInfo) -> list[Layer]:
        """Return the sources of a scene."""
        return [self.layers[number] for number in self._numbers_of(scene)]

    def objects_of(self, scene: SceneInfo) -> tuple[VectorLabels | IdRaster, np.ndarray] | None:
        """Return the objects of a scene and the uint8 class id of each of their names; None unless they are all."""
        numbers = self._numbers_of(scene)
        layer = self.layers[numbers[0]] if len(numbers) == 1 else None
        return None if layer is None or isinstance(layer, RasterLabels) else (layer, self._ids[numbers[0]])

    def _ids_before(self, taken: int) -> list[int]:
        """Return the number of instance ids before those of each layer."""
        return list(accumulate(map(_count, self.layers[:-1]), initial=taken))

    def _numbers_of(self, scene: SceneInfo) -> Sequence[int]:
        return range(len(self.layers)) if self._of_scenes is None else self._of_scenes.get(scene.path, ())

    def _elsewhere(self, layers: Sequence[Layer]) -> int:
        """Return the class id of pixels that no layer of a scene covers."""
        background = self.classes.background
        known = _are_polygons(layers) and not self.refinements.unknown_outside
        return background if background is not None and known else IGNORE_INDEX

    def _distinct(self) -> list[Layer]:
        """Return the layers, with only the first of the rasters that share their values."""
        by_values = {
            id(layer.values if isinstance(layer, RasterLabels) else layer): layer for layer in self.layers[::-1]
        }
        return list(by_values.values())[::-1]

    def _stores(self) -> list[Layer]:
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

    def _ids_of(self, layer: Layer, *, extend: bool) -> np.ndarray:
        """Return the uint8 class id of each of the layer's names; with ``extend``, missing ones are appended."""
        unknown = [name for name in layer.names if name not in (*self.classes.names, IGNORE)]
        single: dict[str, int] = {}
        if unknown == [layer.own_name] and (len(layer.names) == 1 or isinstance(layer, IdRaster)):
            made = {BOUNDARY} if self.refinements.boundary is not None else set()
            objects = [c.id for c in self.classes if c.id != self.classes.background and c.name not in made]
            if len(objects) == 1:  # a single class is the one that is not background
                single, unknown = {unknown[0]: objects[0]}, []
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
        ids = {name: i for i, name in enumerate(self.classes.names)} | {IGNORE: IGNORE_INDEX} | single
        return np.array([ids[name] for name in layer.names], dtype=np.uint8)

    def _refuse(self, layer: Layer, unknown: Sequence[str]) -> None:
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
        if isinstance(layer, IdRaster):
            raise LabelError(message, hint=f"Map its objects to one of them: `class_map='*={self.classes.names[-1]}'`")
        if isinstance(layer, RasterLabels) or layer.class_field is not None:
            alike = {name.lower(): name for name in self.classes.names}
            pairs = [spell_pair(name, alike.get(name.lower(), "NAME")) for name in layer.names if name != IGNORE]
            raise LabelError(message, hint=f"Map them to classes: `class_map={','.join(pairs)!r}`")
        raise LabelError(
            message,
            hint="Name the attribute that holds the class with `class_field`, or map the values with `class_map`.",
        )


def _count(layer: Layer) -> int:
    """Return the number of objects of a layer."""
    return 0 if isinstance(layer, RasterLabels) else layer.count


def _is_empty(layer: Layer) -> bool:
    return isinstance(layer, VectorLabels) and not layer.store.count


def _are_polygons(layers: Sequence[Layer]) -> bool:
    return all(isinstance(layer, VectorLabels) for layer in layers)


def _natural_order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _colours(layer: Layer) -> Mapping[str, str | None]:
    return layer.colours if isinstance(layer, RasterLabels) else {}
