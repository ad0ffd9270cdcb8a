"""The QGIS project: well-formed, complete, and with paths that still lead to the files when the folder moves.

Covers ``style``, ``raster_style`` and ``outputs/project_file``.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pyproj import CRS

from satseg.classes import ClassTable
from satseg.errors import OutputError
from satseg.outputs.writable import check_file
from satseg.qgis.project import Group, Layer, can_name, write_project
from satseg.qgis.raster_style import classes, image, palette, shares
from satseg.qgis.style import outlines, qml, renderer

TABLE = ClassTable.from_names(["background", "roof & yard"])
UTM = "EPSG:32645"
BOUNDS = (1.5, 2.0, 3.0, 4.25)


def layers(folder: Path) -> list[Layer]:
    return [
        Layer("<polygons>", folder / "in" / "a & b.gpkg", renderer(list(TABLE)), UTM, vector=True, table="a & b"),
        Layer("classes", folder / "in" / "ü.tif", classes(TABLE), UTM, visible=False),
        Layer("scene", "/vsicurl/https://host/a.tif?x=1&y=2", image((3, 2, 1)), "EPSG:4326"),
    ]


def write(path: Path, entries: list[Layer | Group], *, crs: str | None = UTM) -> ElementTree.Element:
    write_project(path, entries, title="a < b", crs=crs, bounds=BOUNDS)
    return ElementTree.parse(path).getroot()


@pytest.fixture
def project(tmp_path: Path) -> ElementTree.Element:
    first, *others = layers(tmp_path)
    root = write(tmp_path / "p.qgs", [first, Group("west & east", tuple(others))])
    assert (tmp_path / "p.qgs").read_text(encoding="utf-8").startswith("<!DOCTYPE qgis")
    return root


def test_every_layer_is_listed_in_order_and_described(project: ElementTree.Element) -> None:
    listed, described = list(project.iter("layer-tree-layer")), project.findall("projectlayers/maplayer")
    assert [entry.get("id") for entry in listed] == [layer.findtext("id") for layer in described]
    assert [entry.get("name") for entry in listed] == ["<polygons>", "classes", "scene"]
    assert [entry.get("checked") for entry in listed] == ["Qt::Checked", "Qt::Unchecked", "Qt::Checked"]
    assert [layer.findtext("provider") for layer in described] == ["ogr", "gdal", "gdal"]
    assert [layer.get("type") for layer in described] == ["vector", "raster", "raster"]


def test_layers_of_a_scene_are_below_its_name(project: ElementTree.Element) -> None:
    top = project.find("layer-tree-group")
    assert top is not None
    assert [(entry.tag, entry.get("name")) for entry in top] == [
        ("layer-tree-layer", "<polygons>"),
        ("layer-tree-group", "west & east"),
    ]
    assert [entry.get("name") for entry in top[1]] == ["classes", "scene"]


def test_paths_are_relative_to_the_project_and_urls_as_they_are(project: ElementTree.Element) -> None:
    assert [source.text for source in project.iter("datasource")] == [
        "./in/a & b.gpkg|layername=a & b",
        "./in/ü.tif",
        "/vsicurl/https://host/a.tif?x=1&y=2",
    ]
    assert project.findtext("properties/Paths/Absolute") == "false"


@pytest.mark.parametrize("place", ["p.qgs", "sub/p.qgs", "../p.qgs"])
def test_paths_are_relative_wherever_the_project_lies(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    root = write(Path(place), [Layer("a", Path("out") / "a.tif", image((1,)), None)])
    source = root.findtext("projectlayers/maplayer/datasource") or ""
    assert Path(os.path.normpath(Path(place).absolute().parent / source)) == tmp_path / "here" / "out" / "a.tif"


def test_crs_and_extent_are_those_given(project: ElementTree.Element) -> None:
    assert [entry.text for entry in project.iter("authid")] == [UTM] * 4 + ["EPSG:4326"]
    assert [CRS(entry.text).to_epsg() for entry in project.iter("wkt")] == [32645] * 4 + [4326]
    extent = project.find("mapcanvas/extent")
    assert extent is not None
    assert [float(extent.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax")] == list(BOUNDS)
    assert project.findtext("title") == "a < b"


def test_a_crs_without_a_code_is_given_by_its_definition(tmp_path: Path) -> None:
    wkt = CRS("+proj=laea +lat_0=12 +lon_0=8").to_wkt()
    root = write(tmp_path / "p.qgs", [Layer("a", tmp_path / "a.tif", image((1,)), wkt)], crs=wkt)
    assert not list(root.iter("authid"))
    assert {CRS(entry.text) for entry in root.iter("wkt")} == {CRS(wkt)}


def test_without_a_crs_none_is_stated(tmp_path: Path) -> None:
    write_project(
        tmp_path / "p.qgs", [Layer("a", tmp_path / "a.tif", image((1,)), None)], title="t", crs=None, bounds=None
    )
    root = ElementTree.parse(tmp_path / "p.qgs").getroot()
    assert not list(root.iter("spatialrefsys"))
    assert root.find("mapcanvas/extent") is None


def test_polygons_have_the_colours_of_their_classes(project: ElementTree.Element) -> None:
    categories = [(entry.get("value"), entry.get("label")) for entry in project.iter("category")]
    assert categories == [(str(entry.id), entry.name) for entry in TABLE]
    fills = [option.get("value") for option in project.iter("Option") if option.get("name") == "color"]
    assert [fill.rpartition(",")[0] for fill in map(str, fills)] == [",".join(map(str, entry.rgb)) for entry in TABLE]


def test_the_style_of_a_file_is_that_of_its_layer_in_a_project() -> None:
    style = ElementTree.fromstring(qml(TABLE))
    assert ElementTree.tostring(style[0]) == ElementTree.tostring(ElementTree.fromstring(renderer(list(TABLE))))


def test_the_background_of_classes_is_transparent() -> None:
    entries = list(ElementTree.fromstring(classes(TABLE)).iter("paletteEntry"))
    assert [(entry.get("value"), entry.get("label"), entry.get("alpha")) for entry in entries] == [
        ("0", "background", "0"),
        ("1", "roof & yard", "255"),
    ]
    assert [entry.get("color") for entry in entries] == [entry.colour for entry in TABLE]


def test_colours_of_a_palette_are_those_of_its_values() -> None:
    entries = list(ElementTree.fromstring(palette({0: (1, 2, 3, 255), 7: (255, 16, 0, 0)})).iter("paletteEntry"))
    assert [(entry.get("value"), entry.get("color"), entry.get("alpha")) for entry in entries] == [
        ("0", "#010203", "255"),
        ("7", "#ff1000", "0"),
    ]


@pytest.mark.parametrize(("bands", "kind"), [((4, 3, 2), "multibandcolor"), ((2,), "singlebandgray")])
def test_bands_of_an_image_are_stretched_between_their_values(bands: tuple[int, ...], kind: str) -> None:
    ranges = [(10.5 * band, 1000.0 * band) for band in bands]
    drawn = ElementTree.fromstring(image(bands, ranges, alpha=5)).find("rasterrenderer")
    assert drawn is not None
    assert (drawn.get("type"), drawn.get("alphaBand")) == (kind, "5")
    named = [drawn.get(f"{name}Band") for name in ("red", "green", "blue", "gray") if drawn.get(f"{name}Band")]
    assert named == [str(band) for band in bands]
    found = [
        (float(stretch.findtext("minValue") or ""), float(stretch.findtext("maxValue") or "")) for stretch in drawn
    ]
    assert found == ranges


def test_bytes_are_drawn_as_they_are() -> None:
    for bands in ((1,), (1, 2, 3)):
        drawn = ElementTree.fromstring(image(bands)).find("rasterrenderer")
        assert drawn is not None
        assert len(drawn) == 0


def test_shares_run_from_their_lowest_to_their_highest_value() -> None:
    items = list(ElementTree.fromstring(shares((0.25, 1.0), band=3)).iter("item"))
    assert [float(item.get("value") or "") for item in items] == [0.25, 0.4375, 0.625, 0.8125, 1.0]


def test_polygons_without_classes_are_outlined() -> None:
    options = {option.get("name"): option.get("value") for option in ElementTree.fromstring(outlines()).iter("Option")}
    assert options["style"] == "no"
    assert options["outline_style"] == "solid"


@pytest.mark.parametrize("name", [os.fsdecode(b"b\xe2t.tif"), "a\nb.tif", "a\x01.tif"])
def test_names_that_are_no_text_cannot_stand_in_a_project(name: str) -> None:
    assert not can_name(Path("ü & <b>.tif").with_name(name))
    assert can_name(Path("ü & <b> '\".tif"))


def test_a_project_that_satseg_wrote_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "p.qgs"
    before = path.read_bytes() if write(path, list(layers(tmp_path))) is not None else b""
    check_file(path)
    write(path, layers(tmp_path)[:1])
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_project_that_qgis_has_saved_stays(tmp_path: Path) -> None:
    path = tmp_path / "p.qgs"
    path.write_text('<!DOCTYPE qgis><qgis projectname="mine"/>')
    with pytest.raises(OutputError, match=r"p\.qgs was saved by QGIS or another program"):
        check_file(path)
    with pytest.raises(OutputError, match=r"p\.qgs was saved by QGIS or another program"):
        write(path, list(layers(tmp_path)))
    assert "mine" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
