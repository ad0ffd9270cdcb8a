"""The project of a prediction: which layers it has, in which order and where they are."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from affine import Affine
from made_scenes import GRID, write_scene
from predictors import predictor_of, use_predictor
from torch import Tensor, nn

from satseg.classes import ClassTable
from satseg.errors import OutputError, UsageError
from satseg.inference.network import Network
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.raster.source import SceneSource
from satseg.records import BandStatistics
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.map_project import MapProject
from satseg.workflows.predict import predict, predict_scenes

TABLE = ClassTable.from_names(["background", "grey", "bright"])
SETTINGS = PredictionSettings(window=64, threads=1)


class Thresholds(nn.Module):
    """Three classes by the value of the only band."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([80 - images, 40 - (images - 120).abs(), images - 160], dim=1) * 10


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = BandStatistics(1, (0.0,), (1.0,), (0.0,), (255.0,))
    network = Network(Thresholds(), classes=TABLE, statistics=statistics, device=torch.device("cpu"))
    use_predictor(monkeypatch, predictor_of(network, SETTINGS))


def scene(path: Path, *, east: float = 0, **profile: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = np.random.default_rng(1).choice(np.array([20, 120, 240], np.uint8), (1, 8, 8)).repeat(8, 1).repeat(8, 2)
    return write_scene(path, values, **{"transform": Affine.translation(east, 0) * GRID} | profile)


def listed(project: Path) -> list[object]:
    """Return the names of layers, with a plus before visible ones, and below the names of their groups."""

    def names(group: ElementTree.Element) -> list[object]:
        return [
            (entry.get("name"), names(entry))
            if entry.tag == "layer-tree-group"
            else ("+" if entry.get("checked") == "Qt::Checked" else "-") + str(entry.get("name"))
            for entry in group
        ]

    top = ElementTree.parse(project).find("layer-tree-group")
    assert top is not None
    return names(top)


def sources(project: Path) -> list[str]:
    return [str(source.text) for source in ElementTree.parse(project).iter("datasource")]


def extent(project: Path) -> list[float]:
    found = ElementTree.parse(project).find("mapcanvas/extent")
    assert found is not None
    return [float(corner.text or "") for corner in found]


@pytest.mark.usefixtures("oracle")
def test_the_layers_of_a_map_are_stacked_above_its_scene(tmp_path: Path) -> None:
    names = OutputNames(
        output=(tmp_path / "m.gpkg", tmp_path / "m.tif"), confidence=tmp_path / "c.tif", project=tmp_path / "p.qgs"
    )
    predict(scene(tmp_path / "süd & ost.tif"), model="oracle", output=names, settings=SETTINGS)
    assert listed(tmp_path / "p.qgs") == ["-Confidence", "+Polygons", "-Classes", "+Scene"]
    assert sources(tmp_path / "p.qgs") == ["./c.tif", "./m.gpkg|layername=m", "./m.tif", "./süd & ost.tif"]
    assert extent(tmp_path / "p.qgs") == [300_000, 3_000_000 - 32, 300_000 + 32, 3_000_000]
    labels = [entry.get("label") for entry in ElementTree.parse(tmp_path / "p.qgs").iter("category")]
    assert labels == ["grey", "bright"]


@pytest.mark.usefixtures("oracle")
def test_each_of_several_scenes_has_a_group(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / "a.tif"), scene(tmp_path / "b.tif", east=100)]
    names = OutputNames(output=(tmp_path / "{stem}-map.tif",), project=tmp_path / "p.qgs")
    assert len(list(predict_scenes(scenes, model="oracle", output=names, settings=SETTINGS))) == 2
    assert listed(tmp_path / "p.qgs") == [("a", ["+Classes", "+Scene"]), ("b", ["+Classes", "+Scene"])]
    assert extent(tmp_path / "p.qgs") == [300_000, 3_000_000 - 32, 300_000 + 132, 3_000_000]


@pytest.mark.usefixtures("oracle")
def test_a_shared_layer_lies_above_all_scenes_and_scenes_that_fail_are_left_out(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / "a.tif"), tmp_path / "absent.tif", scene(tmp_path / "b.tif", east=100)]
    names = OutputNames(output=(tmp_path / "all.gpkg",), project=tmp_path / "p.qgs")
    failed: list[Exception] = []
    made = predict_scenes(iter(scenes), model="oracle", output=names, settings=SETTINGS, on_error=failed.append)
    next(made)
    assert not (tmp_path / "p.qgs").exists()  # it appears last
    assert len(list(made)) == 1
    assert len(failed) == 1
    assert listed(tmp_path / "p.qgs") == ["+Polygons", ("a", ["+Scene"]), ("b", ["+Scene"])]


@pytest.mark.usefixtures("oracle")
def test_maps_made_before_are_in_the_project_too(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / "a.tif"), scene(tmp_path / "b.tif", east=100)]
    alone = OutputNames(output=(tmp_path / "{stem}-map.tif",))
    predict(scenes[0], model="oracle", output=alone, settings=SETTINGS)
    for number, choice in enumerate(({"resume": True}, {"skip_existing": True})):
        project = tmp_path / f"{number}.qgs"
        names = OutputNames(output=alone.output, project=project)
        list(predict_scenes(scenes, model="oracle", output=names, settings=SETTINGS.changed(**choice)))
        assert [name for name, _ in listed(project)] == ["a", "b"]


