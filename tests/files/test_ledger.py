"""Covers ``prediction/outputs``."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from scene_files import numbered, write_mosaic, write_scene
from shapely import Point

from satseg.errors import UsageError
from satseg.files.ledger import Ledger
from satseg.prediction.outputs import Outputs
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.raster.source import SceneSource
from satseg.vectorization.settings import VectorizeSettings
from satseg.workflows.predict import dry_run_scenes, predict_scenes
from satseg.workflows.vectorize import vectorize

TINY = numbered(1, 4, 4, "uint8")


def scene(path: Path) -> Path:
    return write_scene(path, TINY)


def refused(reads: list[str | Path], writes: str | Path) -> str:
    with pytest.raises(UsageError) as caught:
        Ledger(reads).write(Path(writes))
    return caught.value.message


@pytest.mark.parametrize("name", ["a.tif", "./a.tif", "link.tif", "hard.tif", "folder/../a.tif"])
def test_an_input_is_no_output_whatever_it_is_called(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = scene(tmp_path / "a.tif")
    (tmp_path / "link.tif").symlink_to(file)
    (tmp_path / "hard.tif").hardlink_to(file)
    (tmp_path / "folder").mkdir()
    assert "is also an input" in refused([file], name)
    assert "is also an input" in refused([name], file)


def test_members_of_mosaics_are_inputs_through_as_many_as_there_are(tmp_path: Path) -> None:
    file = scene(tmp_path / "a.tif")
    inner = write_mosaic(tmp_path / "inner.vrt", [("a.tif", file)])
    inner.write_text(inner.read_text().replace('relativeToVRT="0"', 'relativeToVRT="1"'))
    outer = write_mosaic(tmp_path / "outer.vrt", [(str(inner), inner)])
    told = refused([outer], file)
    assert f"as {file} of {outer}" in told
    assert "is also an input" in refused([f"vrt://{outer}?bands=1"], file)


@pytest.mark.parametrize("name", ["{}", "{}|layername=points", "GPKG:{}:points"])
def test_layers_and_prefixes_are_no_part_of_the_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "areas.gpkg"
    geopandas.GeoDataFrame(geometry=[Point(0, 0)], crs="EPSG:4326").to_file(path, layer="points")
    assert "is also an input" in refused([name.format(path)], path)


def test_a_raster_in_a_geopackage_is_an_input(tmp_path: Path) -> None:
    path = tmp_path / "pic.gpkg"
    file = write_scene(tmp_path / "a.tif", numbered(3, 16, 16, "uint8"))
    rasterio.shutil.copy(file, path, driver="GPKG")
    assert "is also an input" in refused([f"GPKG:{path}:pic"], path)
    with pytest.raises(UsageError, match="is also an input"):
        vectorize(path, output=path, settings=VectorizeSettings(band=1, threshold=100))


def test_what_belongs_to_an_input_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a.asc"
    file.write_text("ncols 1\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n1\n")
    (tmp_path / "a.prj").write_text('LOCAL_CS["here"]')
    with pytest.raises(UsageError, match=r"would replace .*a\.prj, which belongs to the input"):
        Ledger([file]).write(tmp_path / "a.shp")
    Ledger([file]).write(tmp_path / "a.gpkg")
    (tmp_path / "a.shp").touch()  # then it is the Shapefile's
    Ledger([file]).write(tmp_path / "a.shp")


@pytest.mark.parametrize("there", [True, False])
def test_an_input_that_is_named_is_nobodys_sidecar(tmp_path: Path, there: bool) -> None:
    overviews = scene(tmp_path / "map.tif.ovr")
    if there:
        scene(tmp_path / "map.tif")
    with pytest.raises(UsageError, match=r"would replace .*map\.tif\.ovr, which belongs to the input"):
        Ledger([overviews]).write(tmp_path / "map.tif")


def test_an_output_is_named_once(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.write(tmp_path / "a.shp")
    for name in ("a.shp", "./a.shp", "new/../a.shp", "a.SHP"):
        with pytest.raises(UsageError, match="named twice"):
            ledger.write(tmp_path / name)
    ledger.write(tmp_path / "a.tif")


def test_an_output_of_this_run_is_no_later_input(tmp_path: Path) -> None:
    ledger = Ledger([scene(tmp_path / "a.tif")])
    ledger.write(tmp_path / "b.tif", "the map of a.tif")
    scene(tmp_path / "b.tif")
    with pytest.raises(UsageError, match=r"b\.tif is an input, but this run writes it: the map of a\.tif"):
        ledger.read(tmp_path / "b.tif")


def test_a_number_that_a_replaced_output_leaves_may_come_again(tmp_path: Path) -> None:
    ledger, old = Ledger(), scene(tmp_path / "map.tif")
    ledger.write(old, "the map of a.tif")
    old.rename(tmp_path / "new.tif")  # as if another file had got its number
    ledger.read(tmp_path / "new.tif")
    ledger.write(tmp_path / "b.tif")


def test_a_folder_that_holds_an_input_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "tiles" / "images").mkdir(parents=True)
    file = scene(tmp_path / "tiles" / "images" / "a.tif")
    (tmp_path / "link.tif").symlink_to(file)
    with pytest.raises(UsageError, match="is in the output folder"):
        Ledger([tmp_path / "link.tif"]).replace_folder(tmp_path / "tiles")
    Ledger([file]).replace_folder(tmp_path / "others")


def test_remote_inputs_and_those_that_are_not_there_are_no_files_here() -> None:
    Ledger(["https://example.org/a.tif", "/vsis3/bucket/a.tif", "no such file.tif", None])


def claims(names: OutputNames, scenes: list[Path], *, aoi: str | None = None) -> None:
    Outputs(names, [SceneSource.of(scene) for scene in scenes], inputs=[aoi])


def test_the_map_of_one_scene_is_not_another_scene(tmp_path: Path) -> None:
    north, other = scene(tmp_path / "north.tif"), scene(tmp_path / "north_map.tif")
    names = OutputNames(output=(str(tmp_path / "{stem}_map.tif"),))
    for order in ([north, other], [other, north]):
        with pytest.raises(UsageError, match=r"north_map\.tif is also an input"):
            claims(names, order)
    streamed = Outputs(names, None)
    with pytest.raises(UsageError, match="may be one of the next scenes"):
        streamed.check(SceneSource.of(north))
    with rasterio.open(other, "r+") as dataset:
        dataset.update_tags(SATSEG_VERSION="0.1")  # an earlier map
    streamed.check(SceneSource.of(north))
    with pytest.raises(UsageError, match=rf"this run writes it: the map of {north}"):
        streamed.check(SceneSource.of(other))


@pytest.mark.parametrize("dry", [True, False])
def test_nothing_is_begun_where_the_area_of_interest_would_be_overwritten(tmp_path: Path, dry: bool) -> None:
    area = tmp_path / "areas.gpkg"
    geopandas.GeoDataFrame(geometry=[Point(0, 0)], crs="EPSG:4326").to_file(area, layer="x")
    work = dry_run_scenes if dry else predict_scenes
    with pytest.raises(UsageError, match=r"areas\.gpkg is also an input"):
        work(
            [scene(tmp_path / "a.tif")],
            output=area,
            model=tmp_path / "absent.safetensors",
            settings=PredictionSettings(aoi=f"{area}|layername=x"),
        )


def test_many_scenes_cost_little(tmp_path: Path) -> None:
    scenes = [scene(tmp_path / f"{number}.tif") for number in range(50)]
    claims(OutputNames(output=(str(tmp_path / "{stem}.gpkg"),)), scenes)
    assert not np.any([path.suffix == ".gpkg" for path in tmp_path.iterdir()])
