"""A fingerprint changes with whatever belongs to an input, and with nothing else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, nullcontext
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from ranged_server import RangedServer
from scene_files import numbered, write_mosaic, write_scene

from satseg.files.fingerprint import fingerprint
from satseg.files.gdal import gdal_environment


def zipped(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(file, "in/a.tif")
    return folder / "a.zip"


def edit(path: Path) -> None:
    """Change one byte, and neither size nor time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        (last,) = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def boxes(path: Path, size: int = 9) -> Path:
    geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, size, size)], crs="EPSG:32632").to_file(path, layer="x")
    return path


def mask(folder: Path) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "a.tif", "r+") as dataset:
        dataset.write_mask(np.eye(8, dtype=bool))
    return folder / "a.tif.msk"


def vrt(folder: Path) -> Path:
    write_mosaic(folder / "m.vrt", [("a.tif", folder / "a.tif")])
    write_mosaic(folder / "n.vrt", [("m.vrt", folder / "m.vrt")])
    (folder / "m.vrt").write_text((folder / "m.vrt").read_text().replace('VRT="0">a.tif', 'VRT="1">a.tif'))
    (folder / "n.vrt").write_text((folder / "n.vrt").read_text().replace('VRT="0">m.vrt', 'VRT="1">m.vrt'))
    return folder / "a.tif"


CASES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "file": ("a.tif", lambda folder: folder / "a.tif"),
    "odd": ("b!;[1]?.tif", lambda folder: Path(shutil.copy(folder / "a.tif", folder / "b!;[1]?.tif"))),
    "mask": ("a.tif", mask),
    "world file": ("a.tif", lambda folder: Path(shutil.copy(folder / "a.tif", folder / "a.tfw"))),
    "mosaic": ("n.vrt", vrt),
    "archive": ("/vsizip/a.zip/in/a.tif", lambda folder: zipped(folder, folder / "a.tif")),
    "archive, as a URL": ("zip://a.zip!in/a.tif", lambda folder: zipped(folder, folder / "a.tif")),
    "band": ("vrt://a.tif?bands=1", lambda folder: folder / "a.tif"),
    "band of a mosaic": ("vrt://n.vrt?bands=1", vrt),
    "page": ("GTIFF_DIR:1:a.tif", lambda folder: folder / "a.tif"),
    "layer": ("a.gpkg|layername=x", lambda folder: boxes(folder / "a.gpkg")),
    "attributes": ("a.shp", lambda folder: boxes(folder / "a.shp").with_suffix(".dbf")),
}


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_change_of_what_belongs_to_an_input_is_noticed(
    tmp_path: Path, case: str, dated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "a.tif", numbered(1, 8, 8, "uint8"))
    name, make = CASES[case]
    changing = make(tmp_path)
    with gdal_environment():
        made = fingerprint([name], dated=dated)
    edit(changing)
    with gdal_environment():
        assert fingerprint([name], dated=dated) != made


