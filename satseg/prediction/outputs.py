"""Outputs of a prediction: names as the user gives them in, checked paths out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rasterio.errors import RasterioError

from satseg.arguments import STEM
from satseg.errors import UsageError
from satseg.files.ledger import Ledger, whereabouts
from satseg.files.names import open_raster
from satseg.inference.decision import OF_OBJECTS
from satseg.prediction.provenance import VERSION_TAG
from satseg.prediction.settings import OutputNames, is_raster
from satseg.raster.source import SceneSource
from satseg.records import MapLayer
from satseg.vectorization.formats import STDOUT


@dataclass(frozen=True)
class OutputPaths:
    """Where one map goes, or one layer of polygons of several maps.

    Args:
        rasters: Files by layer, each a COG.
        vectors: Files of polygons.
        stream: Text stream that takes polygons as GeoJSONSeq, or None.
    """

    rasters: tuple[tuple[MapLayer, Path], ...] = ()
    vectors: tuple[Path, ...] = ()
    stream: IO[str] | None = None

    @classmethod
    def of_files(cls, *files: Path, stream: IO[str] | None = None, raster: MapLayer = MapLayer.CLASSES) -> OutputPaths:
        """Sort files by suffix: ``.tif`` is the raster of classes, or of another layer, all others are polygons."""
        rasters = tuple((raster, file) for file in files if is_raster(file))
        return cls(rasters, tuple(file for file in files if not is_raster(file)), stream)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the class rasters first."""
        return tuple(path for _, path in self.rasters) + self.vectors

    @property
    def layers(self) -> frozenset[MapLayer]:
        """Layers that are written, and classes."""
        return frozenset({MapLayer.CLASSES, *(layer for layer, _ in self.rasters)})

    @property
    def has_polygons(self) -> bool:
        """Whether polygons are written."""
        return bool(self.vectors) or self.stream is not None

    @property
    def exist(self) -> bool:
        """Whether all files are there already; false without files."""
        return bool(self.files) and all(file.exists() for file in self.files)


class Outputs:
    """Paths of all outputs, each checked before it is written: no file is written twice, and none that is read.

    Args:
        names: Names of the outputs.
        sources: All scenes, whose outputs are checked at once; None where they come one after the other, so that any
            raster may be a scene that is still to come.
        inputs: Files that are read besides the scenes; None is skipped.
        stream: Text stream for the output ``-``.
        raster: Layer of the outputs that are rasters.

    Attributes:
        several: Whether there are several scenes, or may be.
        shares_layer: Whether the polygons of several scenes go into one layer.
        layer: Where the polygons of several scenes go together; no paths where each scene has its own.
        project: QGIS project of all maps, or None.

    Raises:
        UsageError: An output is an input, or stands for two outputs; a scene is named twice.
        OutputError: An output cannot be written.
    """

    def __init__(
        self,
        names: OutputNames,
        sources: Sequence[SceneSource] | None,
        *,
        inputs: Sequence[str | Path | None] = (),
        stream: IO[str] | None = None,
        raster: MapLayer = MapLayer.CLASSES,
    ) -> None:
        self._names = names
        self._raster = raster
        self._streamed = sources is None
        self._stream = stream
        self.several = sources is None or len(sources) != 1
        shared = names.shared if self.several else ()
        self.shares_layer = bool(shared)
        self._own = tuple(name for name in names.output if name not in shared)
        self.layer = self._paths(shared)
        self.project = None if names.project is None else Path(names.project)
        self._ledger = Ledger(inputs)
        self._forget_scenes()
        if sources is not None:
            self._check_all(sources)

    @property
    def tell_of_objects(self) -> bool:
        """Whether a raster holds what the network says of objects."""
        return any(layer in layers for layer in self._names.rasters for layers in OF_OBJECTS.values())

    def paths_of(self, source: SceneSource) -> OutputPaths:
        """Return the outputs of a scene, without those that it shares with others."""
        return self._paths(self._own, source)

    def check(self, source: SceneSource) -> OutputPaths:
        """Check the outputs of the next scene, and return them.

        Raises:
            UsageError: An output is that of an earlier scene, or an input; the scene is named twice, or is an output
                of an earlier one.
            OutputError: An output cannot be written.
        """
        outputs = self.paths_of(source)
        place = tuple(map(whereabouts, source.paths))
        if place in self._seen and (self.layer.vectors or outputs.files):
            raise self._named_twice(source.name, self._seen[place])
        self._ledger.read(*source.files)
        for file in outputs.files:
            self._check_other_scenes(file, source.name)
            if self._streamed and _is_foreign_raster(file):
                raise UsageError(
                    f"The output {file} would replace a raster that satseg did not write, and that may be one of "
                    "the next scenes.",
                    hint="Name another output, or all scenes at once instead of one after the other.",
                )
            self._ledger.write(file, _map_of(source.name))
        self._seen[place] = source.name
        return outputs

    def _check_all(self, sources: Sequence[SceneSource]) -> None:
        """Check the outputs of all scenes against all scenes."""
        for source in sources:
            self._ledger.read(*source.files)
        for source in sources:
            self.check(source)
        self._forget_scenes()

    def _forget_scenes(self) -> None:
        """Begin with the first scene (again); inputs are remembered."""
        self._seen: dict[tuple[Hashable, ...], str] = {}
        self._ledger.forget_outputs()
        for file in self.layer.vectors:
            self._ledger.write(file, "the layer of all scenes")
        if self.project is not None:
            self._ledger.write(self.project, "the project of all scenes")

    def _paths(self, output: Sequence[str], source: SceneSource | None = None) -> OutputPaths:
        """Return the paths of some outputs; of a scene, with its rasters besides the classes."""
        stem = source.stem if source else ""
        named = (Path(name.replace(STEM, stem)) for name in output if name != STDOUT)
        files = OutputPaths.of_files(*named, raster=self._raster)
        rasters = self._names.rasters.items() if source else ()
        more = [(MapLayer(layer), Path(name.replace(STEM, stem))) for layer, name in rasters]
        return OutputPaths((*files.rasters, *more), files.vectors, self._stream if STDOUT in output else None)

    def _named_twice(self, scene: str, earlier: str) -> UsageError:
        """Return the error of a scene that was named before, by this or another name."""
        alias = "" if earlier == scene else f", also as {earlier}"
        layer = self.layer.vectors
        result = f"its polygons would be twice in {layer[0].name}" if layer else "has one map only"
        return UsageError(f"{scene} is named twice{alias}, and {result}.", hint="Name each scene once.")

    def _check_other_scenes(self, file: Path, scene: str) -> None:
        earlier = self._ledger.written_as(file)
        if earlier is None or earlier == _map_of(scene) or not earlier.startswith(_map_of("")):
            return
        has_stem = any(STEM in name for name in self._names.output)
        raise UsageError(
            f"{scene} and {earlier.removeprefix(_map_of(''))} would both be written to {file}.",
            hint="Map scenes of the same name in separate runs, into separate folders."
            if has_stem
            else f"Put {{stem}} into the output's name: `output='maps/{{stem}}{file.suffix}'`.",
        )


def _is_foreign_raster(file: Path) -> bool:
    """Tell whether a file is a raster, and not one of satseg's maps."""
    if not file.is_file():
        return False
    try:
        with open_raster(file) as dataset:
            return VERSION_TAG not in dataset.tags()
    except RasterioError:
        return False


def _map_of(scene: str) -> str:
    return f"the map of {scene}"
