"""Compare finished maps with the inputs of a run that resumes: the same inputs leave nothing to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rasterio.errors import RasterioError

from satseg.errors import OutputError
from satseg.files.atomic_write import work_folder
from satseg.files.names import layer_name, open_raster, vector_name
from satseg.files.ogr import DataLayerError, DataSourceError, pyogrio
from satseg.mapfile.map_work import is_begun
from satseg.prediction.provenance import INPUTS_TAG, Provenance
from satseg.raster.source import SceneSource

_DIFFERENCES = {
    "scene": "the scene was another one, or has changed",
    "extra": "the extra rasters were other ones, or have changed",
    "model": "the model was {before}, now it is {now} (trained further, where only the content differs)",
    "options": "the options were {before}, now they are {now}",
    "area": "the area of interest was another one, or has changed",
}


def check_finished(files: Sequence[Path], sources: Sequence[SceneSource], provenance: Provenance) -> bool:
    """Tell whether all files of a map are there, and there is no unfinished work on it to continue.

    Args:
        files: Outputs that belong together.
        sources: The scenes of the map.
        provenance: What else the map follows from.

    Raises:
        OutputError: They are there, but were made from other inputs, or do not store from which.
    """
    if not files or not all(path.exists() for path in files) or is_begun(work_folder(files[0])):
        return False
    wanted = {polygons: provenance.inputs(sources, polygons=polygons) for polygons in (False, True)}
    for path in files:
        found = _read(path)
        if found is None:
            raise OutputError(
                f"{path} does not store what it was made from, so that it may be another map.",
                hint="Leave out `resume` to replace it, or name another output; `skip_existing` keeps it as it is.",
            )
        _check_same(path, found, wanted[path.suffix.lower() != ".tif"])
        _check_older(path, sources)
    return True


def _check_same(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    for name, phrase in _DIFFERENCES.items():
        before, now = found.get(name, ""), wanted[name]
        if before != now:
            raise OutputError(
                f"{path} exists, but was made from other inputs: "
                f"{phrase.format(before=before or 'the defaults', now=now or 'the defaults')}.",
                hint="Leave out `resume` to replace it, or name another output.",
            )


def _check_older(path: Path, sources: Sequence[SceneSource]) -> None:
    """Refuse a map that is older than a file of its scenes, whose fingerprint is not of every pixel."""
    made = path.stat().st_mtime_ns
    for file in (Path(name) for source in sources for name in source.files):
        if file.is_file() and file.stat().st_mtime_ns > made:
            raise OutputError(
                f"{file} was changed after {path} was made from it.",
                hint="Leave out `resume` to map it anew.",
            )


def _read(path: Path) -> dict[str, str] | None:
    """Return the inputs that a map stores; None where it stores none, or none that can be read."""
    try:
        text = _tags(path).get(INPUTS_TAG)
        found = json.loads(text) if text else None
    except (RasterioError, DataSourceError, DataLayerError, pa.ArrowException, OSError, ValueError):
        return None
    return found if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()) else None


def _tags(path: Path) -> Mapping[str, str]:
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
        tags = pyogrio.read_info(spelt, layer=layer_name(path.stem))["layer_metadata"] or {}
    return json.loads(tags.get("DESCRIPTION", "{}")) if suffix == ".fgb" else tags
