"""Gather scenes and their maps into a QGIS project."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyproj.exceptions import ProjError
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds

from satseg.classes import ClassTable
from satseg.command_line import without_secrets
from satseg.errors import SatsegError, one_line
from satseg.files.gdal import gdal_environment
from satseg.files.names import gdal_name, is_local_file, layer_name
from satseg.geo.crs import transformer
from satseg.prediction.job import PredictionJob
from satseg.prediction.outputs import OutputPaths
from satseg.qgis.project import Group, Layer, can_name, write_project
from satseg.qgis.raster_style import classes, image, palette, shares
from satseg.qgis.style import outlines, renderer
from satseg.raster.display import read_display
from satseg.raster.source import SceneSource
from satseg.records import MapLayer, SceneInfo
from satseg.vectorization.settings import PolygonSettings

log = logging.getLogger("satseg")

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""

_DEGREES = "EPSG:4326"  # as QGIS calls the CRS of GeoJSON
_BEST_FIRST = (".gpkg", ".fgb", ".shp", ".geojson", ".geojsonl", ".parquet")  # not every QGIS reads the last


@dataclass
class MapProject:
    """A QGIS project of maps, from top to bottom: confidence, polygons, classes, scene; a group for each of several.

    What covers the same ground as a layer below is hidden at first: confidence, and classes that polygons show, too.

    Args:
        path: The project.
        table: Names and colours of the classes.
        polygons: How maps became polygons.
        shared: Files of the layer with the polygons of all scenes; none where each scene has its own.
        maps: Scenes and the files of their maps.
    """

    path: Path
    table: ClassTable
    polygons: PolygonSettings = field(default_factory=PolygonSettings)
    shared: OutputPaths = field(default_factory=OutputPaths)
    maps: list[tuple[SceneSource, OutputPaths]] = field(default_factory=list)

    @classmethod
    def of(cls, job: PredictionJob) -> MapProject | None:
        """Begin the project of a prediction; None where none is asked for."""
        outputs = job.outputs
        if outputs.project is None:
            return None
        card = job.models.checkpoints[0].card
        return cls(outputs.project, card.classes, job.settings.polygons, outputs.layer)

    def add(self, source: SceneSource, paths: OutputPaths) -> None:
        """Add the map of a scene, complete or to be completed before :meth:`write`."""
        self.maps.append((source, paths))

    def write(self, *, above: Sequence[Layer] = (), below: Sequence[Layer] = (), title: str = "") -> None:
        """Write the project; nothing where there is no map.

        Args:
            above: Other layers, on top of the maps.
            below: Other layers, below the scenes of the maps.
            title: Title of the window; by default the name of the project.

        Raises:
            OutputError: It cannot be written, or there is a project that QGIS has saved.
        """
        if not self.maps:
            return
        with gdal_environment():
            infos = [_info(source) for source, _ in self.maps]
            groups = [self._group(*found, info) for found, info in zip(self.maps, infos, strict=True)]
        known = [info for info in infos if info is not None]
        crs = next((info.crs for info in known if info.crs), None)
        shared = self._polygons(self.shared, self.polygons.crs or crs)
        entries = _unpacked(groups[0], self.maps[0][0]) if len(groups) == 1 else groups
        listed = [*above, *shared, *entries, *below]
        write_project(self.path, listed, title=title or self.path.stem, crs=crs, bounds=_union(known, crs))
        log.info("%s opens the maps and their scenes in QGIS.", self.path)

    def _group(self, source: SceneSource, paths: OutputPaths, info: SceneInfo | None) -> Group:
        """Return the layers of a scene and its map."""
        stems = Counter(other.stem for other, _ in self.maps)
        crs = info.crs if info else None
        polygons = self._polygons(paths, self.polygons.crs or crs)
        covered = bool(polygons or self.shared.vectors)
        values = [self._values(layer, path, crs) for layer, path in paths.rasters if layer not in _AREAS]
        areas = [self._area(layer, path, crs, visible=not covered) for layer, path in paths.rasters if layer in _AREAS]
        layers = _nameable([*values, *polygons, *areas, *_scene(source, crs)])
        return Group(source.stem if stems[source.stem] == 1 else without_secrets(source.name), layers)

    def _polygons(self, paths: OutputPaths, crs: str | None) -> tuple[Layer, ...]:
        """Return the layer of polygons, which is the same in every file; none without one."""
        if not paths.vectors:
            return ()
        file = min(paths.vectors, key=lambda path: _BEST_FIRST.index(path.suffix.lower()))
        degrees = crs is not None and file.suffix.lower() in (".geojson", ".geojsonl")
        table = layer_name(file.stem) if file.suffix.lower() == ".gpkg" else None
        layer = Layer("Polygons", file, self._style(), _DEGREES if degrees else crs, vector=True, table=table)
        return _nameable([layer])

    def _style(self) -> str:
        options = self.polygons
        if "class_id" not in (options.attributes or ("class_id",)):
            return outlines()  # nothing to tell classes apart by
        chosen = [entry for entry in self.table if options.classes is None or entry.name in options.classes]
        if options.classes is None and not options.keep_background:
            chosen = [entry for entry in chosen if entry.id != self.table.background]
        return renderer(chosen)

    def _area(self, layer: MapLayer, path: Path, crs: str | None, *, visible: bool) -> Layer:
        """Return the layer of classes, or of ids of objects."""
        if layer is MapLayer.CLASSES:
            return Layer("Classes", path, classes(self.table), crs, visible=visible)
        return Layer("Objects", path, _look(str(path)), crs, visible=visible)

    def _values(self, layer: MapLayer, path: Path, crs: str | None) -> Layer:
        """Return the layer of confidence or another share; of probabilities, those of the first class of its own."""
        band, name = 1, layer.value.capitalize()
        if layer is MapLayer.PROBABILITIES:
            shown = next((entry for entry in self.table if entry.id != self.table.background), self.table[0])
            band, name = shown.id + 1, f"Probability of {shown.name}"
        lowest = 1 / len(self.table) if layer is MapLayer.CONFIDENCE and len(self.table) > 1 else 0.0
        return Layer(name, path, shares((lowest, 1.0), band=band), crs, visible=False)


_AREAS = (MapLayer.CLASSES, MapLayer.OBJECTS)


def scene_layer(name: str, path: str | Path, crs: str | None) -> Layer:
    """Return the layer of an image.

    Raises:
        RasterioError: It cannot be opened.
    """
    return Layer(name, _place(path), _look(str(path)), crs)


def _place(path: str | Path) -> str | Path:
    """Return how a layer names its file."""
    text = str(path)
    return Path(text) if is_local_file(text) else gdal_name(text)


def _unpacked(group: Group, source: SceneSource) -> list[Layer | Group]:
    """Return the layers of the only map; those of the sheets of a mosaic stay together, as there may be thousands."""
    if source.mosaic is None:
        return [*group.layers]
    places = set(map(_place, source.paths))
    sheets = tuple(layer for layer in group.layers if layer.source in places)
    return [*(layer for layer in group.layers if layer.source not in places), Group("Sheets", sheets)]


def _scene(source: SceneSource, crs: str | None) -> list[Layer]:
    """Return the layer of a scene, or of each of its files; none for an array in memory.

    All sheets of a mosaic are drawn as the first one, so that their borders do not show.
    """
    if source.held is not None:
        return []
    layers: list[Layer] = []
    for path in source.paths:
        if not is_local_file(path) and without_secrets(path) != path:
            log.warning("The project leaves out %s, whose name holds a secret.", without_secrets(path))
            continue
        name = "Scene" if len(source.paths) == 1 else SceneSource((path,)).stem
        try:
            look = layers[0].style if layers and source.mosaic is not None else _look(path)
            layers.append(Layer(name, _place(path), look, crs))
        except RasterioError as error:
            log.warning("The project leaves out %s, which cannot be opened: %s.", path, one_line(error))
    return layers


def _look(path: str) -> str:
    shown = read_display(path)
    if shown.palette is not None:
        return palette(shown.palette)
    return image(shown.bands, shown.ranges, alpha=shown.alpha)


def _nameable(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Leave out layers whose files cannot be named in a project."""
    kept = []
    for layer in layers:
        if can_name(layer.source):
            kept.append(layer)
        else:
            log.warning("The project leaves out %a, whose name is no text in UTF-8.", str(layer.source))
    return tuple(kept)


def _info(source: SceneSource) -> SceneInfo | None:
    """Return the grid of a scene; None where it can be opened no longer."""
    try:
        with source.open() as scene:
            return scene.info
    except SatsegError as error:
        log.warning("The project leaves out %s: %s", without_secrets(source.name), without_secrets(error.message))
        return None


def _union(infos: Sequence[SceneInfo], crs: str | None) -> Bounds | None:
    """Return the bounds of all scenes in one CRS; None where they are unknown."""
    found = [bounds for info in infos if (bounds := _bounds(info, crs)) is not None]
    if not found:
        return None
    lefts, bottoms, rights, tops = zip(*found, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _bounds(info: SceneInfo, crs: str | None) -> Bounds | None:
    if info.crs is None or crs is None:
        return None
    corners = array_bounds(info.height, info.width, info.transform)
    try:
        return corners if info.crs == crs else transformer(info.crs, crs).transform_bounds(*corners)
    except ProjError:
        return None
