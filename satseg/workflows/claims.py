"""Check before any work is done that no output of a map is written twice, or read, or cannot be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from satseg.errors import SceneError, UsageError
from satseg.geo.crs import same_crs, short_name
from satseg.raster.gdal import gdal_environment
from satseg.raster.source import SceneSource
from satseg.records import SceneInfo
from satseg.workflows.ledger import Ledger

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

    Raises:
        UsageError: The layer of all scenes is one of the inputs.
        OutputError: It cannot be written.
    """

    def __init__(
        self, names: OutputNames, inputs: Sequence[str | Path | None], *, alone: bool, one_crs: bool = False
    ) -> None:
        self._names = names
        self._alone = alone
        self._one_crs = one_crs
        self._first: SceneInfo | None = None
        self._seen: set[tuple[str, ...]] = set()
        self._ledger = Ledger(inputs)
        self._layer = () if alone else names.of_layer(None).vectors
        for path in self._layer:
            self._ledger.write(path, "the layer of all scenes")

    def take_all(self, sources: Iterable[SceneSource]) -> None:
        """Check the outputs of all scenes against all scenes.

        Raises:
            UsageError: As :meth:`take`.
            OutputError: As :meth:`take`.
        """
        listed = list(sources)
        for source in listed:
            self._ledger.read(*source.paths)
        for source in listed:
            self.take(source, None)

    def take(self, source: SceneSource, stream: IO[str] | None) -> MapOutputs:
        """Return the outputs of a scene.

        Raises:
            UsageError: An output is that of an earlier scene, or an input; the scene is an output of an earlier one, or
                in another CRS.
            OutputError: An output cannot be written where it is wanted.
        """
        if self._layer and source.paths in self._seen:
            raise UsageError(f"{source.name} is named twice, and its polygons would be twice in {self._layer[0].name}.")
        self._seen.add(source.paths)
        outputs = self._names.of_scene(source, stream, alone=self._alone)
        self._ledger.read(*source.paths)
        for path in outputs.files:
            self._check_free(path, source.name)
            self._ledger.write(path, _map_of(source.name))
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
                f"{info.path} is in {short_name(info.crs)}, but {self._first.path} in {short_name(self._first.crs)}, "
                "and their polygons would go into one layer.",
                hint="Name the CRS of the layer with --crs, or put {stem} into its name: -o 'maps/{stem}.gpkg'",
            )

    def _check_free(self, path: Path, scene: str) -> None:
        earlier = self._ledger.written_as(path)
        if earlier is None or earlier == _map_of(scene) or not earlier.startswith(_map_of("")):
            return
        named = any("{stem}" in name for name in self._names.outputs)
        raise UsageError(
            f"{scene} and {earlier.removeprefix(_map_of(''))} would both be written to {path}.",
            hint="Map scenes of one name apart, each into a folder of its own."
            if named
            else "Put {stem} into the output's name: -o 'maps/{stem}.gpkg'",
        )


def _map_of(scene: str) -> str:
    return f"the map of {scene}"
