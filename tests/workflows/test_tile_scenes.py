"""What scenes are made of: stacks, bands, extra rasters, other resolutions, folders of pairs.

Covers ``tiling/content_hash``, ``tiling/scenes`` and ``tiling/inputs``.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_labels, write_map, write_scene
from PIL import Image

from satseg.errors import SatsegError, SceneError, TileError, UsageError
from satseg.records import ProgressEvent
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.tile import tile

WHOLE = {"size": 64, "overlap": 0, "split": (1, 0, 0)}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "houses.gpkg", *((i, i, i + 20, i + 20) for i in range(0, 280, 40)))


def read(folder: Path) -> np.ndarray:
    """Return the first tile of a set: (band, row, col)."""
    return TileSet.open(folder).tiles("train")[0].read()[0]


def test_files_are_stacked_and_bands_chosen_by_name(tmp_path: Path, labels: Path) -> None:
    rng = np.random.default_rng(0)
    bands = {name: rng.integers(1, 4000, (1, 64, 64), dtype=np.uint16) for name in ("B02", "B03", "B08")}
    files = [write_scene(tmp_path / f"T45_{name}_10m.tif", values) for name, values in bands.items()]
    tile(stack=files, labels=labels, output=tmp_path / "tiles", settings=TileSettings(bands=["B08", "b02"], **WHOLE))
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.bands.names == ("B08", "B02")
    assert tile_set.tiles("train")[0].name == "T45_0_0"
    assert (read(tmp_path / "tiles") == np.concatenate([bands["B08"], bands["B02"]])).all()


def test_extra_rasters_are_brought_onto_the_grid(tmp_path: Path, labels: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.full((1, 64, 64), 7, dtype=np.uint8))
    plane = np.add.outer(np.arange(40.0), np.zeros(40))[None].astype(np.float32)  # falls by 1 every 4 pixels
    grid = GRID * Affine.translation(-16, -16) * Affine.scale(4)
    height = write_scene(tmp_path / "height.tif", plane, transform=grid, nodata=-1)
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(extra=[height], **WHOLE))
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.bands.names == ("band_1", "height")
    assert tile_set.bands.dtype == "float32"
    image = read(tmp_path / "tiles")
    assert (image[0] == 7).all()
    expected = np.add.outer((np.arange(64) + 0.5 + 16) / 4 - 0.5, np.zeros(64))
    assert image[1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_where_an_extra_raster_has_no_data_no_band_has(tmp_path: Path, labels: Path, dtype: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.full((1, 64, 64), 7, dtype=np.uint8))
    part = write_scene(tmp_path / "part.tif", np.ones((1, 64, 40), dtype=dtype))
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(extra=[part], **WHOLE))
    _, classes, valid = TileSet.open(tmp_path / "tiles").tiles("train")[0].read()
    assert (valid == (np.arange(64) < 40)).all()
    assert ((classes == 255) == (np.arange(64) >= 40)).all()


def test_scenes_are_brought_to_a_ground_resolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 4000, (2, 128, 192), dtype=np.uint16)
    scene = write_scene(tmp_path / "scene.tif", fine)
    labels = write_labels(tmp_path / "houses.gpkg", (8, 16, 40, 64))
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(gsd="1m", **(WHOLE | {"size": 96})))
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.gsd == pytest.approx((1, 1), rel=1e-3)
    bands, classes, _ = tile_set.tiles("train")[0].read()
    means = fine.reshape(2, 64, 2, 96, 2).mean(axis=(2, 4))
    assert np.abs(bands - means).max() <= 0.5
    assert (np.argwhere(classes == 1).min(axis=0) == (8, 4)).all()
    assert (classes == 1).sum() == 16 * 24


def test_resampled_pixels_do_not_depend_on_the_window(tmp_path: Path, labels: Path) -> None:
    rng = np.random.default_rng(0)
    fine = rng.normal(0, 1, (1, 300, 300)).astype(np.float32)
    fine[0, 100:140, 30:80] = np.nan
    scene = write_scene(tmp_path / "scene.tif", fine)
    for gsd in ("0.83m", "0.31m"):
        for name, size in (("whole", 1024), ("parts", 128)):
            output = tmp_path / f"{name}{gsd}"
            tile([scene], labels=labels, output=output, settings=TileSettings(gsd=gsd, **(WHOLE | {"size": size})))
        whole = read(tmp_path / f"whole{gsd}")
        for entry in TileSet.open(tmp_path / f"parts{gsd}").index.to_dict("records"):
            part, _, valid = TileSet.open(tmp_path / f"parts{gsd}").tile(entry).read()
            there = whole[:, entry["row"] : entry["row"] + 128, entry["col"] : entry["col"] + 128]
            assert (part[:, valid] == there[:, valid]).all()


def test_a_resolution_needs_a_crs(tmp_path: Path, labels: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.ones((1, 64, 64), dtype=np.uint8), crs=None)
    with pytest.raises(SceneError, match="no known ground resolution"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(gsd="1m"))
    with pytest.raises(UsageError, match="`gsd='fine'` is not a length"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(gsd="fine"))


def test_scale_and_offset_are_kept(tmp_path: Path, real_files: Path) -> None:
    scene = real_files / "rasters" / "cog_scale.tif"
    with rasterio.open(scene) as dataset:
        box = shapely.box(*dataset.bounds).buffer(-10)
        geopandas.GeoDataFrame(geometry=[box], crs=dataset.crs).to_file(tmp_path / "all.gpkg")
        scales, offsets, dtype = dataset.scales, dataset.offsets, dataset.dtypes[0]
    tile([scene], labels=tmp_path / "all.gpkg", output=tmp_path / "tiles", settings=TileSettings(limit=6))
    bands = TileSet.open(tmp_path / "tiles").bands
    assert (bands.scales, bands.offsets, bands.dtype) == (scales, offsets, dtype)


def write_pairs(folder: Path, image: str = "{}.png", mask: str = "{}.png", count: int = 10) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for number in range(count):
        truth = rng.integers(0, 3, (48, 64)).astype(np.uint8)
        picture = np.stack([truth * 80, truth, 255 - truth], axis=-1)
        Image.fromarray(picture).save(folder / "images" / image.format(number))
        Image.fromarray(truth).save(folder / "masks" / mask.format(number))
    return folder / "images", folder / "masks"


@pytest.mark.parametrize(("image", "mask"), [("{}.png", "{}.png"), ("photo_{}_a.png", "mask_{}.png")])
def test_pairs_of_images_and_masks_are_split_by_image(tmp_path: Path, image: str, mask: str) -> None:
    pairs = write_pairs(tmp_path, image, mask)
    summary = tile(
        pairs=pairs, output=tmp_path / "tiles", settings=TileSettings(class_map="0=background,1=road,2=ignore", size=64)
    )
    assert summary.tiles == {"train": 7, "val": 2, "test": 1} or summary.tiles == {"train": 7, "val": 1, "test": 2}
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.classes.names == ("background", "road")
    assert tile_set.bands.names == ("red", "green", "blue")
    for split in ("train", "val", "test"):
        for entry in tile_set.tiles(split):
            bands, classes, valid = entry.read()
            assert valid.all()
            assert (classes == np.array([0, 1, 255], dtype=np.uint8)[bands[1]]).all()


def test_an_image_without_a_mask_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, masks = write_pairs(tmp_path, count=3)
    (masks / "1.png").rename(masks / "7.png")
    with caplog.at_level(logging.WARNING, "satseg"):
        assert tile(pairs=(images, masks), output=tmp_path / "tiles").scenes == 2
    assert "images: 1 of 3 scenes have no labels and are skipped: 1.png." in caplog.text
    assert "masks: 1 of 3 label files have no scene and are skipped: 7.png." in caplog.text


def test_a_copy_of_an_image_is_left_out_with_its_mask_which_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, masks = write_pairs(tmp_path, count=3)
    (images / "9.png").write_bytes((images / "1.png").read_bytes())
    (masks / "9.png").write_bytes((masks / "0.png").read_bytes())
    with caplog.at_level(logging.INFO, "satseg"):
        assert tile(pairs=(images, masks), output=tmp_path / "tiles").scenes == 3
    told = f"copies of other scenes, with their labels: 1, such as {images / '9.png'}, a copy of {images / '1.png'}."
    assert told in caplog.text


def test_pairs_take_no_other_scenes_or_labels(tmp_path: Path) -> None:
    images, masks = write_pairs(tmp_path, count=3)
    with pytest.raises(UsageError, match=r"more.png has no labels of its own, beside pairs of scenes"):
        tile(["more.png"], pairs=(images, masks), output=tmp_path / "tiles")
    with pytest.raises(UsageError, match="name the labels of each scene; `labels` cannot be given with them"):
        tile(pairs=(images, masks), labels=masks / "0.png", output=tmp_path / "tiles")


def test_all_rasters_that_can_be_tiled_are(tmp_path: Path, real_files: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever type, mask, palette or grid a scene has: tiles hold what the scene holds."""
    from satseg.raster.scene import Scene

    caplog.set_level(logging.ERROR)
    names = ("RGB.byte.tif", "RGBA.uint16.tif", "alpha.tif", "float_raster_with_nodata.tif", "cog_nodata_nan.tif")
    names += ("image_nan.tif", "cog_rgb_mask.tif", "cog_dateline.tif", "rotated.tif", "image_colormap.tif")
    for number, name in enumerate(names):
        path = real_files / "rasters" / name
        with Scene.open(path) as scene:
            info = scene.info
            corners = [(0, 0), (info.width, 0), (info.width, info.height), (0, info.height)]
            everything = shapely.Polygon([info.transform * corner for corner in corners])
            place = tmp_path / f"{number}.gpkg"
            geopandas.GeoDataFrame(geometry=[everything], crs=info.crs).to_file(place)
            output = tmp_path / f"tiles{number}"
            tile([path], labels=place, output=output, settings=TileSettings(size=96, limit=4))
            tile_set = TileSet.open(output)
            assert tile_set.bands == info.bands
            for entry in tile_set.index.to_dict("records"):
                bands, classes, valid = tile_set.tile(entry).read()
                window = rasterio.windows.Window(entry["col"], entry["row"], entry["width"], entry["height"])
                expected, known = scene.read(window)
                assert (valid == known).all(), name
                assert (bands[:, valid] == expected[:, known]).all(), name
                (drawn,) = (entry.id for entry in tile_set.classes if entry.name == place.stem)
                assert set(classes[known].tolist()) <= {drawn, 255}


