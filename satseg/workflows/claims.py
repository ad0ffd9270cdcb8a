"""Check before any work is done that no output of a map is written twice, or read, or cannot be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from satseg.errors import OutputError, SceneError, UsageError
from satseg.geo.crs import same_crs
from satseg.raster.gdal import gdal_environment
from satseg.raster.source import SceneSource
from satseg.records import SceneInfo

if TYPE_CHECKING:
    from satseg.workflows.mapping import MapOutputs
    from satseg.workflows.predict import OutputNames


class Claims:
    """Who writes where: no file is written twice, and none that is read.

    Args:
        names: Outputs of all scenes.
        inputs: Files that are read besides the scenes.
        alone: Whether there is but one scene.
        one_crs: Whether all scenes must be in one CRS, since their polygons go into one layer.
    """

    def __init__(self, names: OutputNames, inputs: Sequence[str | Path], *, alone: bool, one_crs: bool = False) -> None:
        self._names = names
        self._alone = alone
        self._read = {Path(path).resolve() for path in inputs}
        self._written: dict[Path, str] = {}
        self._layer = [] if alone else [path.resolve() for path in names.of_layer(None).vectors]
        self._seen: set[tuple[str, ...]] = set()
        self._one_crs = one_crs
        self._first: SceneInfo | None = None

    def take(self, source: SceneSource, stream: IO[str] | None) -> MapOutputs:
        """Return the outputs of a scene.

        Raises:
            UsageError: An output is that of an earlier scene, or an input; or the scene is in another CRS.
            OutputError: An output cannot be written where it is wanted.
        """
        if self._layer and source.paths in self._seen:
            raise UsageError(f"{source.name} is named twice, and its polygons would be twice in {self._layer[0].name}.")
        self._seen.add(source.paths)
        outputs = self._names.of_scene(source, stream, alone=self._alone)
        read = self._read | {Path(path).resolve() for path in source.paths}
        for path in outputs.files:
            self._check_free(path, source.name)
            self._written[path.resolve()] = source.name
        for path in (*outputs.files, *self._layer):
            if path.resolve() in read:
                raise UsageError(f"The output {path} is read, too: it would be overwritten.")
            _check_writable(path)
        if self._one_crs:
            self._check_crs(source)
        return outputs

    def _check_crs(self, source: SceneSource) -> None:
        try:
            with gdal_environment(), source.open() as scene:
                info = scene.info
        except SceneError:  # that is said when its turn comes
            return
        self._first = self._first or info
        if not same_crs(info.crs, self._first.crs):
            raise UsageError(
                f"{info.path} is in {info.crs or 'no CRS'}, but {self._first.path} in {self._first.crs or 'no CRS'}, "
                "and their polygons would go into one layer.",
                hint="Name the CRS of the layer with --crs, or put {stem} into its name: -o 'maps/{stem}.gpkg'",
            )

    def _check_free(self, path: Path, scene: str) -> None:
        earlier = self._written.get(path.resolve())
        if earlier == scene or path.resolve() in self._layer:
            raise UsageError(f"The output {path} is named twice.")
        if earlier is not None:
            named = any("{stem}" in name for name in self._names.outputs)
            raise UsageError(
                f"{scene} and {earlier} would both be written to {path}.",
                hint="Map scenes of one name apart, each into a folder of its own."
                if named
                else "Put {stem} into the output's name: -o 'maps/{stem}.gpkg'",
            )


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"The output {path} is a folder.")
    above = next(folder for folder in path.resolve().parents if folder.exists())
    if not above.is_dir():
        raise OutputError(f"The output {path} would lie in {above}, which is no folder.")
