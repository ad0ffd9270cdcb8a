"""Which files on this machine a name stands for, however it is spelt."""

from __future__ import annotations

import os
from pathlib import Path

import geopandas
import pytest
import shapely
from scene_files import numbered, write_mosaic, write_scene

from satseg.files.local_files import local_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path / "a.tif", numbered(1, 8, 8))
    for name in ("x.nc", "x y.h5", "a.zip", "a.tar", "a.gz", "pic.gpkg", "S2 a.zip", "b.jp2", "a.shp", "a.dbf"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    write_mosaic(tmp_path / "m.vrt", [(str(tmp_path / "a.tif"), tmp_path / "a.tif")])
    (tmp_path / "v.vrt").write_text(
        "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource relativeToVRT='1'>a.shp</SrcDataSource></OGRVRTLayer>"
        "</OGRVRTDataSource>"
    )
    return tmp_path


NAMES = {
    "a.tif": ["a.tif"],
    "./sub/../a.tif": ["a.tif"],
    "file://{folder}/a.tif": ["a.tif"],
    "vrt://a.tif?bands=1": ["a.tif"],
    "vrt://m.vrt?bands=1": ["a.tif", "m.vrt"],
    "vrt://{folder}/a.tif?bands=1&outsize=4,4": ["a.tif"],
    "GTIFF_DIR:1:a.tif": ["a.tif"],
    "GTIFF_DIR:off:8:{folder}/a.tif": ["a.tif"],
    "GPKG:pic.gpkg:pic": ["pic.gpkg"],
    "pic.gpkg|layername=x": ["pic.gpkg"],
    'NETCDF:"x.nc":temperature': ["x.nc"],
    "NETCDF:x.nc:temperature": ["x.nc"],
    'HDF5:"{folder}/x y.h5"://group/data': ["x y.h5"],
    "SENTINEL2_L2A:/vsizip/{folder}/S2 a.zip/S2.SAFE/MTD.xml:10m:EPSG_32632": ["S2 a.zip"],
    "/vsizip/a.zip/in/b.tif": ["a.zip"],
    "/vsizip/{folder}/a.zip/in/b.tif": ["a.zip"],
    "/vsizip/{{{folder}/a.zip}}/in/b.tif": ["a.zip"],
    "zip://a.zip!in/b.tif": ["a.zip"],
    "zip+file://{folder}/a.zip!b.tif": ["a.zip"],
    "tar://a.tar!b.tif": ["a.tar"],
    "/vsitar/a.tar/b.tif": ["a.tar"],
    "/vsigzip/a.gz": ["a.gz"],
    "/vsisubfile/0_100,a.tif": ["a.tif"],
    "m.vrt": ["a.tif", "m.vrt"],
    "v.vrt": ["a.dbf", "a.shp", "v.vrt"],
    "a.shp": ["a.dbf", "a.shp"],
    "none.tif": [],
    "https://host/a.tif": [],
    "/vsicurl/https://host/a.tif": [],
    "/vsizip//vsicurl/https://host/a.zip/a.tif": [],
    "PG:dbname=x": [],
    "": [],
    "a\0b.tif": [],
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_stands_for_its_files(folder: Path, name: str) -> None:
    found = local_files(name.format(folder=folder))
    assert [path.resolve() for path in found] == [folder / file for file in NAMES[name]]


def test_a_mosaic_may_be_given_as_text(folder: Path) -> None:
    assert local_files((folder / "m.vrt").read_text()) == [folder / "a.tif"]


def test_a_folder_stands_for_all_that_it_holds(folder: Path) -> None:
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32632")
    frame.to_file(folder / "a.gdb", driver="OpenFileGDB")
    assert set(local_files("a.gdb|layername=a")) == {path for path in (folder / "a.gdb").rglob("*") if path.is_file()}


def test_mosaics_that_refer_to_each_other_end(folder: Path) -> None:
    text = (folder / "m.vrt").read_text()
    (folder / "n.vrt").write_text(text.replace(str(folder / "a.tif"), str(folder / "o.vrt")))
    (folder / "o.vrt").write_text(text.replace(str(folder / "a.tif"), str(folder / "n.vrt")))
    assert set(local_files("n.vrt")) >= {folder / "n.vrt"}


def test_nobody_waits_for_a_pipe_or_a_device(folder: Path) -> None:
    os.mkfifo(folder / "pipe.tif")
    assert local_files("pipe.tif") == local_files("/dev/zero") == []
