"""Check before any work is done that no output of a map is written twice, or read, or cannot be written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rasterio.errors import RasterioError

from satseg.errors import UsageError
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger, whereabouts
from satseg.files.names import open_raster
from satseg.geo.crs import same_crs, short_name
from satseg.mapfile.writer import CLASSES_TAG
from satseg.raster.source import SceneSource
from satseg.records import SceneInfo

if TYPE_CHECKING:
    from satseg.prediction.outputs import MapOutputs, OutputNames


class OutputChecks:
    """Who writes where: no file is written twice, and none that is read.

    Args:
        names: Outputs of all scenes.
        inputs: Files that are read besides the scenes.
        alone: Whether there is but one scene.
        one_crs: Whether all scenes must be in one CRS, since their polygons go into one layer.
        streamed: Whether scenes are learnt of one after the other, so that any raster may be one that is still to come.

    Raises:
        UsageError: The layer of all scenes is one of the inputs.
        OutputError: It cannot be written.
    """

    def __init__(
        self,
        names: OutputNames,
        inputs: Sequence[str | Path | None],
        *,
        alone: bool,
        one_crs: bool = False,
        streamed: bool = False,
    ) -> None:
        self._names = names
        self._alone = alone
        self._one_crs = one_crs
        self._streamed = streamed
        self._first: SceneInfo | None = None
        self._ledger = Ledger(inputs)
        self._layer = () if alone else names.of_layer(None).vectors
        self._begin()

    def _begin(self) -> None:
        """Forget all scenes; what is read is remembered."""
        self._seen: dict[tuple[Hashable, ...], str] = {}
        self._ledger.forget_outputs()
        for path in self._layer:
            self._ledger.write(path, "the layer of all scenes")

    def take_all(self, sources: Iterable[SceneSource]) -> None:
        """Check the outputs of all scenes against all scenes, before the first one is taken.

        Raises:
            UsageError: As :meth:`take`.
            OutputError: As :meth:`take`.
        """
        listed = list(sources)
        for source in listed:
            self._ledger.read(*source.paths)
        for source in listed:
            self.take(source, None)
        self._begin()
        self._one_crs = False  # they are

    def take(self, source: SceneSource, stream: IO[str] | None) -> MapOutputs:
        """Return the outputs of a scene.

        Raises:
            UsageError: An output is that of an earlier scene, or an input; the scene is an output of an earlier one, or
                in another CRS.
            OutputError: An output cannot be written where it is wanted.
        """
        outputs = self._names.of_scene(source, stream, alone=self._alone)
        lies = tuple(map(whereabouts, source.paths))
        if lies in self._seen and (self._layer or outputs.files):
            raise self._again(source.name, self._seen[lies])
        self._ledger.read(*source.paths)
        for path in outputs.files:
            self._check_free(path, source.name)
            if self._streamed and _is_scene(path):
                raise UsageError(
                    f"The output {path} would replace a raster that satseg did not write, and that may be a scene "
                    "which is still to come.",
                    hint="Name another output, or the scenes on the command line instead of on stdin.",
                )
            self._ledger.write(path, _map_of(source.name))
        self._seen[lies] = source.name
        if self._one_crs:
            self._check_crs(source)
        return outputs

    def _again(self, scene: str, earlier: str) -> UsageError:
        """Say that two scenes are one, by whatever name."""
        called = "" if earlier == scene else f", also as {earlier}"
        result = f"its polygons would be twice in {self._layer[0].name}" if self._layer else "has one map only"
        return UsageError(f"{scene} is named twice{called}, and {result}.", hint="Name each scene once.")

    def _check_crs(self, source: SceneSource) -> None:
        try:
            with gdal_environment(), source.open() as scene:
                info = scene.info
        except Exception:  # of whatever kind: that is said when its turn comes
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
        named = any("{stem}" in name for name in self._names.output)
        raise UsageError(
            f"{scene} and {earlier.removeprefix(_map_of(''))} would both be written to {path}.",
            hint="Map scenes of one name apart, each into a folder of its own."
            if named
            else "Put {stem} into the output's name: -o 'maps/{stem}.gpkg'",
        )


def _is_scene(path: Path) -> bool:
    """Tell whether a file is a raster, and none of satseg's maps."""
    if not path.is_file():
        return False
    try:
        with open_raster(path) as dataset:
            return CLASSES_TAG not in dataset.tags()
    except RasterioError:
        return False


def _map_of(scene: str) -> str:
    return f"the map of {scene}"
