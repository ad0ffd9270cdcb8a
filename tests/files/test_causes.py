"""What is said of files that cannot be read: the cause that lies deepest, and what can be done about it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.errors import RasterioIOError

from satseg.errors import LabelError, SceneError
from satseg.files.causes import cause, remedy
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.label_files import open_labels
from satseg.raster.scene import Scene

PLACE = Affine(1, 0, 500_000, 0, -1, 5_000_000)


def write(path: Path, transform: Affine = PLACE, **profile: object) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype="uint8")
    size = {"width": 64, "height": 64, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **size, **profile) as file:
        file.write(values)
    return path


def stored_as(path: Path, compression: int) -> Path:
    """Let the header of a TIFF name another compression."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 259:
            struct.pack_into("<H", data, entry + 8, compression)
    path.write_bytes(data)
    return path


def test_a_missing_codec_is_told_by_name_whatever_the_file_is_for(tmp_path: Path) -> None:
    path = stored_as(write(tmp_path / "a.tif", compress="deflate"), 34661)
    with pytest.raises(SceneError, match="missing codec JBIG") as caught:
        Scene.open(path)
    assert "gdal_translate -co COMPRESS=DEFLATE" in caught.value.hint
    with pytest.raises(LabelError, match="missing codec JBIG") as told:
        open_labels(path)
    assert told.value.hint == caught.value.hint


def test_a_file_that_ends_early_is_told_by_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", compress="deflate")
    path.write_bytes(path.read_bytes()[:-600])
    with Scene.open(path) as scene, pytest.raises(SceneError, match=r"got \d+ bytes, expected \d+") as caught:
        scene.read(rasterio.windows.Window(0, 0, 64, 64))
    assert "truncated" in caught.value.hint


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        ("Unsupported JPEG data precision 12", "does not support its compression"),
        ("'utf-8' codec can't decode byte 0xe4 in position 0: unexpected end of data", "CP1252, to NAME.cpg"),
        ("Unable to open a.shx. Set SHAPE_RESTORE_SHX config option to YES", "copy all files of the Shapefile"),
        ("Nonlinear geometry types are not currently supported.", "CONVERT_TO_LINEAR"),
        ("database disk image is malformed", "damaged"),
        ("something else", None),
    ],
)
def test_known_causes_have_a_remedy(told: str, hint: str | None) -> None:
    found = remedy(ValueError(told))
    assert found is None if hint is None else hint in str(found)


def test_the_deepest_cause_of_gdal_is_told_on_one_line_without_its_advice_for_programmers() -> None:
    deepest = RasterioIOError("strip 3\nis cut off.")
    above = RasterioIOError("Read failed. See previous exception for details.")
    above.__cause__ = deepest
    assert cause(above) == "strip 3 is cut off"
    assert cause(ValueError("no format; It might help to specify the correct driver explicitly")) == "no format"


@pytest.mark.parametrize(
    "transform",
    [
        Affine(0, 0, 5, 0, 0, 5),
        Affine(1, 1, 5, 1, 1, 5),
        Affine(float("nan"), 0, 5, 0, -1, 5),
        Affine(1, 0, float("inf"), 0, -1, 5),
    ],
)
def test_pixels_without_size_or_place_are_told(tmp_path: Path, transform: Affine) -> None:
    path = write(tmp_path / "a.tif", transform)
    with pytest.raises(SceneError, match=r"a\.tif has an invalid geotransform"):
        Scene.open(path)


def test_a_mosaic_that_is_made_from_itself_is_told(tmp_path: Path) -> None:
    band = (
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    for name, source in (("one.vrt", "one.vrt"), ("a.vrt", "b.vrt"), ("b.vrt", "a.vrt")):
        (tmp_path / name).write_text(band.format(source))
    for name in ("one.vrt", "a.vrt"):
        with pytest.raises(SceneError, match=rf"{name} refers to itself"):
            Scene.open(tmp_path / name)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "not an object"),
        (b'{"primary_column": "nope", "columns": {}}', r"geo\.primary_column is .nope., and there is no such column"),
        (b'{"primary_column": "geometry", "columns": {}}', r"geo\.columns\.geometry is missing"),
        (
            b'{"primary_column": "geometry", "columns": {"geometry": {}}}',
            r"geo\.columns\.geometry\.encoding is missing",
        ),
        (b'{"primary_column": "geometry", "columns": {"geometry": {"encoding": 5}}}', "geometries as 5, not as WKB"),
        (b'{"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": 5}}}', "cannot be read"),
    ],
)
def test_geoparquet_that_describes_itself_wrongly_is_told(tmp_path: Path, described: bytes, said: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"geometry": [shapely.to_wkb(shapely.box(0, 0, 1, 1))]})
    pq.write_table(table.replace_schema_metadata({b"geo": described}), path)
    with pytest.raises(LabelError, match=said):
        VectorLayer.open(str(path))


def test_a_pipe_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match=r"pipe\.tif is a pipe, not a file"):
        Scene.open(tmp_path / "pipe.tif")
    with pytest.raises(LabelError, match=r"pipe\.tif are a pipe, not a file"):
        open_labels(tmp_path / "pipe.tif")


def test_folders_and_empty_files_are_called_that(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    with pytest.raises(SceneError, match=r"empty\.tif is empty: it has 0 bytes"):
        Scene.open(tmp_path / "empty.tif")
    with pytest.raises(SceneError, match="is a folder, not a raster"):
        Scene.open(tmp_path)