def test_all_scenes_that_cannot_be_used_are_named_at_once(tmp_path: Path, labels: Path) -> None:
    scenes = [write_scene(tmp_path / f"{i}.tif", np.ones((1 + i % 2, 64, 64), dtype=np.uint16)) for i in range(9)]
    scenes[5].write_bytes(b"no raster")
    with pytest.raises(TileError) as caught:
        tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32))
    assert caught.value.message == (
        f"{scenes[1]} has 2 bands of uint16 (band_1, band_2), but {scenes[0]} has 1 bands of uint16 (band_1). "
        f"Also unusable: {scenes[3]}, {scenes[5]}, {scenes[7]}."
    )


def test_scenes_of_other_scales_are_refused(tmp_path: Path, labels: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", np.ones((1, 64, 64), dtype=np.uint16)) for name in "ab"]
    with rasterio.open(scenes[1], "r+") as dataset:
        dataset.offsets = (-0.1,)
    with pytest.raises(TileError, match=r"b\.tif has other scales or offsets than .*a\.tif: scale 1, offset -0\.1"):
        tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32))


def test_scenes_of_one_name_are_told_apart(tmp_path: Path, labels: Path) -> None:
    scenes = []
    for folder, name in (("x", "a"), ("y", "a"), ("z", "a-1")):
        (tmp_path / folder).mkdir()
        scenes.append(write_scene(tmp_path / folder / f"{name}.tif", np.ones((1, 64, 64), dtype=np.uint8)))
    tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    assert sorted(TileSet.open(tmp_path / "tiles").index["tile"]) == ["a-0_0_0", "a-1-2_0_0", "a-1_0_0"]


