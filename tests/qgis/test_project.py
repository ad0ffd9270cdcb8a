"""The QGIS project: well-formed, complete, and with paths that still lead to the files when the folder moves."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from satseg.classes import ClassTable
from satseg.workflows.qgis_project import Layer, write_project

TABLE = ClassTable.from_names(["background", "roof & yard"])
KINDS = {"scene": "gdal", "polygons": "ogr", "outlines": "ogr"}


@pytest.fixture
def project(tmp_path: Path) -> ElementTree.Element:
    layers = [Layer(f"<{kind}>", tmp_path / "in" / f"a & {kind}.x", kind, visible=kind == "scene") for kind in KINDS]
    bounds = (1.5, 2.0, 3.0, 4.25)
    write_project(tmp_path / "p.qgs", layers, title="a < b", crs="EPSG:32645", bounds=bounds, table=TABLE)
    assert (tmp_path / "p.qgs").read_text(encoding="utf-8").startswith("<!DOCTYPE qgis")
    return ElementTree.parse(tmp_path / "p.qgs").getroot()


def test_every_layer_is_listed_in_order_and_described(project: ElementTree.Element) -> None:
    listed, described = project.findall("layer-tree-group/layer-tree-layer"), project.findall("projectlayers/maplayer")
    assert [entry.get("id") for entry in listed] == [layer.findtext("id") for layer in described]
    assert [entry.get("name") for entry in listed] == [f"<{kind}>" for kind in KINDS]
    assert [entry.get("checked") for entry in listed] == ["Qt::Checked"] + ["Qt::Unchecked"] * 2
    assert [layer.findtext("provider") for layer in described] == list(KINDS.values())
    assert [layer.get("type") for layer in described] == ["raster", "vector", "vector"]


def test_paths_are_relative_to_the_project(project: ElementTree.Element) -> None:
    assert [source.text for source in project.iter("datasource")] == [f"./in/a & {kind}.x" for kind in KINDS]
    assert project.findtext("properties/Paths/Absolute") == "false"


def test_crs_and_extent_are_those_given(project: ElementTree.Element) -> None:
    assert [entry.text for entry in project.iter("authid")] == ["EPSG:32645"] * (2 + len(KINDS))
    extent = project.find("mapcanvas/extent")
    assert extent is not None
    assert [float(extent.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax")] == [1.5, 2.0, 3.0, 4.25]
    assert project.findtext("title") == "a < b"


def test_polygons_have_the_colours_of_their_classes(project: ElementTree.Element) -> None:
    categories = [(entry.get("value"), entry.get("label")) for entry in project.iter("category")]
    assert categories == [(str(entry.id), entry.name) for entry in TABLE]
    fills = [option.get("value") for option in project.iter("Option") if option.get("name") == "color"]
    assert fills == [",".join(map(str, (*entry.rgb, 255))) for entry in TABLE]
