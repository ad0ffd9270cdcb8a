"""Objects from maps of distance and boundary: the same in one piece and in blocks; true ones come back."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from flooding import in_blocks, in_one_piece, largest_part, regions, smooth_maps, true_maps
from rasterio.features import rasterize
from scipy import ndimage
from skimage.measure import label

from satseg.objects.watershed import NO_MARKER, Blocks, in_scene, objects_of
from satseg.sample import sample

BANEPA = Path(__file__).parents[3] / "shared" / "data" / "banepa"


@pytest.mark.parametrize(("side", "margin"), [(64, 40), (37, 40), (200, 40), (16, 45)])
def test_blocks_hold_the_objects_of_the_whole_scene(side: int, margin: int) -> None:
    maps = smooth_maps(3, (150, 170), 4)
    maps[0][ndimage.binary_dilation(maps[2] > 190)] = 0  # parts of the size of objects
    maps[0][::40] = maps[0][:, ::40] = 0
    assert largest_part(maps[0]) <= margin
    whole = in_one_piece(maps, 0.1)
    assert whole.max() > 30
    assert in_blocks(maps, 0.1, side, margin).tolist() == whole.tolist()


def test_every_pixel_of_a_group_has_an_object_of_that_group_alone_and_objects_are_connected() -> None:
    maps = smooth_maps(5, (120, 140), 3)
    found = in_one_piece(maps, 0.1)
    assert ((found > 0) == (maps[0] > 0)).all()
    assert all(len(np.unique(maps[0][found == number])) == 1 for number in range(1, found.max() + 1))
    assert regions(found) == found.max()


def test_parts_larger_than_the_margin_are_divided_among_objects_without_gaps() -> None:
    maps = smooth_maps(6, (150, 170), 4)
    assert largest_part(maps[0]) > 100
    found, whole = in_blocks(maps, 0.1, 40, 20), in_one_piece(maps, 0.1)
    assert ((found > 0) == (maps[0] > 0)).all()
    assert all(len(np.unique(maps[0][found == number])) == 1 for number in range(1, found.max() + 1))
    assert 0.5 < found.max() / whole.max() < 2


def test_positions_of_markers_are_those_in_the_scene() -> None:
    groups = np.zeros((50, 60), dtype=np.uint8)
    groups[22:26, 31:45] = 1
    for block in [block for row in Blocks(50, 60, 20, 15).rows() for block in row]:
        read = groups[block.window]
        labels, markers = objects_of(read, 9 * read, 0 * read, 0.5, block.inner)
        found = in_scene(markers, block, 60)[labels[block.inner]]
        assert (found == np.where(read[block.inner] > 0, 22 * 60 + 31, NO_MARKER)).all()


def test_parcels_that_cover_all_ground_come_back() -> None:
    rows, columns = np.indices((300, 320))
    strips, across = (rows + 0.4 * columns) // 41, (columns - 0.2 * rows) // 29
    ids = np.unique(strips * 100 + across, return_inverse=True)[1].reshape(rows.shape) + 1
    ids[(np.bincount(ids.ravel()) < 100)[ids]] = 0  # splinters at the edges have no interior
    assert_same_objects(in_one_piece(true_maps(ids), 0.3), ids, share=0.99)


def test_the_footprints_of_a_town_come_back_in_one_piece_and_in_blocks() -> None:
    ids = label(footprints(sample().labels, sample().labelled, (1, 1))[:900, :1000], connectivity=1)
    maps = true_maps(ids)
    found = in_one_piece(maps, 0.3)
    assert_same_objects(found, ids, share=0.999)
    assert in_blocks(maps, 0.3, 200, 256).tolist() == found.tolist()


@pytest.mark.slow
@pytest.mark.skipif(not BANEPA.is_dir(), reason=f"{BANEPA} is absent")
def test_the_footprints_of_a_larger_town_come_back() -> None:
    ids = footprints(BANEPA / "buildings.gpkg", BANEPA / "scene_train.tif", (1, 1))
    assert ids.shape == (4096, 2048)
    assert_same_objects(in_blocks(true_maps(ids), 0.3, 1024, 512), ids, share=0.999)


def footprints(labels: Path, scene: Path, scale: tuple[int, int]) -> np.ndarray:
    """Return the footprints of a scene with pixels that are so many times smaller: (row, col) int32 ids.

    Each connected part is an object, as footprints on top may divide others; ids follow their first pixels.
    """
    with rasterio.open(scene) as dataset:
        shapes = geopandas.read_file(labels).to_crs(dataset.crs).geometry
        shape = dataset.height * scale[0], dataset.width * scale[1]
        grid = dataset.transform * Affine.scale(1 / scale[1], 1 / scale[0])
    ids = rasterize(zip(shapes, range(1, len(shapes) + 1), strict=True), out_shape=shape, transform=grid, dtype="int32")
    return label(ids, connectivity=1).astype(np.int32)


def assert_same_objects(found: np.ndarray, ids: np.ndarray, share: float) -> None:
    """Check that each object is found once, with at least that share of all pixels right.

    Parts without an interior, such as the tip of a corner, may go to a neighbour, which changes the order of ids.
    """
    inside = ids > 0
    pairs, counts = np.unique(np.stack([ids[inside], found[inside]]), axis=1, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for true, other, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        best[true] = max(best.get(true, (0, 0)), (count, other))
    assert len({other for _, other in best.values()}) == len(best) == found.max()
    assert sum(count for count, _ in best.values()) >= share * inside.sum()