def named_chips(folder: Path, **names: tuple[str, ...]) -> list[Path]:
    """Write a scene below the last one, on its right, for each entry, with these names of its bands; band k holds k."""
    scenes = []
    for number, (stem, words) in enumerate(names.items()):
        grid = GRID * Affine.translation(64 * number, 64 * number)
        values = np.arange(1, len(words) + 1, dtype=np.uint8)[:, None, None] * np.ones((1, 64, 64), dtype=np.uint8)
        scenes.append(write_scene(folder / f"{stem}.tif", values, transform=grid, photometric="minisblack"))
        with rasterio.open(scenes[-1], "r+") as dataset:
            dataset.descriptions = words
    return scenes


def test_bands_named_by_their_chip_go_by_number(tmp_path: Path, labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenes = named_chips(tmp_path, one=("one-r", "one-g", "nir"), two=("two-r", "two-g", "NIR"))
    with caplog.at_level(logging.WARNING, "satseg"):
        tile(scenes, labels=labels, output=tmp_path / "numbered", settings=TileSettings(bands=["1", "3"], **WHOLE))
        assert "Bands are matched by position" not in caplog.text
        tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    assert TileSet.open(tmp_path / "numbered").bands.names == ("band_1", "nir")
    assert TileSet.open(tmp_path / "tiles").bands.names == ("band_1", "band_2", "nir")
    assert "in 1 scenes, such as" in caplog.text


def test_bands_of_the_same_names_are_put_into_one_order(tmp_path: Path, labels: Path) -> None:
    scenes = named_chips(tmp_path, one=("blue", "green", "red"), two=("Red", "Green", "Blue"))
    tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.bands.names == ("blue", "green", "red")
    values = {entry.name: entry.read()[0][:, 0, 0].tolist() for entry in tile_set.tiles("train")}
    assert values == {"one_0_0": [1, 2, 3], "two_0_0": [3, 2, 1]}


def test_bands_chosen_by_number_keep_their_order_but_a_shuffle_is_warned_of(
    tmp_path: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenes = named_chips(tmp_path, one=("blue", "red"), two=("red", "blue"))
    with caplog.at_level(logging.WARNING, "satseg"):
        tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(bands=["1", "2"], **WHOLE))
    assert all(entry.read()[0][:, 0, 0].tolist() == [1, 2] for entry in TileSet.open(tmp_path / "tiles").tiles("train"))
    assert "Bands are matched by position" in caplog.text


def test_chips_named_otherwise_are_added_under_the_names_of_the_set(tmp_path: Path, labels: Path) -> None:
    one, two = named_chips(tmp_path, one=("blue", "red"), two=("two-1", "two-2"))
    tile([one], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    tile([two], labels=labels, output=tmp_path / "tiles", settings=TileSettings(append=True, **WHOLE))
    assert TileSet.open(tmp_path / "tiles").bands.names == ("blue", "red")


def test_bands_by_number_are_by_number_in_a_set_of_names_too(
    tmp_path: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = named_chips(tmp_path, one=("blue", "red"), two=("first", "second", "third"))
    tile([one], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    with caplog.at_level(logging.WARNING, "satseg"):
        tile(
            [two],
            labels=labels,
            output=tmp_path / "tiles",
            settings=TileSettings(append=True, bands=["3", "1"], **WHOLE),
        )
    tile_set = TileSet.open(tmp_path / "tiles")
    assert tile_set.bands.names == ("blue", "red")
    assert {entry.name: entry.read()[0][:, 0, 0].tolist() for entry in tile_set.tiles("train")}["two_0_0"] == [3, 1]
    assert "Bands are matched by position" not in caplog.text


@pytest.mark.parametrize("way", ["again", "dot", "link", "hard link", "copy", "other format"])
@pytest.mark.parametrize("crs", ["EPSG:32645", None])
def test_a_scene_that_is_there_twice_is_cut_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str, crs: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    bands = np.random.default_rng(0).integers(0, 255, (1, 128, 128), dtype=np.uint8)
    write_scene(Path("a.tif"), bands, crs=crs)
    write_map(Path("labels.tif"), Path("a.tif"), (bands[0] > 99).astype(np.uint8))
    other = {"again": "a.tif", "dot": "./a.tif", "other format": "b.png"}.get(way, "b.tif")
    if way == "link":
        Path("b.tif").symlink_to("a.tif")
    elif way == "hard link":
        Path("b.tif").hardlink_to("a.tif")
    elif way == "copy":
        write_scene(Path("b.tif"), bands, crs=crs, compress="deflate")
    elif way == "other format":
        Image.fromarray(bands[0]).save("b.png")
    with caplog.at_level(logging.INFO, "satseg"):
        tile(["a.tif", other], labels="labels.tif", output="tiles", settings=TileSettings(size=32, block=64))
    assert f"Skipping copies of other scenes: 1, such as {other}, a copy of a.tif." in caplog.text
    index = TileSet.open("tiles").index
    assert set(index["scene"]) == {"a.tif"}
    with pytest.raises(TileError, match="is in tiles already"):
        tile([other], labels="labels.tif", output="tiles", settings=TileSettings(size=32, block=64, append=True))


def test_scenes_of_one_ground_that_differ_in_a_pixel_are_both_cut(tmp_path: Path, labels: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8)
    one = write_scene(tmp_path / "one.tif", bands)
    bands[0, 60, 60] ^= 1
    tile(
        [one, write_scene(tmp_path / "two.tif", bands)],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(**WHOLE),
    )
    assert len(TileSet.open(tmp_path / "tiles").index) == 2


@pytest.mark.parametrize("nodata", [None, 7])
def test_scenes_of_one_value_are_no_copies_of_each_other(tmp_path: Path, labels: Path, nodata: int | None) -> None:
    bands = np.zeros((1, 64, 64), dtype=np.uint8)
    bands[0, :9, :9] = nodata or 0
    scenes = [write_scene(tmp_path / f"{i}.tif", bands, crs=None, nodata=nodata) for i in range(2)]
    mask = write_map(tmp_path / "mask.tif", scenes[0], np.ones((64, 64), dtype=np.uint8))
    tile(scenes, labels=mask, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    assert len(TileSet.open(tmp_path / "tiles").index) == 2


def test_places_that_cannot_be_are_told_once(tmp_path: Path, labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.random.default_rng(0).integers(0, 200, (3, 1, 64, 64), dtype=np.uint8)
    scenes = [
        write_scene(tmp_path / f"{i}.tif", bands, crs="EPSG:4326", transform=GRID) for i, bands in enumerate(values)
    ]
    with caplog.at_level(logging.WARNING), pytest.raises(SatsegError):
        tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    told = [message for message in caplog.messages if "metres labelled as degrees" in message]
    assert len(told) == 1
    assert "2 more scenes" in told[0]


@pytest.mark.parametrize(
    "stem", [b"caf\xe9", b"x" * 246, "ü".encode() * 120, b"a b;c?d[e|f!g%h&#x", b"-dash", b"'\n\""]
)
def test_scenes_of_any_name_are_cut_checked_and_known_again(tmp_path: Path, labels: Path, stem: bytes) -> None:
    scene = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + stem + b".tif"))
    write_scene(tmp_path / "plain.tif", np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8))
    (tmp_path / "plain.tif").rename(scene)
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE))
    assert check_tiles(tmp_path / "tiles").problems == ()
    with pytest.raises(TileError, match="already"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(append=True, **WHOLE))


def test_scenes_without_labels_are_counted_and_progress_runs_over_all_scenes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = write_labels(tmp_path / "houses.gpkg", (3, 3, 9, 9), (700, 0, 720, 20))
    scenes = []
    for number in range(8):
        grid = GRID * Affine.translation(100 * number, 0)
        scenes.append(write_scene(tmp_path / f"{number}.tif", np.ones((1, 64, 64), dtype=np.uint8), transform=grid))
    events: list[ProgressEvent] = []
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile(
            scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(**WHOLE), progress=events.append
        )
    assert summary.scenes == 2
    assert caplog.text.count("No label of") == 3
    assert "Skipped: 3 more scenes for the same kind of reason" in caplog.text
    assert [(event.done, event.total) for event in events if event.unit == "block"] == [(1, 8), (8, 8)]


@pytest.mark.parametrize("paired", [True, False])
def test_scenes_that_class_rasters_say_nothing_of_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, paired: bool
) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        grid = GRID * Affine.translation(100 * number, 0)
        there = GRID * Affine.translation(900, 0) if number == 1 else grid  # the labels of 1 lie elsewhere
        for folder, place in (("images", grid), ("masks", there)):
            (tmp_path / folder).mkdir(exist_ok=True)
            bands = rng.integers(0, 2, (1, 32, 32), dtype=np.uint8)
            write_scene(tmp_path / folder / f"{number}.tif", bands, transform=place)
    images, masks = tmp_path / "images", tmp_path / "masks"
    given = {"pairs": (images, masks)} if paired else {"scenes": sorted(images.iterdir()), "labels": [*masks.iterdir()]}
    found = tile(**given, output=tmp_path / "tiles", settings=TileSettings(**WHOLE | {"size": 32}))
    assert found.scenes == 2
    assert f"Skipped 1 of 3 scenes without a pixel that is both valid and labelled: {images / '1.tif'}." in caplog.text


