"""Covers ``polygon_ground``."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from oracles import number_of_objects

from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.object_counts import ObjectCount, by_size
from satseg.evaluation.object_scores import scores_by_class
from satseg.evaluation.polygons import PolygonSet, match_polygons
from satseg.labels.vector_labels import VectorLabels

IDS = {"roof": 1, "pool": 2}


def polygons(path: Path, boxes: list[tuple[str, shapely.Polygon]], crs: str = "EPSG:32645") -> PolygonSet:
    frame = geopandas.GeoDataFrame(
        {"use": [use for use, _ in boxes]}, geometry=[box for _, box in boxes], crs="EPSG:32645"
    )
    frame.to_crs(crs).to_file(path)
    layer = VectorLabels(str(path), class_field="use")
    return PolygonSet(layer, np.array([IDS[name] for name in layer.names], dtype=np.uint8), 0)


def box(x: float, y: float, width: float = 10.0) -> shapely.Polygon:
    return shapely.box(300_000 + x, 3_000_000 + y, 300_000 + x + width, 3_000_000 + y + 10)


def match(tmp_path: Path, labels: list, mapped: list, **kwargs: str) -> list[list[int]]:
    sets = polygons(tmp_path / "labels.gpkg", labels), polygons(tmp_path / "map.gpkg", mapped, **kwargs)
    accumulator = ScoreAccumulator(3)
    match_polygons(*sets, accumulator)
    return number_of_objects(accumulator.objects, 3)


@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:4326", "EPSG:3857"])
def test_objects_match_by_class_where_their_iou_is_over_a_half(tmp_path: Path, crs: str) -> None:
    labels = [("roof", box(0, 0)), ("roof", box(20, 0)), ("roof", box(40, 0)), ("pool", box(60, 0))]
    mapped = [("roof", box(3, 0)), ("roof", box(24, 0)), ("roof", box(60, 0)), ("pool", box(60.5, 0))]
    # IoU 7/13, 6/14, of another class, 9.5/10.5
    assert match(tmp_path, labels, mapped, crs=crs) == [[0, 0, 0], [3, 3, 1], [1, 1, 1]]


def test_an_iou_of_exactly_a_half_is_no_match(tmp_path: Path) -> None:
    assert match(tmp_path, [("roof", box(0, 0, 16))], [("roof", box(0, 0, 8))])[1] == [1, 1, 0]


def test_overlapping_polygons_match_one_to_one_the_best_pair_first(tmp_path: Path) -> None:
    labels = [("roof", box(0, 0)), ("roof", box(1, 0))]
    mapped = [("roof", box(1, 0)), ("roof", box(2.5, 0)), ("roof", box(2, 0))]
    # label 1 = map 0; label 0 meets only map 0 and 2 over a half, and map 0 is taken
    assert match(tmp_path, labels, mapped)[1] == [2, 3, 2]
    assert match(tmp_path, labels[:1], mapped)[1] == [1, 3, 1]


def test_many_polygons_are_matched_as_in_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    places = [(x, y) for x in range(0, 400, 20) for y in range(0, 400, 20)]
    labels = [("roof", box(x, y)) for x, y in places]
    shifts = rng.uniform(0, 6, len(places))
    mapped = [("roof", box(x + shift, y)) for (x, y), shift in zip(places, shifts, strict=True)]
    expected = int(((10 - shifts) / (10 + shifts) > 0.5).sum())
    monkeypatch.setattr("satseg.geo.vector_layer.BATCH_FEATURES", 37)
    assert match(tmp_path, labels, mapped)[1] == [400, 400, expected]


def scored(tmp_path: Path, labels: list, mapped: list, scores: list[float] | None = None) -> ScoreAccumulator:
    sets = []
    for name, boxes, ranks in (("labels", labels, None), ("map", mapped, scores)):
        columns = {"use": [use for use, _ in boxes], **({} if ranks is None else {"score": ranks})}
        frame = geopandas.GeoDataFrame(columns, geometry=[box for _, box in boxes], crs="EPSG:32645")
        frame.to_file(tmp_path / f"{name}.gpkg")
        order = "file" if ranks is None else "score"
        layer = VectorLabels(str(tmp_path / f"{name}.gpkg"), class_field="use", burn_order=order)
        sets.append(PolygonSet(layer, np.array([IDS[name] for name in layer.names], dtype=np.uint8), 0))
    accumulator = ScoreAccumulator(3, replicates=50)
    match_polygons(*sets, accumulator)
    return accumulator


def test_split_and_merged_polygons_are_told_from_those_that_match(tmp_path: Path) -> None:
    labels = [("roof", box(x, 0)) for x in (0, 20, 30, 60)]
    halves = [("roof", box(0, 0, 5)), ("roof", box(5, 0, 5))]  # of the first; the next one covers two
    mapped = [*halves, ("roof", box(20, 0, 20)), ("roof", box(60, 0))]
    counts = by_size(scored(tmp_path, labels, mapped).objects.of_class(1))
    split, merged = counts[0].sum(axis=0)[[ObjectCount.SPLIT, ObjectCount.MERGED]]
    assert (split, merged) == (1, 2)


def test_polygons_are_ranked_by_their_scores_whatever_their_range(tmp_path: Path) -> None:
    labels = [("roof", box(20 * number, 0)) for number in range(4)]
    mapped = [("roof", box(0, 50)), *labels[:3]]  # one where there is nothing
    for scores, expected in (([0, 100, 90, 80], 76 / 101), ([100, 0, 10, 20], 0.75 * 76 / 101)):
        found = scores_by_class(scored(tmp_path, labels, mapped, [float(score) for score in scores]).objects)
        assert found[1]["ap"][0] == pytest.approx(expected)
    assert scores_by_class(scored(tmp_path, labels, mapped).objects)[1]["ap"][0] == pytest.approx(0.75 * 76 / 101)


def test_objects_are_measured_in_square_metres_of_the_ground_and_drawn_by_squares(tmp_path: Path) -> None:
    labels = [("roof", box(100 * x, 100 * y, 12)) for x in range(6) for y in range(6)]
    accumulator = scored(tmp_path, labels, labels[::2])
    report = accumulator.report("abc")
    (size,) = report.classes[1].sizes
    assert (size.low, size.high, size.label_objects, size.recall) == (100, 300, 36, 0.5)
    low, high = report.classes[1].intervals["object_recall"]
    assert 0.3 < low < 0.5 < high < 0.7
    assert report.settings["units"] == 36
