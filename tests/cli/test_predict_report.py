"""One scene is told of in a table, several in a line each and a table of them all."""

from __future__ import annotations

from functools import partial

import pytest

from satseg.cli.console import ConsoleOutput, left_out
from satseg.cli.predict_report import Maps
from satseg.records import PredictionSummary


def summary(scene: str, roofs: int, **fields: object) -> PredictionSummary:
    known = dict.fromkeys(PredictionSummary.__dataclass_fields__)
    return PredictionSummary(
        **known
        | {
            "scene": scene,
            "outputs": (f"{scene}.gpkg",),
            "seconds": 0.5,
            "pixels": {"ground": 100 - roofs, "roof": roofs, "nodata": 0},
            "polygons": {"roof": 2},
            "specks": 3,
            "holes": 0,
        }
        | fields
    )


def told(
    capsys: pytest.CaptureFixture[str], maps: Maps, out: ConsoleOutput, summaries: list[PredictionSummary]
) -> list[str]:
    for one in summaries:
        out.report(one, maps.table)
    maps.tell()
    return capsys.readouterr().err.splitlines()


def test_one_scene_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = ConsoleOutput()
    maps = Maps(out, partial(left_out, min_area=None, fill_holes=None, objects=False), several=False, rasters=False)
    lines = told(capsys, maps, out, [summary("a", 25)])
    assert lines[0] == "Mapped a in 0.5 s: a.gpkg"
    assert lines[3].split() == ["roof", "25", "25.0%", "2"]
    assert lines[-1].startswith("Polygons: specks below 8px left out (3)")


@pytest.mark.parametrize("rasters", [False, True])
def test_specks_are_still_in_class_rasters_and_not_in_other_rasters(
    capsys: pytest.CaptureFixture[str], rasters: bool
) -> None:
    out = ConsoleOutput()
    maps = Maps(out, partial(left_out, min_area=None, fill_holes=None, objects=False), several=False, rasters=rasters)
    lines = told(capsys, maps, out, [summary("a", 25, outputs=("a.gpkg", "a_confidence.tif"))])
    assert ("The class raster still contains them" in lines[-1]) == rasters


def test_several_scenes_have_a_line_each_and_a_table_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    out = ConsoleOutput()
    maps = Maps(out, partial(left_out, min_area=None, fill_holes=None, objects=False), several=True, rasters=False)
    lines = told(capsys, maps, out, [summary("a", 25), summary("b", 35, seconds=1.0)])
    assert lines[:3] == ["Mapped a in 0.5 s: a.gpkg", "Mapped b in 1.0 s: b.gpkg", "Mapped 2 scenes in 1.5 s"]
    assert lines[5].split() == ["roof", "60", "30.0%", "4"]
    assert "left out (6)" in lines[-1]


def test_nothing_is_said_where_no_scene_was_mapped(capsys: pytest.CaptureFixture[str]) -> None:
    out = ConsoleOutput()
    assert told(capsys, Maps(out, lambda specks, holes: None, several=True, rasters=False), out, []) == []