def test_a_hundred_small_scenes_are_cut_without_a_block_size(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "houses.gpkg", *((40 * i, 2, 40 * i + 8, 12) for i in range(100)))
    scenes = []
    for number in range(100):
        grid = GRID * Affine.translation(40 * number, 0)
        scenes.append(write_scene(tmp_path / f"{number}.tif", np.ones((1, 32, 32), dtype=np.uint8), transform=grid))
    summary = tile(scenes, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, threads=1))
    assert summary.tiles == {"train": 70, "val": 15, "test": 15}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_masks_that_do_not_say_where_they_lie_are_those_of_their_pairs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    classes = rng.integers(0, 2, (3, 32, 32), dtype=np.uint8)
    for i, mask in enumerate(classes):
        write_scene(tmp_path / "images" / f"{i}.tif", rng.integers(0, 200, (1, 32, 32), dtype=np.uint8))
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    found = tile(
        pairs=(tmp_path / "images", tmp_path / "masks"),
        output=tmp_path / "tiles",
        settings=TileSettings(**WHOLE | {"size": 32}),
    )
    assert sum(found.pixels["train"].values()) == classes.size
    assert found.pixels["train"]["class 1"] == classes.sum()
    Image.fromarray(classes[0, :31]).save(tmp_path / "masks" / "0.png")
    tile(
        pairs=(tmp_path / "images", tmp_path / "masks"),
        output=tmp_path / "others",
        settings=TileSettings(**WHOLE | {"size": 32}),
    )
    assert "0.png (32 x 31 px) is not on the grid" in caplog.text
