"""What the values of class rasters mean, whatever tool wrote them.

Covers ``class_bands``, ``class_found``, ``class_names`` and ``class_questions``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.classes import ClassTable
from satseg.errors import ClassRasterError, LabelError, SceneError
from satseg.labels import class_values
from satseg.labels.class_bands import ClassBands
from satseg.labels.class_found import Reading, Use
from satseg.labels.class_map import ClassMap
from satseg.labels.class_values import ClassValues, Translation
from satseg.labels.label_files import open_labels
from satseg.labels.settings import LabelSettings
from satseg.mapfile.writer import CLASSES_TAG
from satseg.raster import windows
from satseg.records import BandSpec, SceneInfo

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
WHOLE = Window(0, 0, 20, 10)
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def scene(transform: Affine = GRID) -> SceneInfo:
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    return SceneInfo("scene.tif", 20, 10, spec, None, False, "EPSG:32632", transform, (2.0, 2.0))


SHIFTED = scene(GRID * Affine.translation(-5, -4))


def write(path: Path, bands: np.ndarray, *, palette: dict | None = None, **profile: object) -> Path:
    bands = bands if bands.ndim == 3 else bands[None]
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=bands.dtype.name, **options
    ) as dataset:
        dataset.write(bands)
        if palette:
            dataset.write_colormap(1, palette)
    return path


def named(path: Path, ids: np.ndarray, *names: str) -> Path:
    """Write a map as satseg does."""
    write(path, ids, nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**{CLASSES_TAG: json.dumps(ClassTable.from_names(names).to_dict())})
    return path


def colours(*rows: tuple[int, int, int], width: int = 20) -> np.ndarray:
    """Ten rows of pixels, those of one colour each first, the rest in the last one."""
    filled = [*rows, *[rows[-1]] * (10 - len(rows))]
    return np.repeat(np.uint8(filled).T[:, :, None], width, axis=2)


def mask(zero: float = 0, one: float = 1, dtype: str = "uint8") -> np.ndarray:
    """Ten rows of 20 px, the upper four of which are an object."""
    values = np.full((10, 20), zero, dtype=dtype)
    values[:4] = one
    return values


def read(path: Path, text: str | None = None, on: SceneInfo | None = None, **settings: Any) -> np.ndarray:
    source = open_labels(path, LabelSettings(**settings), class_map=None if text is None else ClassMap.parse(text))
    with source.on(on or scene()) as labels:
        return labels.read(WHOLE)


def test_colours_are_asked_about_with_their_pixels_and_the_line_to_type(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", colours(RED, (255, 0, 7), BLACK))
    with pytest.raises(ClassRasterError, match=r"colours.*: #000000 \(160 px\), #ff0000 \(20 px\), #ff0007") as caught:
        open_labels(path)
    assert caught.value.hint == "Name them: `class_map='#000000=NAME,#ff0000=NAME,#ff0007=NAME'`"


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_are_served_by_a_class_map_on_any_grid(tmp_path: Path, alpha: bool) -> None:
    bands = colours(RED, GREEN, BLACK)
    if alpha:
        known = np.full((1, 10, 20), 255, dtype=np.uint8)
        known[0, :, 19] = 0
        bands = np.concatenate([bands, known])
    path = write(tmp_path / "mask.tif", bands, photometric="RGB", **({"alpha": "YES"} if alpha else {}))
    text = "#FF0000=building,#00ff00=road,#000000=background"
    source = open_labels(path, class_map=ClassMap.parse(text))
    assert source.classes.names == ("background", "building", "road")
    assert [entry.colour for entry in source.classes] == ["#000000", "#ff0000", "#00ff00"]
    found = read(path, text)
    assert found[:3, 0].tolist() == [1, 2, 0]
    assert (found[:, 19] == 255).all() == alpha
    moved = read(path, text, SHIFTED)
    assert (moved[4:, 5:] == found[:6, :15]).all()
    assert (moved[:4] == 255).all()
    assert (moved[:, :5] == 255).all()


def test_nodata_of_colours_is_the_colour_of_that_shade_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", colours(RED, GREEN, BLACK), nodata=0, photometric="RGB")
    text = "#ff0000=building,#00ff00=road"
    assert read(path, text)[:3, 0].tolist() == [0, 1, 255]
    assert read(path, text, SHIFTED)[3:7, 10].tolist() == [255, 0, 1, 255]
    assert read(path, f"{text},#000000=background")[:3, 0].tolist() == [1, 2, 0]


@pytest.mark.parametrize("on", [scene(), SHIFTED], ids=["same grid", "another grid"])
def test_a_mask_beside_says_where_labels_are_known(tmp_path: Path, on: SceneInfo) -> None:
    path = write(tmp_path / "a.tif", mask(2, 1))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.arange(20) * np.ones((10, 1)) != 3)
    found = read(path, on=on)
    left, top = (0, 0) if on is not SHIFTED else (5, 4)
    assert np.flatnonzero((found[top:] == 255).all(axis=0)).tolist() == [*range(left), left + 3]


def test_lowest_values_of_float32_are_nodata(tmp_path: Path) -> None:
    values = mask(2, 1, "float32")
    values[9] = np.finfo("float32").min
    assert (read(write(tmp_path / "a.tif", values, nodata=-3.4028234663852886e38))[9] == 255).all()


def test_three_equal_bands_are_the_values_that_they_repeat(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", np.repeat(mask(0, 2)[None], 3, axis=0))
    assert open_labels(path).classes.names == ("class 0", "class 2")
    assert read(path, "0=background,2=road")[:, 0].tolist() == [1] * 4 + [0] * 6


def test_shades_of_grey_may_be_named_as_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", mask(0, 255))
    assert read(path, "#000000=background,#ffffff=road")[:, 0].tolist() == [1] * 4 + [0] * 6


def test_a_palette_shows_values_unless_a_class_map_speaks_of_its_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "mask.tif", mask(3, 4), palette={3: (*BLACK, 255), 4: (*RED, 255)})
    source = open_labels(path)
    assert (source.classes.names, source.classes[1].colour) == (("class 3", "class 4"), "#ff0000")
    assert read(path, "#ff0000=building,#000000=background")[:, 0].tolist() == [1] * 4 + [0] * 6


def test_palettes_that_differ_are_asked_about_and_read_by_colour(tmp_path: Path) -> None:
    paths = {
        "one.tif": write(tmp_path / "a.tif", mask(), palette={0: (*BLACK, 255), 1: (*RED, 255)}),
        "two.tif": write(tmp_path / "b.tif", mask(), palette={0: (*RED, 255), 1: (*BLACK, 255)}),
    }
    files = {name: str(path) for name, path in paths.items()}
    for class_map in (None, ClassMap.parse("0=background,1=building")):
        with pytest.raises(ClassRasterError, match="A value has different colours") as caught:
            open_labels(files, class_map=class_map)
        assert caught.value.hint == "Name them: `class_map='#000000=NAME,#ff0000=NAME'`"
    values = ClassValues(list(files.values()), Reading(ClassMap.parse("#000000=background,#ff0000=building")))
    assert values.classes_of(files["one.tif"]) == {0: "background", 1: "building"}
    assert values.classes_of(files["two.tif"]) == {0: "building", 1: "background"}


def test_nodata_0_beside_one_class_is_asked_about_and_a_class_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "roofs.tif", mask(), nodata=0)
    for class_map in (None, ClassMap.parse("1=roof")):
        with pytest.raises(LabelError, match=r"holds only 1, and 0 as nodata \(120 px\)") as caught:
            open_labels(path, class_map=class_map)
        assert "`class_map='0=background,1=NAME'`" in (caught.value.hint or "")
    text = "0=background,1=roof"
    assert read(path, text)[:, 0].tolist() == [1] * 4 + [0] * 6
    moved = read(path, text, SHIFTED)
    assert moved[:, 10].tolist() == [255] * 4 + [1] * 4 + [0] * 2
    assert (moved[:, :5] == 255).all()
    assert read(path, "0=ignore,1=roof")[:, 0].tolist() == [0] * 4 + [255] * 6


@pytest.mark.parametrize(("nodata", "dtype"), [(255, "uint8"), (-9999, "float32"), (2, "int16")])
def test_any_nodata_beside_one_class_is_asked_about(tmp_path: Path, nodata: int, dtype: str) -> None:
    path = write(tmp_path / "roofs.tif", mask(nodata, 1, dtype), nodata=nodata)
    with pytest.raises(LabelError, match=rf"holds only 1, and {nodata} as nodata \(120 px\)"):
        open_labels(path)
    write(tmp_path / "nothing.tif", mask(nodata, 0, dtype), nodata=nodata)
    assert open_labels(tmp_path / "nothing.tif").classes.names == ("class 0",)
    assert read(path, f"{nodata}=background,1=roof")[:, 0].tolist() == [1] * 4 + [0] * 6
    assert read(path, f"{nodata}=ignore,1=roof")[:, 0].tolist() == [0] * 4 + [255] * 6


def test_values_below_0_of_all_rasters_are_asked_about_at_once(tmp_path: Path) -> None:
    codes = {"a": (1, 0), "b": (-1, 0), "c": (-9, 7), "d": (-1, -9)}
    files = [write(tmp_path / f"{name}.tif", mask(*pair, "int16")) for name, pair in codes.items()]
    counts = {code: sum(int((mask(*pair, "int16") == code).sum()) for pair in codes.values()) for code in (-1, -9)}
    told = ", ".join(f"{code} ({n} px)" for code, n in sorted(counts.items(), key=lambda entry: -entry[1]))
    for labels in (files, {path.stem: [str(path)] for path in files}):
        with pytest.raises(LabelError) as caught:
            open_labels(labels)
        assert caught.value.message == (
            f"{files[1]}, with 2 more, holds negative values, which may be classes, or mean unlabelled: {told}."
        )
        assert caught.value.hint == (
            "Use `unlabelled=-9` `unlabelled=-1`, or `class_map='-9=ignore,-1=ignore,0=NAME,1=NAME,7=NAME'`"
        )


def test_values_below_0_are_asked_about(tmp_path: Path) -> None:
    values = mask(-1, 0, "int16")
    values[9] = 1
    path = write(tmp_path / "chip.tif", values)
    with pytest.raises(
        LabelError, match=r"negative values, which may be classes, or mean unlabelled: -1 \(100 px\)"
    ) as caught:
        open_labels(path)
    assert caught.value.hint == "Use `unlabelled=-1`, or `class_map='-1=ignore,0=NAME,1=NAME'`"
    expected = [0] * 4 + [255] * 5 + [1]
    assert read(path, unlabelled=[-1])[:, 0].tolist() == expected
    assert read(path, "-1=ignore,0=land,1=water")[:, 0].tolist() == expected


def test_nodata_0_beside_several_classes_is_unlabelled_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = mask(0, 1)
    values[9] = 2
    assert (read(write(tmp_path / "cover.tif", values, nodata=0))[4:9] == 255).all()
    assert "100 px of nodata (0) are treated as unlabelled" in caplog.text


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float64"]
)
@pytest.mark.parametrize("nodata", [None, 7])
def test_any_type_of_number_is_read_on_any_grid_and_says_nothing_outside(
    tmp_path: Path, dtype: str, nodata: int | None
) -> None:
    values = mask(2, 1, dtype)
    values[:, 3] = 7
    path = write(tmp_path / "a.tif", values, nodata=nodata)
    expected = np.where(values == 7, 255 if nodata else 2, values - 1).astype(np.uint8)
    assert (read(path) == expected).all()
    moved = np.full((10, 20), 255)
    moved[4:, 5:] = expected[:6, :15]
    assert (read(path, on=SHIFTED) == moved).all()


def test_nan_and_alpha_say_that_nothing_is_known_on_any_grid(tmp_path: Path) -> None:
    values = mask(2, 1, "float32")
    values[:, 3] = np.nan
    alpha = np.stack([mask(2, 1), np.where(np.arange(20) == 3, 0, 255) * np.ones((10, 1))]).astype(np.uint8)
    for path in (
        write(tmp_path / "nan.tif", values, nodata=np.nan),
        write(tmp_path / "bare.tif", values),
        write(tmp_path / "alpha.tif", alpha, photometric="MINISBLACK", alpha="YES"),
    ):
        assert open_labels(path).classes.names == ("class 1", "class 2")
        assert np.flatnonzero((read(path) == 255).all(axis=0)).tolist() == [3]
        assert np.flatnonzero((read(path, on=SHIFTED)[4:] == 255).all(axis=0)).tolist() == [0, 1, 2, 3, 4, 8]


def test_what_was_compressed_with_loss_is_refused_whoever_compressed_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 2, (8, 8)), np.ones((11, 11)))[:64, :64].astype(np.uint8)
    jpeg = write(tmp_path / "mask.jpg", 255 * blocks, driver="JPEG")
    tiff = write(tmp_path / "ids.tif", 60 * blocks, compress="JPEG")
    with rasterio.open(jpeg) as dataset:
        blurred = write(tmp_path / "blurred.png", dataset.read(1), driver="PNG")
        colours = write(tmp_path / "colours.jpg", np.stack([dataset.read(1), 255 - dataset.read(1), 0 * blocks]))
    for path, message in (
        (jpeg, "lossy compression"),
        (tiff, "lossy compression"),
        (blurred, "mask of 0 and 255 that was resampled"),
    ):
        for text in (None, "0=background,255=building"):
            with pytest.raises(ClassRasterError, match=message):
                open_labels(path, class_map=None if text is None else ClassMap.parse(text))
    for path in (jpeg, blurred):
        assert open_labels(path, class_map=ClassMap.parse("0=background,255=road,*=ignore")).classes.names
    with pytest.raises(ClassRasterError, match="colours"):
        open_labels(colours)


def test_a_little_noise_about_0_and_255_is_enough(tmp_path: Path) -> None:
    values = mask(0, 255)
    values[0, :5], values[9, :5] = [255, 254, 253, 254, 255], [0, 1, 2, 1, 0]
    with pytest.raises(ClassRasterError, match=r"mask of 0 and 255 .* it also has 4 values between them"):
        open_labels(write(tmp_path / "a.png", values, driver="PNG"))


def test_a_picture_is_no_class_raster(tmp_path: Path) -> None:
    values = np.arange(200, dtype=np.uint8).reshape(10, 20)
    path = write(tmp_path / "photo.tif", values)
    with pytest.raises(ClassRasterError, match="has 200 different values without names"):
        open_labels(path)
    assert ClassValues([path], Reading(use=Use.POLYGONS)).codes == list(range(200))


def test_labels_of_few_classes_beside_255_are_no_blurred_mask(tmp_path: Path) -> None:
    values = np.full((10, 20), 255, dtype=np.uint8)
    values[0], values[1, :12] = 0, np.arange(12)
    assert len(open_labels(write(tmp_path / "a.tif", values)).classes) == 12


def attributes(columns: list[tuple[str, int, int]], rows: list[tuple[object, ...]]) -> str:
    """An attribute table with columns of a name, a type (0 integer, 1 real, 2 text) and a usage (2 name, 5 value)."""
    fields = "".join(
        f'<FieldDefn index="{i}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>'
        for i, (name, kind, usage) in enumerate(columns)
    )
    cells = ["".join(f"<F>{escape(str(cell))}</F>" for cell in row) for row in rows]
    lines = "".join(f'<Row index="{i}">{row}</Row>' for i, row in enumerate(cells))
    return f"<GDALRasterAttributeTable>{fields}{lines}</GDALRasterAttributeTable>"


TOLD = {
    "categories": "".join(
        [
            "<CategoryNames><Category>soil &amp; sand</Category>",
            4 * "<Category/>",
            "<Category> building </Category></CategoryNames>",
        ]
    ),
    "usages": attributes([("a", 2, 2), ("b", 1, 5)], [("building", 5.0), ("soil & sand", 0)]),
    "names": attributes(
        [("Count", 0, 1), ("VALUE", 0, 0), ("Red", 0, 6), ("Class_Name", 2, 0), ("Note", 2, 0)],
        [(9, 5, 255, "building", "x"), (9, 0, 0, "soil & sand", "y")],
    ),
    "one text": attributes([("Value", 0, 0), ("Land cover", 2, 0)], [(0, "soil & sand"), (5, "building")]),
    "rows": attributes(
        [("Histogram", 1, 1), ("Class_Names", 2, 2)],
        [(9, "soil & sand"), (0, ""), (0, ""), (0, ""), (0, ""), (9, "building")],
    ),
}


@pytest.mark.parametrize("kind", TOLD)
def test_names_of_other_tools_decide(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "ids.tif", mask(0, 5))
    beside = f'<PAMDataset><PAMRasterBand band="1">{TOLD[kind]}</PAMRasterBand></PAMDataset>'
    (tmp_path / "ids.tif.aux.xml").write_text(beside)
    assert open_labels(tmp_path / "ids.tif").classes.names == ("soil & sand", "building")
    assert read(tmp_path / "ids.tif", "building=house,*=background")[:, 0].tolist() == [1] * 4 + [0] * 6


def test_an_attribute_table_without_names_names_nothing(tmp_path: Path) -> None:
    write(tmp_path / "ids.tif", mask(0, 5))
    told = attributes([("Value", 0, 5), ("Count", 0, 1)], [(0, 120), (5, 80)])
    beside = f'<PAMDataset><PAMRasterBand band="1">{told}</PAMRasterBand></PAMDataset>'
    (tmp_path / "ids.tif.aux.xml").write_text(beside)
    assert open_labels(tmp_path / "ids.tif").classes.names == ("class 0", "class 5")


def test_the_names_of_each_raster_are_its_own(tmp_path: Path) -> None:
    one = named(tmp_path / "a.tif", mask(), "background", "building")
    other = named(tmp_path / "b.tif", mask(1, 0), "building", "background")
    files = {"one": str(one), "two": str(other)}
    source = open_labels(files)
    ids = {name: i for i, name in enumerate(source.classes.names)}
    values = source.layers[0].values
    assert values.classes_of(str(one)) == {0: "background", 1: "building"}
    assert values.classes_of(str(other)) == {0: "building", 1: "background"}
    assert set(ids) == {"background", "building"}


def test_values_that_a_class_map_lacks_are_told_all_at_once(tmp_path: Path) -> None:
    values = mask(2, 3)
    values[9, :5] = 7
    path = write(tmp_path / "a.tif", values)
    with pytest.raises(LabelError, match=r"holds the values 3 \(80 px\), 7 \(5 px\), which `class_map`") as caught:
        open_labels(path, class_map=ClassMap.parse("2=road"))
    assert "`class_map='3=class 3,7=class 7'`, with other" in (caught.value.hint or "")


def test_a_raster_without_names_is_not_taken_for_the_classes_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", mask())
    table = ClassTable.from_names(["background", "building", "tree"])
    with pytest.raises(LabelError, match=r"does not name its values, 0, 1; the classes are background, bu") as caught:
        open_labels(path, classes=table)
    assert (caught.value.hint or "").endswith("`class_map='0=background,1=building'`")
    assert open_labels(path, classes=ClassTable.from_names(["class 0", "class 1"])).classes.names[1] == "class 1"


@pytest.mark.parametrize("name", ["project.gpkg", "pro!ject.gpkg"])
def test_a_geopackage_of_raster_and_features_is_read_for_its_features(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    write(tmp_path / "photo.tif", np.random.default_rng(0).integers(0, 255, (3, 10, 20)).astype(np.uint8))
    path = tmp_path / "project.gpkg"
    roof = shapely.box(500_000, 4_999_992, 500_008, 5_000_000)
    geopandas.GeoSeries([roof], crs="EPSG:32632").to_file(path, layer="roofs")
    rasterio.shutil.copy(tmp_path / "photo.tif", path, driver="GPKG", APPEND_SUBDATASET="YES")
    path = path.rename(tmp_path / name)
    assert open_labels(path).classes.names == ("background", path.stem)
    assert read(path).sum() == 16
    assert "GPKG:" in caplog.text
    with pytest.raises(ClassRasterError, match="holds colours"):
        open_labels(f"GPKG:{path}:photo")
    with pytest.raises(ClassRasterError, match="cannot be opened as a raster"):
        open_labels(f"GPKG:{path}:orto")


def test_several_rasters_complement_each_other(tmp_path: Path) -> None:
    left, right = mask(0, 1), mask(0, 1)
    left[:, 10:], right[:, :10] = 255, 255
    paths = [write(tmp_path / "a.tif", left), write(tmp_path / "b.tif", right)]
    source = open_labels(paths)
    with source.on(scene()) as labels:
        assert (labels.read(WHOLE) == mask(0, 1)).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 254), st.sampled_from("abcde"), min_size=1, max_size=12), st.data())
def test_every_value_becomes_the_class_that_the_map_names(tmp_path: Path, classes: dict, data: st.DataObject) -> None:
    codes = np.array(data.draw(st.lists(st.sampled_from(sorted(classes)), min_size=6, max_size=6)))
    dtype = data.draw(st.sampled_from(["uint8", "int16", "uint32", "float32"]))
    path = write(tmp_path / "a.tif", codes.reshape(2, 3).astype(dtype))
    text = ",".join(f"{code}={name}" for code, name in classes.items())
    values = ClassValues([path], Reading(ClassMap.parse(text), use=Use.POLYGONS))
    ids = {name: i for i, name in enumerate(values.names)}
    with values.open(str(path)) as bands:
        found, wrong = Translation(values.classes_of(str(path)), ids)(*bands.read(Window(0, 0, 3, 2)))
    assert not wrong.any()
    assert [values.names[i] for i in found.ravel()] == [classes[code] for code in codes]


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (np.zeros((2, 4, 4), dtype=np.uint8), "not a class raster: it has 2 bands"),
        (np.zeros((3, 4, 4), dtype=np.uint16), "not a class raster: it has 3 bands"),
        (np.full((1, 4, 4), 0.5, dtype=np.float32), "holds float32 values such as 0.5"),
        (np.full((1, 4, 4), 2**63, dtype=np.uint64), "holds uint64 values such as 9.22337e"),
    ],
    ids=["two bands", "three bands of 16 bits", "no whole number", "large"],
)
def test_what_is_no_class_raster_is_refused(tmp_path: Path, bands: np.ndarray, message: str) -> None:
    for kind in (LabelError, SceneError):
        with pytest.raises(kind, match=message):
            open_labels(write(tmp_path / "a.tif", bands))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), min_size=0, max_size=3), st.integers(1, 30), st.sampled_from(["uint8", "int16"]))
def test_pixels_are_counted_in_long_and_short_runs(tmp_path: Path, some: list, length: int, dtype: str) -> None:
    values = np.repeat([*some, 5], length).astype(dtype).reshape(1, -1)
    path = write(tmp_path / "a.tif", values, nodata=4)
    with ClassBands(path) as bands:
        counts, unknown = bands.count()
    codes, pixels = np.unique(values[values != 4], return_counts=True)
    assert counts == dict(zip(codes.tolist(), pixels.tolist(), strict=True))
    assert unknown == (values == 4).sum()


def test_wide_rasters_are_counted_in_few_pixels_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "STRIP_PIXELS", 16 * 64)
    values = np.random.default_rng(0).integers(0, 9, (70, 300)).astype(np.uint8)
    path = write(tmp_path / "a.tif", values, tiled=True, blockxsize=16, blockysize=32)
    sizes = []
    with ClassBands(path) as bands:
        read = bands.read
        monkeypatch.setattr(bands, "read", lambda window: sizes.append(window.width * window.height) or read(window))
        counts, _ = bands.count()
    assert counts == dict(enumerate(np.bincount(values.ravel()).tolist()))
    assert max(sizes) <= 16 * 64


def test_rows_are_translated_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_values, "PIXELS_AT_ONCE", 30)
    codes = np.random.default_rng(0).integers(0, 4, (17, 13)).astype(np.int16)
    valid = codes != 3
    ids, wrong = Translation({0: "a", 1: "ignore", 3: "b"}, {"a": 7, "b": 8})(codes, valid)
    assert (ids == np.uint8([7, 255, 255, 255])[codes]).all()
    assert (wrong == (codes == 2)).all()
