"""The sample that ships with the package: small, georeferenced, labelled, attributed."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations
from pathlib import Path

import geopandas
import pytest
import rasterio
import shapely

from satseg.errors import OutputError
from satseg.sample import CREDIT, NETWORK, attribution, copy_sample, named_network, network_name, sample

SCENES = {"labelled": (2304, 2048), "held_out": (1024, 2048), "unlabelled": (1024, 1024)}


def footprint(path: Path) -> shapely.Geometry:
    with rasterio.open(path) as dataset:
        return shapely.box(*dataset.bounds)


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_jpeg_in_georeferenced_tiff(name: str) -> None:
    with rasterio.open(getattr(sample(), name)) as dataset:
        assert dataset.shape == SCENES[name]
        assert dataset.crs.to_epsg() == 3857
        assert dataset.dtypes == ("uint8",) * 3
        assert dataset.compression.name == "jpeg"
        assert dataset.photometric.name == "ycbcr"
        assert dataset.block_shapes == [(256, 256)] * 3


def test_scenes_lie_apart() -> None:
    places = [footprint(getattr(sample(), name)) for name in SCENES]
    assert not any(a.intersects(b) for a, b in combinations(places, 2))


def test_every_footprint_is_valid_and_touches_a_labelled_scene() -> None:
    labels = geopandas.read_file(sample().labels)
    first, second = (footprint(getattr(sample(), name)) for name in ("labelled", "held_out"))
    assert labels.crs.to_epsg() == 3857
    assert labels.is_valid.all()
    assert (labels.intersects(first) ^ labels.intersects(second)).all()
    assert labels.intersects(first).any()
    assert labels.intersects(second).any()


def test_no_footprint_lies_in_the_unlabelled_scene() -> None:
    assert not geopandas.read_file(sample().labels).intersects(footprint(sample().unlabelled)).any()


def test_scenes_and_labels_weigh_at_most_three_megabytes() -> None:
    assert sum(getattr(sample(), field.name).stat().st_size for field in fields(sample())) <= 3_000_000


def test_the_network_weighs_at_most_six_megabytes() -> None:
    assert named_network(NETWORK).stat().st_size <= 6_000_000


def test_the_network_is_named_sample_unless_something_here_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = named_network(NETWORK)
    assert shipped.is_file()
    assert shipped.parent == sample().labels.parent
    assert network_name() == NETWORK
    assert named_network("./sample") == Path("sample")
    (tmp_path / "sample").mkdir()
    assert named_network(NETWORK) == Path("sample")
    assert network_name() == str(shipped)
    assert named_network(tmp_path / "other") == tmp_path / "other"


def test_the_card_of_the_network_says_what_it_learnt_from() -> None:
    text = named_network(NETWORK).with_name("NETWORK.md").read_text(encoding="utf-8")
    for word in ("town.tif", "town_held_out.tif", "ImageNet", "Apache-2.0", "CC BY 4.0", "ODbL", "IoU", "Commit"):
        assert word in text


def test_attribution_names_the_makers_the_licences_and_every_file() -> None:
    text = attribution()
    assert "CC BY 4.0" in text
    assert "Open Database License 1.0" in text
    assert "62d85d11d8499800053796c1" in text
    assert all(line.split("©")[1].split(",")[0].strip() in text.replace("[", "").replace("]", "") for line in CREDIT)
    assert all(getattr(sample(), f.name).name in text for f in fields(sample()) if f.name != "attribution")


def test_a_copy_equals_the_sample(tmp_path: Path) -> None:
    copied = copy_sample(tmp_path / "scenes")
    for field in fields(copied):
        assert getattr(copied, field.name).read_bytes() == getattr(sample(), field.name).read_bytes()


def test_a_copy_to_a_place_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "scenes").write_text("")
    with pytest.raises(OutputError, match="Cannot write to"):
        copy_sample(tmp_path / "scenes")
