"""One name is one name, in every parameter that takes several.

Covers ``signatures``.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints
from unittest.mock import MagicMock

import geopandas
import numpy as np
import pandas
import pyproj
import pytest
import rasterio
from rasterio.transform import from_origin

import satseg
from satseg import arguments
from satseg.arguments import Given
from satseg.errors import SatsegError, UsageError
from satseg.training.recipe import Recipe
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.predict import dry_run_scenes

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(satseg, name) for name in ("tile", "train", "evaluate", "predict", "predict_scenes", "vectorize")},
    **{name: getattr(satseg, name) for name in ("benchmark", "info", "label_values", "demo", "export", "propagate")},
    **{"dry_run_scenes": dry_run_scenes, "check_tiles": check_tiles},
}
RECORDS = {
    "PolygonSettings": satseg.PolygonSettings,
    "PredictionSettings": satseg.PredictionSettings,
    "OutputNames": satseg.OutputNames,
    "SceneSource": satseg.SceneSource,
    "TileSettings": satseg.TileSettings,
    "TrainSettings": satseg.TrainSettings,
    "EvaluateSettings": satseg.EvaluateSettings,
    "VectorizeSettings": satseg.VectorizeSettings,
    "ExportSettings": satseg.ExportSettings,
    "PropagateSettings": satseg.PropagateSettings,
}


def parts(hint: Any) -> list[Any]:
    if get_origin(hint) is Given:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return [inner for part in get_args(hint) for inner in parts(part)]
    return [hint]


def takes_several(hint: Any) -> bool:
    kinds = [get_origin(part) or part for part in parts(hint)]
    return any(
        isinstance(kind, type) and issubclass(kind, Iterable) and not issubclass(kind, str | Mapping | tuple)
        for kind in kinds
    )


def parameters(kinds: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, kind in kinds.items():
        hints = get_type_hints(kind)
        for parameter in inspect.signature(kind).parameters:
            if parameter in hints:
                yield name, parameter, hints[parameter]


MANY = [(name, parameter) for name, parameter, hint in parameters(FUNCTIONS | RECORDS) if takes_several(hint)]
TEXT = [
    (name, parameter)
    for name, parameter, hint in parameters(FUNCTIONS | RECORDS)
    if any(get_origin(part) is os.PathLike or part is os.PathLike for part in parts(hint))
]

PICKY = [
    (name, parameter)
    for name, parameter, hint in parameters(FUNCTIONS | RECORDS)
    if not any(part is Any for part in (hint, *parts(hint)))
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arguments")
    profile = {"driver": "GTiff", "width": 40, "height": 40, "crs": "EPSG:32633", "dtype": "uint8"}
    for name, count in (("scene", 3), ("classes", 1)):
        with rasterio.open(
            folder / f"{name}.tif", "w", count=count, transform=from_origin(5e5, 5e6, 1, 1), **profile
        ) as out:
            out.write(np.arange(count * 1600, dtype=np.uint8).reshape(count, 40, 40) % 2)
    return folder


def base(name: str, place: Path) -> dict[str, Any]:
    """Return arguments beside which another one is looked at."""
    scene, classes, out = str(place / "scene.tif"), str(place / "classes.tif"), str(place / "out" / "map.gpkg")
    return {
        "tile": {
            "scenes": scene,
            "labels": classes,
            "output": str(place / "out"),
            "settings": satseg.TileSettings(split_by="no-such-file.gpkg:split"),
        },
        "evaluate": {"subject": classes, "labels": classes},
        "predict": {"scene": scene, "output": out, "model": "absent.safetensors"},
        "predict_scenes": {"scenes": scene, "output": out, "model": "absent.safetensors"},
        "dry_run_scenes": {"scenes": scene, "output": out, "model": "absent.safetensors"},
        "vectorize": {"rasters": classes, "output": out},
        "propagate": {"labels": classes, "from_": scene, "to": scene, "output": out},
        "export": {"model": "absent.safetensors", "output": str(place / "net.pt2")},
        "label_values": {"path": classes},
        "SceneSource": {"paths": scene},
        "OutputNames": {"output": out},
    }.get(name, {})


VALUES: dict[str, list[Any]] = {
    "bands": ["no-such-band"],
    "unlabelled": [77, "7"],
    "split": [0.5, "0.25"],
    "scales": [0.5, "0.75"],
    "threshold": ["no-such-class=0.7"],
    "classes": ["no-such-class"],
    "attributes": ["no-such-attribute", "class_name"],
    "arch": ["no-such-network"],
}


TESTED_BELOW = {("tile", "unlabelled"), ("evaluate", "unlabelled"), ("evaluate", "data"), ("evaluate", "bands")}


def outcome(kind: Callable[..., Any], given: Mapping[str, Any]) -> object:
    try:
        result = kind(**given)
        return list(result) if isinstance(result, Iterator) else result
    except SatsegError as error:
        return type(error), error.message, error.hint


@pytest.mark.parametrize(("name", "parameter"), MANY)
def test_one_alone_is_a_list_of_one(name: str, parameter: str, place: Path) -> None:
    kind = (FUNCTIONS | RECORDS)[name]
    given = base(name, place)
    if parameter == "pairs":  # which name scenes and labels
        given = {key: value for key, value in given.items() if key not in ("labels", "scenes", "subject")}
    values = [given["output"]] if parameter == "scenes" and name != "tile" else ["no-such-file.doc"]
    for value in VALUES.get(parameter, values):
        alone = outcome(kind, given | {parameter: value})
        told = alone[1] if isinstance(alone, tuple) else repr(alone)  # the whole of it, not a letter
        assert str(value).split("=")[0] in told or (name, parameter) in TESTED_BELOW
        streams = parameter == "scenes" and name != "tile"  # scenes are then asked for one by one
        for several in ([value], (value,), *([] if streams else [iter([value])])):
            again = outcome(kind, given | {parameter: several})
            assert strip(again, parameter) == strip(alone, parameter)


def strip(found: object, parameter: str) -> object:
    """Leave out how the value was spelt, which is all that may differ."""
    if not isinstance(found, tuple):
        return found
    return [str(part).replace("[", "").replace("]", "").replace("'", "") for part in found]


def test_values_that_mean_unlabelled(place: Path, tmp_path: Path) -> None:
    for number, value in enumerate((1, "1", [1], iter([1]), "7,1")):
        done = satseg.tile(
            place / "scene.tif",
            labels=place / "classes.tif",
            output=tmp_path / str(number),
            settings=satseg.TileSettings(class_map="0=background", unlabelled=value, size=32),
        )
        assert list(done.pixels["train"]) == ["background"]


@pytest.mark.parametrize("data", ["tiles", ["tiles"], iter(["tiles"]), Path("tiles")])
def test_evaluate_takes_one_tile_set_by_its_name(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.safetensors").touch()
    (tmp_path / "tiles").mkdir()
    scoring = MagicMock()
    monkeypatch.setattr("satseg.workflows.score_network.NetworkScoring.open", lambda *given: scoring)
    satseg.evaluate("best.safetensors", data)
    assert scoring.score_tiles.call_args.args[0] == ("tiles",)


@pytest.mark.parametrize(("name", "parameter"), TEXT)
def test_a_path_is_as_good_as_its_name(name: str, parameter: str, place: Path) -> None:
    kind, given = (FUNCTIONS | RECORDS)[name], base(name, place)
    if (name, parameter) == ("demo", "output"):
        value: str = str(place / "scene.tif")  # a file, where a folder goes
    elif (name, parameter) == ("train", "output"):
        given, value = {"tiles": "no-such-tiles"}, str(place / "out" / "run")
    else:
        value = given.get(parameter, "no-such-file.tif")
    assert outcome(kind, given | {parameter: Path(value)}) == outcome(kind, given | {parameter: value})


@pytest.mark.parametrize(("name", "parameter"), PICKY)
def test_what_no_parameter_takes_is_told_in_one_sentence(name: str, parameter: str, place: Path) -> None:
    with pytest.raises(UsageError) as caught:
        (FUNCTIONS | RECORDS)[name](**base(name, place) | {parameter: object()})
    assert parameter in caught.value.message.replace("-", "_")
    assert "\n" not in caught.value.message


def test_a_word_that_no_parameter_has_is_told_with_what_was_meant() -> None:
    with pytest.raises(UsageError, match=r"predict\(\) takes no argument 'outputs'") as caught:
        satseg.predict("scene.tif", outputs="map.tif")  # type: ignore[call-arg]
    assert caught.value.hint == "Did you mean output?"


@pytest.mark.parametrize(
    ("call", "told", "hint"),
    [
        (lambda: satseg.PolygonSettings(simplyfy="1px"), "no argument 'simplyfy'", "Did you mean simplify?"),
        (lambda: satseg.PredictionSettings(windows=64), "no argument 'windows'", "Did you mean window?"),
        (lambda: satseg.train(settings=satseg.TrainSettings(step=3)), "no argument 'step'", "Did you mean steps?"),
        (
            lambda: satseg.train(settings=satseg.TrainSettings(shedule="poly")),
            "no argument 'shedule'",
            "Did you mean schedule?",
        ),
        (
            lambda: satseg.predict("a.tif", output="b.tif", window=64),
            "no argument 'window'",
            "Pass settings=satseg.PredictionSettings(window=...)",
        ),
        (
            lambda: satseg.predict("a.tif", output="b.tif", min_area="2px"),
            "no argument 'min_area'",
            "Pass settings=satseg.PredictionSettings(polygons=satseg.PolygonSettings(min_area=...))",
        ),
        (
            lambda: satseg.vectorize("a.tif", output="b.gpkg", smooth=True),
            "no argument 'smooth'",
            "Pass settings=satseg.VectorizeSettings(smooth=...)",
        ),
    ],
)
def test_options_that_are_not_there_are_told_with_what_was_meant(call: Any, told: str, hint: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        call()
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "choice",
    [{"lr": "high"}, {"loss": 3}, {"augment": 3}, {"ema": "x"}, {"compile": "x"}, {"augment": {"gain": "x"}}],
)
def test_choices_of_training_of_another_type_are_refused(choice: dict[str, Any], place: Path) -> None:
    with pytest.raises(UsageError, match=r"^`(lr|loss|augment|ema|compile|gain)` is "):
        Recipe(**choice)


@pytest.mark.parametrize("crs", [4326, "EPSG:4326", rasterio.crs.CRS.from_epsg(4326), pyproj.CRS(4326)])
def test_a_crs_is_taken_as_rasterio_and_pyproj_have_it(crs: Any) -> None:
    assert satseg.PolygonSettings(crs=crs).crs == "EPSG:4326"


def test_names_in_a_column_of_a_table_are_several_and_a_table_is_told() -> None:
    table = pandas.DataFrame({"path": ["a.tif", "b.tif"]})
    assert arguments.paths(table["path"], "scenes") == ("a.tif", "b.tif")
    assert arguments.paths(np.array(["a.tif"]), "scenes") == ("a.tif",)
    with pytest.raises(UsageError, match="of type DataFrame, not the name of a file"):
        arguments.paths(table, "scenes")
    with pytest.raises(UsageError) as caught:
        satseg.tile("a.tif", labels=geopandas.GeoDataFrame(geometry=[]))
    assert "to_file" in str(caught.value.hint)
    with pytest.raises(UsageError, match="not the name of a file"):
        arguments.paths({"a.tif": "b.tif"}, "scenes")


def test_options_show_what_differs_from_the_defaults() -> None:
    polygons = satseg.PolygonSettings(classes="roof", smooth=True)
    assert repr(polygons) == "PolygonSettings(classes=('roof',), smooth=True)"
    assert repr(satseg.PredictionSettings(polygons=polygons, threads=2)) == (
        "PredictionSettings(threads=2, polygons=PolygonSettings(classes=('roof',), smooth=True))"
    )
    assert repr(satseg.PredictionSettings()) == "PredictionSettings()"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: satseg.PolygonSettings(classes=[]), "`classes` is empty"),
        (lambda: satseg.predict_scenes([], output="{stem}.tif", model="absent.safetensors"), "There is no scene"),
        (lambda: satseg.vectorize("a.tif", output="-", stream="a.txt"), "not an open file or None"),
        (lambda: satseg.tile("a.tif", settings=satseg.TileSettings(unlabelled="x")), "not a list of whole numbers"),
    ],
)
def test_nothing_is_told_as_nothing(call: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        call()


def test_predict_sends_several_scenes_to_predict_scenes() -> None:
    with pytest.raises(UsageError) as caught:
        satseg.predict(["a.tif", "b.tif"], output="map.tif")  # type: ignore[arg-type]
    assert "predict_scenes" in str(caught.value.hint)


def test_wrong_arguments_of_predict_scenes_are_told_before_a_scene_is_asked_for() -> None:
    with pytest.raises(UsageError, match="no known suffix"):
        satseg.predict_scenes("scene.tif", output="map.doc", model="absent.safetensors")


@pytest.mark.parametrize("home", ["~", "~/maps"])
def test_a_tilde_is_not_taken_for_a_folder(home: str) -> None:
    with pytest.raises(UsageError, match="Python does not") as caught:
        arguments.path(f"{home}/scene.tif", "scene")
    assert caught.value.hint == f"Name the folder in full: {os.path.expanduser(home)}/scene.tif"


def test_a_tilde_in_a_name_is_a_letter() -> None:
    assert arguments.path("scene~1.tif", "scene") == "scene~1.tif"
    assert arguments.path("~no-such-user~/a.tif", "scene") == "~no-such-user~/a.tif"


def test_open_datasets_go_by_their_names(place: Path) -> None:
    with rasterio.open(place / "scene.tif") as dataset:
        assert arguments.paths(dataset, "scenes") == (str(place / "scene.tif"),)
        with rasterio.vrt.WarpedVRT(dataset) as warped, pytest.raises(UsageError, match="memory of this process"):
            arguments.path(warped, "scene")
    with rasterio.open(place / "scene.tif", "r+") as dataset, pytest.raises(UsageError, match="open for writing"):
        arguments.path(dataset, "scene")


def test_an_array_is_told_how_it_becomes_a_scene() -> None:
    with pytest.raises(UsageError, match="an array of 3 x 8 x 8 uint8") as caught:
        arguments.path(np.zeros((3, 8, 8), np.uint8), "scene")
    assert "SceneSource.from_array" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"building": 0.7}, ("building=0.7",)),
        ({"building": 1}, ("building=1",)),
        ("a=0.7", ("a=0.7",)),
        (["a=0.7", "b, c=0.5"], ("a=0.7", "b, c=0.5")),
    ],
)
def test_thresholds(given: Any, kept: tuple[str, ...]) -> None:
    assert satseg.PredictionSettings(threshold=given).threshold == kept


@pytest.mark.parametrize("given", ["4,3,2", [4, 3, 2], ("4", 3, "2"), np.array([4, 3, 2])])
def test_bands(given: Any) -> None:
    assert satseg.PredictionSettings(bands=given).bands == ("4", "3", "2")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("512 mb", 512 * 10**6), ("7", 7), (1 << 30, 1 << 30)],
)
def test_memory_is_a_size_with_a_unit_or_bytes(given: Any, kept: int) -> None:
    assert satseg.PredictionSettings(memory=given).memory == kept


@pytest.mark.parametrize("given", ["4 GX", "much", 1.5, "-4GB", True])
def test_what_is_no_size_is_told(given: Any) -> None:
    with pytest.raises(UsageError, match=r"^`memory` is .*, not a size"):
        satseg.PredictionSettings(memory=given)


def test_numbers_of_numpy_are_numbers() -> None:
    assert satseg.PredictionSettings(scales=np.float32(0.5), window=np.int64(64)).scales == (0.5,)


@pytest.mark.parametrize("given", [{"window": "big"}, {"sieve": 1.5}, {"compile": "yes"}, {"polygons": {}}])
def test_settings_of_another_type_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^`{next(iter(given))}` is "):
        satseg.PredictionSettings(**given)


def test_pixels_come_as_numbers_or_text() -> None:
    assert [arguments.pixels(value, "size") for value in (256, "256", "256px", " 256 px", "-1")] == [
        256,
        256,
        256,
        256,
        -1,
    ]
    assert [arguments.pixels_or_auto(value, "overlap") for value in ("auto", "64px", 64)] == ["auto", 64, 64]
    assert [arguments.whole_or_auto(value, "batch_size") for value in ("auto", "8", 8)] == ["auto", 8, 8]


@pytest.mark.parametrize(
    ("bring", "sentence"),
    [
        (arguments.pixels, "`size` is 'wide', not a whole number of pixels."),
        (arguments.pixels_or_auto, "`size` is 'wide', neither a whole number of pixels nor auto."),
        (arguments.whole_or_auto, "`size` is 'wide', neither a whole number nor auto."),
    ],
)
def test_what_is_no_number_of_pixels_is_told(bring: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        bring("wide", "size")
    assert refused.value.message == sentence