def test_rows_that_lie_in_the_log_of_a_geopackage_count(tmp_path: Path) -> None:
    path = boxes(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        before = fingerprint([f"{path}|layername=x"])
        connection.execute("UPDATE gpkg_contents SET description = 'new'")
        connection.commit()
        assert fingerprint([f"{path}|layername=x"]) != before


def test_what_other_programs_leave_beside_a_raster_does_not_count(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", numbered(1, 8, 8, "uint8"))
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset>\n</PAMDataset>")
    before = fingerprint([path], dated=True)
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset>\n  <MDI key="STATISTICS_MAXIMUM">63</MDI>\n  <Histograms>1</Histograms></PAMDataset>'
    )
    (tmp_path / "a.tif.ovr").write_bytes(b"overviews")
    assert fingerprint([path], dated=True) == before
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset>\n<SRS>EPSG:32633</SRS></PAMDataset>")
    assert fingerprint([path], dated=True) != before


def test_without_dates_equal_files_have_equal_fingerprints(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "a.tif", tmp_path / "two" / "a.tif"]
    for path in paths:
        path.parent.mkdir()
        write_scene(path, numbered(1, 8, 8, "uint8"))
    os.utime(paths[0], (1, 1))
    assert fingerprint(paths[:1]) == fingerprint(paths[1:])
    assert fingerprint(paths[:1], dated=True) != fingerprint(paths[1:], dated=True)


def test_long_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.files.fingerprint.WHOLE_BYTES", 2**16)
    path = tmp_path / "long.dat"
    path.write_bytes(bytes(10**6))
    seen = {fingerprint([path])}
    for place in (0, 10**6 - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        seen.add(fingerprint([path]))
    assert len(seen) == 3


def test_remote_files_are_told_by_what_the_server_says_of_them(
    ranged_server: RangedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(ranged_server.folder / "a.tif", numbered(1, 8, 8, "uint8"))
    url = ranged_server.url("a.tif")
    before = fingerprint([url])
    assert [request.method for request in ranged_server.requests()] == ["HEAD"]
    assert fingerprint([f"{url}?sig=today"]) == before
    assert fingerprint([f"/vsicurl/{url}"]) == before
    assert fingerprint([ranged_server.url("fail-2/a.tif")]) == before
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"127.0.0.1:{ranged_server.port}")
    for name, value in [("HTTPS", "NO"), ("VIRTUAL_HOSTING", "FALSE"), ("NO_SIGN_REQUEST", "YES")]:
        monkeypatch.setenv(f"AWS_{name}", value)
    (ranged_server.folder / "bucket").mkdir()
    shutil.copy2(path, ranged_server.folder / "bucket" / "a.tif")
    assert fingerprint(["s3://bucket/a.tif"]) == before
    edit(path)
    os.utime(path, (1, 1))
    assert fingerprint([url]) != before


def test_urls_that_are_signed_for_reading_alone_are_asked_by_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Request, timeout: float) -> Any:
        asked.append(request.get_method())
        if request.get_method() == "HEAD":
            raise HTTPError(request.full_url, 403, "Forbidden", Message(), None)
        headers = Message()
        headers["ETag"], headers["Content-Range"] = '"1"', "bytes 0-0/77"
        return nullcontext(SimpleNamespace(headers=headers))

    monkeypatch.setattr("satseg.files.fingerprint.urlopen", answer)
    one = fingerprint(["https://host/a.tif?sig=1"])
    assert asked == ["HEAD", "GET"]
    assert fingerprint(["https://host/a.tif?sig=2"]) == one
    assert fingerprint(["https://host/b.tif"]) != one


def test_where_only_gdal_has_the_keys_the_head_of_a_raster_tells(
    ranged_server: RangedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satseg.files.fingerprint.web_address", lambda name: None)
    values = np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8)
    for name, changed in (("a", values), ("b", values // 2)):
        (ranged_server.folder / name).mkdir()
        write_scene(ranged_server.folder / name / "x.tif", values if name == "a" else changed, compress="deflate")
    before = fingerprint([ranged_server.url("a/x.tif")])
    assert fingerprint([ranged_server.url("a/x.tif?sig=1")]) == before
    assert fingerprint([ranged_server.url("b/x.tif")]) != before


def test_archives_on_servers_and_remote_members_of_mosaics_count(ranged_server: RangedServer, tmp_path: Path) -> None:
    local = write_scene(tmp_path / "a.tif", numbered(1, 8, 8, "uint8"))
    served = Path(shutil.copy2(local, ranged_server.folder))
    archive = zipped(ranged_server.folder, local)
    write_mosaic(tmp_path / "m.vrt", [(f"/vsicurl/{ranged_server.url('a.tif')}", local)])
    names = [str(tmp_path / "m.vrt"), f"/vsizip//vsicurl/{ranged_server.url('a.zip')}/in/a.tif"]
    with gdal_environment():
        before = [fingerprint([name]) for name in names]
        os.utime(served, (1, 1))
        os.utime(archive, (1, 1))
        after = [fingerprint([name]) for name in names]
    assert before[0] != after[0]
    assert before[1] != after[1]