@pytest.mark.usefixtures("oracle")
def test_a_project_saved_by_qgis_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "p.qgs").write_text("<qgis/>")
    names = OutputNames(output=(tmp_path / "m.tif",), project=tmp_path / "p.qgs")
    with pytest.raises(OutputError, match=r"p\.qgs was saved by QGIS"):
        predict(scene(tmp_path / "a.tif"), model="oracle", output=names, settings=SETTINGS)
    assert not (tmp_path / "m.tif").exists()


@pytest.mark.parametrize(("name", "words"), [("p.qgz", "does not end in .qgs"), ("{stem}.qgs", "one file for all")])
def test_other_names_of_projects_are_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        OutputNames(output="a.tif", project=name)


def write(folder: Path, source: SceneSource, *files: str, **options: object) -> list[str]:
    """Write a project of files as names alone, and return its sources."""
    project = MapProject(folder / "p.qgs", TABLE, PolygonSettings(**options))
    project.add(source, OutputPaths.of_files(*(folder / name for name in files)))
    project.write()
    return sources(folder / "p.qgs")


def test_polygons_in_several_formats_are_shown_once(tmp_path: Path) -> None:
    source = SceneSource(scene(tmp_path / "a.tif"))
    assert write(tmp_path, source, "m.parquet", "m.geojson", "m.fgb")[0] == "./m.fgb"
    assert write(tmp_path, source, "m.parquet")[0] == "./m.parquet"


def test_polygons_are_in_the_crs_of_their_file(tmp_path: Path) -> None:
    source = SceneSource(scene(tmp_path / "a.tif"))
    for file, options, crs in (
        ("m.gpkg", {}, "EPSG:32645"),
        ("m.gpkg", {"crs": "EPSG:3857"}, "EPSG:3857"),
        ("m.geojson", {"crs": "EPSG:3857"}, "EPSG:4326"),
    ):
        write(tmp_path, source, file, **options)
        assert ElementTree.parse(tmp_path / "p.qgs").findtext("projectlayers/maplayer/srs//authid") == crs


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, ["grey", "bright"]),
        ({"keep_background": True}, ["background", "grey", "bright"]),
        ({"classes": "bright"}, ["bright"]),
        ({"attributes": "pixels"}, []),
    ],
)
def test_polygons_have_the_classes_that_were_traced(
    tmp_path: Path, options: dict[str, object], labels: list[str]
) -> None:
    write(tmp_path, SceneSource(scene(tmp_path / "a.tif")), "m.gpkg", **options)
    root = ElementTree.parse(tmp_path / "p.qgs")
    assert [entry.get("label") for entry in root.iter("category")] == labels


def test_the_extent_covers_scenes_in_several_crss(tmp_path: Path) -> None:
    degrees = Affine(1e-4, 0, 87.05, 0, -1e-4, 27.10)
    project = MapProject(tmp_path / "p.qgs", TABLE)
    for path in (scene(tmp_path / "a.tif"), scene(tmp_path / "b.tif", crs="EPSG:4326", transform=degrees)):
        project.add(SceneSource(path), OutputPaths())
    project.write()
    left, bottom, right, top = extent(tmp_path / "p.qgs")
    assert right - left > 1000
    assert left <= 300_000
    assert right >= 300_032
    assert bottom <= 3_000_000 - 32
    assert top >= 3_000_000


def test_scenes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    project = MapProject(tmp_path / "p.qgs", TABLE)
    for folder in ("one", "two"):
        project.add(SceneSource(scene(tmp_path / folder / "a.tif")), OutputPaths())
    project.write()
    assert [name for name, _ in listed(tmp_path / "p.qgs")] == [
        str(tmp_path / folder / "a.tif") for folder in ("one", "two")
    ]


def test_the_files_of_a_stack_are_layers_of_their_own(tmp_path: Path) -> None:
    files = [scene(tmp_path / f"s_{name}.tif") for name in ("B04", "B08")]
    write(tmp_path, SceneSource(tuple(map(str, files))), "m.tif")
    assert listed(tmp_path / "p.qgs") == ["+Classes", "+s_B04", "+s_B08"]


def test_an_array_has_a_map_but_no_layer(tmp_path: Path) -> None:
    array = np.ones((1, 8, 8), dtype=np.uint8)
    write(tmp_path, SceneSource.from_array(array, transform=GRID, crs="EPSG:32645"), "m.tif")
    assert listed(tmp_path / "p.qgs") == ["+Classes"]


def test_a_file_that_cannot_be_named_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = scene(tmp_path / "a.tif").rename(tmp_path / os.fsdecode(b"\xe4.tif"))
    with caplog.at_level(logging.WARNING, "satseg"):
        assert write(tmp_path, SceneSource(str(path)), "m.tif") == ["./m.tif"]
    assert "is no text in UTF-8" in caplog.text


def test_a_scene_with_a_secret_in_its_name_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "satseg"):
        assert write(tmp_path, SceneSource("http://127.0.0.1:9/a.tif?sig=hush"), "m.tif") == ["./m.tif"]
    assert "whose name holds a secret" in caplog.text
    assert "hush" not in caplog.text + (tmp_path / "p.qgs").read_text()


def test_without_a_map_there_is_no_project(tmp_path: Path) -> None:
    MapProject(tmp_path / "p.qgs", TABLE).write()
    assert not list(tmp_path.iterdir())
