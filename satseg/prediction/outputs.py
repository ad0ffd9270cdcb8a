"""Where maps go: names as users give them, and the files of one scene that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from satseg.arguments import Given, PathLike, Paths, path, paths
from satseg.errors import UsageError
from satseg.raster.source import SceneSource
from satseg.records import MapLayer
from satseg.vectorization.formats import VECTOR_SUFFIXES

STDOUT = "-"


@dataclass(frozen=True)
class MapOutputs:
    """Where a map of one scene goes.

    Args:
        rasters: Files by layer, each a COG.
        vectors: Files of polygons of this scene alone.
        stream: Text stream that takes polygons as GeoJSONSeq, or None.
    """

    rasters: tuple[tuple[MapLayer, Path], ...] = ()
    vectors: tuple[Path, ...] = ()
    stream: IO[str] | None = None

    @classmethod
    def of_files(cls, *files: Path, stream: IO[str] | None = None) -> MapOutputs:
        """Sort files by suffix: ``.tif`` is the class raster, all others are polygons."""
        rasters = tuple((MapLayer.CLASSES, path) for path in files if path.suffix.lower() == ".tif")
        return cls(rasters, tuple(path for path in files if path.suffix.lower() != ".tif"), stream)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the class rasters first."""
        return tuple(path for _, path in self.rasters) + self.vectors

    @property
    def layers(self) -> frozenset[MapLayer]:
        """Layers that are written, and classes."""
        return frozenset({MapLayer.CLASSES, *(layer for layer, _ in self.rasters)})


@dataclass(frozen=True)
class OutputNames:
    """Where maps go, for any number of scenes: ``{stem}`` stands for the scene's file name without suffix.

    Polygons of several scenes go into one layer where the name has no ``{stem}``.

    Args:
        output: ``.tif`` for the class raster (a COG); ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``, ``.geojsonl``
            or ``.shp`` for polygons; ``-`` for polygons as GeoJSONSeq on a stream.
        confidence: ``.tif`` for the probability of each pixel's class.
        probabilities: ``.tif`` for the probability of every class, one band each.
        disagreement: ``.tif`` for how much overlapping windows differ.

    Raises:
        UsageError: Nothing is named, or a name has no known suffix.
    """

    output: Given[Paths, tuple[str, ...]] = Given(paths, ())
    confidence: Given[PathLike | None, str | None] = Given(path)
    probabilities: Given[PathLike | None, str | None] = Given(path)
    disagreement: Given[PathLike | None, str | None] = Given(path)

    def __post_init__(self) -> None:
        if not self.output and not self.shares:
            raise UsageError(
                "Nowhere to write to.", hint="Name an output: -o out.gpkg, -o classes.tif or -o - for stdout."
            )
        for name in self.output:
            suffix = Path(name).suffix.lower()
            if name != STDOUT and suffix != ".tif" and suffix not in VECTOR_SUFFIXES:
                known = ", ".join(sorted(VECTOR_SUFFIXES))
                raise UsageError(f"The output {name} has no known suffix.", hint=f"Known are .tif, {known}.")
        for layer, name in self.shares:
            if Path(name).suffix.lower() != ".tif":
                raise UsageError(f"The {layer.value} are a raster, and {name} does not end in .tif.")

    def of_layer(self, stream: IO[str] | None) -> MapOutputs:
        """Return where polygons of several scenes go together."""
        vectors = tuple(Path(name) for name in self.output if self._is_layer(name) and name != STDOUT)
        return MapOutputs(vectors=vectors, stream=stream if STDOUT in self.output else None)

    def of_scene(self, source: SceneSource, stream: IO[str] | None, *, alone: bool) -> MapOutputs:
        """Return the files of one scene; without those that it shares with others, unless it is ``alone``."""

        def path(name: str) -> Path:
            return Path(name.replace("{stem}", source.stem))

        own = [name for name in self.output if alone or not self._is_layer(name)]
        files = MapOutputs.of_files(*(path(name) for name in own if name != STDOUT))
        shares = tuple((layer, path(name)) for layer, name in self.shares)
        return MapOutputs(files.rasters + shares, files.vectors, stream if STDOUT in own else None)

    def _is_layer(self, name: str) -> bool:
        return name == STDOUT or ("{stem}" not in name and Path(name).suffix.lower() != ".tif")

    @property
    def shares(self) -> list[tuple[MapLayer, str]]:
        """Rasters besides the classes."""
        named = {
            MapLayer.CONFIDENCE: self.confidence,
            MapLayer.PROBABILITIES: self.probabilities,
            MapLayer.DISAGREEMENT: self.disagreement,
        }
        return [(layer, name) for layer, name in named.items() if name is not None]
