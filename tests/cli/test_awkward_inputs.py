"""Files that are broken, empty or of another kind: every command answers them with one sentence, or takes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine

PLACE = Affine(1, 0, 500_000, 0, -1, 5_000_000)
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'
ENGINEERING = 'ENGCRS["site",EDATUM["corner"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'


def raster(path: Path, dtype: str = "uint8", side: int = 64, bands: int = 1, **profile: object) -> None:
    values = np.random.default_rng(0).integers(0, 2, (bands, side, side))
    given = {"crs": "EPSG:32632", "transform": PLACE, "width": side, "height": side, "count": bands, "dtype": dtype}
    with rasterio.open(path, "w", **{"driver": "GTiff", **given, **profile}) as file:
        file.write(values.astype("complex64" if dtype.startswith("complex") else dtype))


def features(path: Path, geometry: object = None, **columns: object) -> None:
    shape = shapely.box(500_010, 4_999_950, 500_040, 4_999_990) if geometry is None else geometry
    geopandas.GeoDataFrame({"cls": ["a"]} | columns, geometry=[shape], crs="EPSG:32632").to_file(path)


def vrt(path: Path, source: str) -> None:
    path.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
    )


def collection(path: Path, properties: object) -> None:
    shape = json.loads(shapely.to_geojson(shapely.box(9, 45.15, 9.001, 45.16)))
    found = {"type": "Feature", "properties": properties, "geometry": shape}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [found]}))


def parquet(path: Path, geo: bytes | None) -> None:
    table = pa.table({"geometry": [b"\1\2"], "cls": [["a"]]})
    pq.write_table(table.replace_schema_metadata({b"geo": geo} if geo else {}), path)


GEO = b'{"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "geometry_types": []}}}'
AWKWARD: dict[str, Callable[[Path], object]] = {
    "empty.tif": Path.touch,
    "empty.gpkg": Path.touch,
    "empty.geojson": Path.touch,
    "empty.parquet": Path.touch,
    "folder.tif": Path.mkdir,
    "text.tif": lambda path: path.write_text("no raster"),
    "text.gpkg": lambda path: path.write_text("no database"),
    "deep.geojson": lambda path: path.write_text("[" * 100_000),
    "null.geojson": lambda path: path.write_text("null"),
    "loop.tif": lambda path: path.symlink_to(path.name),
    "dangling.tif": lambda path: path.symlink_to("nowhere.tif"),
    "complex.tif": lambda path: raster(path, "complex64"),
    "complex-integers.tif": lambda path: raster(path, "complex_int16"),
    "wide-integers.tif": lambda path: raster(path, "int64", nodata=2**62),
    "one-pixel.tif": lambda path: raster(path, side=1),
    "local.tif": lambda path: raster(path, crs=LOCAL),
    "engineering.tif": lambda path: raster(path, crs=ENGINEERING),
    "nowhere.tif": lambda path: raster(path, transform=Affine(float("nan"), 0, 5, 0, -1, 5)),
    "no-size.tif": lambda path: raster(path, transform=Affine(0, 0, 5, 0, 0, 5)),
    "on-a-line.tif": lambda path: raster(path, transform=Affine(1, 1, 5, 1, 1, 5)),
    "itself.vrt": lambda path: vrt(path, path.name),
    "of-nothing.vrt": lambda path: vrt(path, "nowhere.tif"),
    "no-band.vrt": lambda path: path.write_text('<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>'),
    "list.geojson": lambda path: collection(path, {"cls": ["a", "b"]}),
    "object.geojson": lambda path: collection(path, {"cls": {"a": 1}}),
    "no-properties.geojson": lambda path: collection(path, None),
    "infinite.gpkg": lambda path: features(path, shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)])),
    "point.gpkg": lambda path: features(path, shapely.Point(500_010, 4_999_950)),
    "no-geometry.gpkg": lambda path: features(path, shapely.Polygon()),
    "control.gpkg": lambda path: features(path, cls=["a\x1b[31m\tb\nc"]),
    "bytes.gpkg": lambda path: features(path, cls=[b"\xff\0"]),
    "no-class.gpkg": lambda path: features(path, cls=[None]),
    "latin-1.geojson": lambda path: path.write_bytes(b'{"type": "Point", "coordinates": [1, 2], "cls": "\xe4"}'),
    "broken-wkb.parquet": lambda path: parquet(path, GEO),
    "broken-header.parquet": lambda path: parquet(path, b"{"),
    "no-header.parquet": lambda path: parquet(path, None),
}


# Exit codes of the commands below, in their order; a file that is not listed is refused by all of them with 1.
EXIT_CODES = {
    "folder.tif": "21111111",
    "wide-integers.tif": "00001000",
    "one-pixel.tif": "00101000",
    "local.tif": "01111111",
    "engineering.tif": "01111111",
    "of-nothing.vrt": "01111111",
    "list.geojson": "01110100",
    "object.geojson": "01100100",
    "no-properties.geojson": "01110100",
    "infinite.gpkg": "01111111",
    "point.gpkg": "01111111",
    "no-geometry.gpkg": "01111111",
    "control.gpkg": "01100100",
    "bytes.gpkg": "01100100",
    "no-class.gpkg": "01100100",
    "latin-1.geojson": "01111111",
    "broken-wkb.parquet": "01111111",
}
ONCE_A_SURPRISE = [
    "complex-integers.tif",
    "engineering.tif",
    "nowhere.tif",
    "no-size.tif",
    "itself.vrt",
    "loop.tif",
    "list.geojson",
    "infinite.gpkg",
    "broken-header.parquet",
]


@pytest.mark.parametrize(
    "name", [name if name in ONCE_A_SURPRISE else pytest.param(name, marks=pytest.mark.slow) for name in AWKWARD]
)
def test_awkward_files_are_answered_with_a_sentence(
    name: str, satseg: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene, labels, path = tmp_path / "scene.tif", tmp_path / "labels.gpkg", tmp_path / name
    raster(scene)
    features(labels)
    AWKWARD[name](path)
    tiling = ("--size", 32, "--block", 32, "--threads", 1, "-o")
    codes = ""
    for words in (
        ("info", path),
        ("vectorize", path, "-o", "polygons.geojsonl"),
        ("tile", path, "-l", labels, *tiling, "one"),
        ("tile", scene, "-l", path, "--class-field", "cls", *tiling, "two"),
        ("tile", scene, "-l", labels, "--labelled-area", path, *tiling, "three"),
        ("tile", scene, "-l", labels, "--extra", path, *tiling, "four"),
        ("evaluate", scene, "-l", path, "--pixels-only"),
        ("evaluate", path, "-l", scene, "--pixels-only"),
    ):
        done = satseg(*words)
        codes += str(done.code)
        assert "Unexpected error" not in done.stderr, (words, done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == (done.code != 0), done.stderr
    assert codes == EXIT_CODES.get(name, "1" * 8)
