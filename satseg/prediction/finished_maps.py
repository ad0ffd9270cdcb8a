"""Maps that are finished already: were they made from what is asked for now, so that nothing is left to do?"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.errors import RasterioError

from satseg.errors import OutputError
from satseg.files.atomic_write import work_folder
from satseg.files.fingerprint import fingerprint
from satseg.files.names import layer_name, open_raster, vector_name
from satseg.mapfile.map_work import is_begun
from satseg.raster.source import SceneSource
from satseg.vectorization.settings import PolygonSettings

if TYPE_CHECKING:
    from satseg.prediction.settings import PredictionSettings

INPUTS = "SATSEG_INPUTS"
"""Name under which every map keeps what it was made from, as JSON, where its format has a place for it."""

_DIFFERENCES = {
    "scene": "its scene was another one, or has changed since",
    "model": "its model was {before}, now it is {now} (trained further, where only the content differs)",
    "options": "its options were {before}, now they are {now}",
    "area": "its area was another one, or has changed since",
}


@dataclass(frozen=True)
class Inputs:
    """What a map is made from, in a form that its outputs keep; no dates, so that equal runs give equal bytes.

    Args:
        model: Checkpoints, by name and content.
        settings: How scenes are mapped. What only moves the work elsewhere does not count.
    """

    model: str
    settings: PredictionSettings

    def of(self, sources: Sequence[SceneSource], *, polygons: bool) -> dict[str, str]:
        """Return what a map of some scenes is made from.

        Args:
            sources: The scenes.
            polygons: Whether it has polygons, which options shape that rasters know nothing of.
        """
        aoi = self.settings.aoi
        return {
            "scene": fingerprint([path for source in sources for path in source.paths], brief=True),
            "model": self.model,
            "options": shlex.join(self._shaping(polygons=polygons).words()),
            "area": fingerprint([aoi], brief=True) if aoi else "",
        }

    def tag(self, sources: Sequence[SceneSource], *, polygons: bool) -> dict[str, str]:
        """Return the same as a map keeps it."""
        return {INPUTS: json.dumps(self.of(sources, polygons=polygons))}

    def _shaping(self, *, polygons: bool) -> PredictionSettings:
        settings = replace(self.settings, device="auto", threads=None, batch_size=None, compile=False, aoi=None)
        return settings if polygons else replace(settings, polygons=PolygonSettings())


def check_finished(files: Sequence[Path], sources: Sequence[SceneSource], inputs: Inputs) -> bool:
    """Tell whether all files of a map are there, and no work on it has begun that is to be continued.

    Args:
        files: Outputs that belong together.
        sources: The scenes they are to be made of.
        inputs: What else they are to be made from.

    Raises:
        OutputError: They are there, but were made from something else, or do not tell from what.
    """
    if not files or not all(path.exists() for path in files) or is_begun(work_folder(files[0])):
        return False
    wanted = {polygons: inputs.of(sources, polygons=polygons) for polygons in (False, True)}
    for path in files:
        found = _read(path)
        if found is None:
            raise OutputError(
                f"{path} does not tell what it was made from, so that nobody knows whether it is the map asked for.",
                hint="Leave out --resume to replace it, or name another output. --skip-existing takes it as it is.",
            )
        _check_same(path, found, wanted[path.suffix.lower() != ".tif"])
        _check_older(path, sources)
    return True


def _check_same(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for name, told in _DIFFERENCES.items():
        before, now = found.get(name, ""), wanted[name]
        if before != now:
            raise OutputError(
                f"{path} is there already, made from something else: "
                f"{told.format(before=before or 'the defaults', now=now or 'the defaults')}.",
                hint="Leave out --resume to replace it, or name another output.",
            )


def _check_older(path: Path, sources: Sequence[SceneSource]) -> None:
    """Refuse a map that is older than one of its scenes, whose fingerprint is not of every pixel."""
    made = path.stat().st_mtime_ns
    for file in (Path(name) for source in sources for name in source.paths):
        if file.is_file() and file.stat().st_mtime_ns > made:
            raise OutputError(
                f"{file} was changed after {path} was made from it.",
                hint="Leave out --resume to map it anew.",
            )


def _read(path: Path) -> dict[str, str] | None:
    """Return what a map says it was made from; None where it says nothing, or nothing that can be read."""
    try:
        text = _provenance(path).get(INPUTS)
        found = json.loads(text) if text else None
    except (RasterioError, DataSourceError, DataLayerError, pa.ArrowException, OSError, ValueError):
        return None
    return found if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()) else None


def _provenance(path: Path) -> Mapping[str, str]:
    suffix = path.suffix.lower()
    if suffix == ".tif":
        with open_raster(path) as dataset:
            return dataset.tags()
    if suffix == ".parquet":
        with path.open("rb") as file:
            return {name.decode(): value.decode() for name, value in (pq.read_metadata(file).metadata or {}).items()}
    if suffix == ".geojson":
        with path.open(encoding="utf-8") as file:
            head, _, _ = file.readline().rpartition(', "features"')
        return json.loads(f"{head}}}").get("provenance", {})
    if suffix not in (".gpkg", ".fgb"):
        return {}
    with vector_name(path) as spelt:
        told = pyogrio.read_info(spelt, layer=layer_name(path.stem))["layer_metadata"] or {}
    return json.loads(told.get("DESCRIPTION", "{}")) if suffix == ".fgb" else told
