"""Cut tiles: read a window of a scene and its labels, apply the tile filter, write its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import LabelError, OutputError, one_line
from satseg.files.gdal import Environment
from satseg.files.names import plain_folder
from satseg.labels.labels import Labels
from satseg.raster.bands import Moments
from satseg.raster.scene import window_transform
from satseg.raster.values import OutOfRange, ValueRange
from satseg.records import SceneInfo
from satseg.tiles.index import pixels_column
from satseg.tiling.layout import Placement
from satseg.tiling.sources import AnyScene
from satseg.tiling.split_regions import SplitRegion

_FEW = 16
_ZERO = "class 0"
_KEEP = 1  # sub-stream of the seed for the choice of empty tiles


@dataclass(frozen=True)
class TileFilter:
    """Decide which tiles are kept. Validation and test tiles only need valid pixels, so that scores are unbiased.

    Args:
        min_valid: Smallest share of valid pixels.
        keep_empty: Fraction of the training tiles with only background that is kept.
        min_pixels: Minimum number of pixels by class name; a training tile must reach it for one of them.
    """

    min_valid: float = 0.0
    keep_empty: float = 1.0
    min_pixels: Mapping[str, int] = field(default_factory=dict)

    def keeps(
        self, split: str, valid_share: float, pixels: Mapping[str, int], background: str | None, draw: Any
    ) -> bool:
        """Decide on one tile; ``draw()`` gives its random number in 0..1."""
        if not any(pixels.values()) or valid_share < self.min_valid:
            return False
        if split != "train":
            return True
        if self.min_pixels and not any(pixels.get(name, 0) >= least for name, least in self.min_pixels.items()):
            return False
        empty = background is not None and not any(n for name, n in pixels.items() if name != background)
        return not empty or self.keep_empty >= 1 or bool(draw() < self.keep_empty)


@dataclass(frozen=True)
class PlannedTile:
    """A tile to be cut.

    Args:
        scene: Number of its scene.
        block: Number of its block.
        split: Its split.
        placement: Where it lies.
        region: Where its labels count; None everywhere.
        copy: Number of earlier tiles, of other regions, at the same position.
    """

    scene: int
    block: int
    split: str
    placement: Placement
    region: SplitRegion | None = None
    copy: int = 0


@dataclass(frozen=True, eq=False)
class TileArrays:
    """A tile that has been read, but not written.

    Args:
        number: Its number in the plan.
        planned: Its position and split.
        bands: (B, H, W) raw values.
        valid: (H, W) bool.
        classes: (H, W) uint8 class ids, 255 where ignored.
        ids: (H, W) int32 instance ids, 0 for none, negative where the object is cut; None if objects are not kept.
    """

    number: int
    planned: PlannedTile
    bands: np.ndarray
    valid: np.ndarray
    classes: np.ndarray
    ids: np.ndarray | None = None


class Cutter:
    """Cut the tiles of one scene: read them in one thread, write them in any.

    Args:
        folder: Folder of the tile set, with ``images``, ``labels`` and, if objects are kept, ``objects`` in it.
        name: First part of the tiles' names, unique among the scenes of the set.
        info: The scene.
        classes: Class table of the labels.
        tile_filter: Which tiles are kept.
        seed: Seed of the choice of empty tiles.
        weight: How often its tiles are drawn in training, relative to others.

    Attributes:
        out_of_range: Values found that no band can hold; their pixels are not valid.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        info: SceneInfo,
        classes: ClassTable,
        tile_filter: TileFilter,
        seed: int,
        weight: float = 1.0,
    ) -> None:
        self._folder = folder
        self._name = name
        self._info = info
        self._crs = None if info.crs is None else rasterio.CRS.from_user_input(info.crs)
        self._classes = classes
        self._background = empty_class(classes)
        self._tile_filter = tile_filter
        self._seed = seed
        self._weight = weight
        self.out_of_range: set[OutOfRange] = set()

    def read(self, scene: AnyScene, labels: Labels, number: int, planned: PlannedTile) -> TileArrays:
        """Read one tile; ignore pixels that are not valid, outside of its region, or part of an earlier tile.

        Raises:
            SceneError: The scene cannot be read.
            LabelError: The labels cannot be read.
        """
        window = planned.placement.window
        bands, valid = scene.read(window)
        valid, out_of_range = ValueRange().check(bands, valid, int(window.row_off), int(window.col_off))
        if out_of_range is not None:
            self.out_of_range.add(out_of_range)
        classes = labels.read(window)
        if not valid.all():
            classes[~valid] = IGNORE_INDEX
        if planned.region is not None:
            classes[~planned.region.covers(self._info, window)] = IGNORE_INDEX
        if planned.split != "train":
            rows, columns = planned.placement.counted_before
            classes[:rows] = IGNORE_INDEX
            classes[:, :columns] = IGNORE_INDEX
        ids = labels.read_ids(window) if labels.keep_objects else None
        return TileArrays(number, planned, bands, valid, classes, ids)

    def write(self, piece: TileArrays) -> dict[str, Any] | None:
        """Write one tile.

        Returns:
            Its row of the index, ready for JSON, with its moments under ``moments``; None, with nothing written, if the
            tile filter rejects it.

        Raises:
            LabelError: The labels hold an id that is no class.
            OutputError: A file cannot be written.
        """
        window = piece.planned.placement.window
        row, col = int(window.row_off), int(window.col_off)
        pixels = self._count(piece.classes)
        share = float(np.count_nonzero(piece.valid)) / piece.valid.size

        def draw() -> float:
            return float(np.random.default_rng((self._seed, _KEEP, piece.planned.scene, row, col)).random())

        if not self._tile_filter.keeps(piece.planned.split, share, pixels, self._background, draw):
            return None
        name = f"{self._name}_{row}_{col}" + (f"-{piece.planned.copy}" if piece.planned.copy else "")
        grid = {"crs": self._crs, "transform": window_transform(self._info.transform, col, row)}
        image, labels = f"images/{name}.tif", f"labels/{name}.tif"
        _write(self._folder / image, piece.bands, grid, valid=piece.valid, names=self._info.bands.names)
        _write(self._folder / labels, piece.classes[None], grid | {"nodata": IGNORE_INDEX})
        objects = {}
        if piece.ids is not None:
            objects = {"objects": f"objects/{name}.tif"}
            _write(self._folder / objects["objects"], piece.ids[None], grid | {"nodata": 0})
        moments = Moments.of(piece.bands, piece.valid)
        assert moments is not None  # a pixel is labelled, hence valid
        return {
            "tile": name,
            "image": image,
            "labels": labels,
            **objects,
            "scene": self._info.path,
            "block": piece.planned.block,
            "row": row,
            "col": col,
            "height": int(window.height),
            "width": int(window.width),
            "split": piece.planned.split,
            "valid_share": share,
            "weight": self._weight,
            **{pixels_column(name): count for name, count in pixels.items()},
            "moments": [moments.count, *(part.tolist() for part in _parts(moments))],
        }

    def _count(self, classes: np.ndarray) -> dict[str, int]:
        if len(self._classes) <= _FEW:  # faster than counting all values
            counts = [int(np.count_nonzero(classes == entry.id)) for entry in self._classes]
            known = sum(counts) + int(np.count_nonzero(classes == IGNORE_INDEX))
        else:
            counts = np.bincount(classes.ravel(), minlength=IGNORE_INDEX + 1).tolist()
            known = sum(counts[: len(self._classes)]) + counts[IGNORE_INDEX]
        if known < classes.size:
            value = int(classes[(classes >= len(self._classes)) & (classes < IGNORE_INDEX)].min())
            raise LabelError(f"The labels hold the class id {value}; ids end at {len(self._classes) - 1}.")
        return dict(zip(self._classes.names, counts, strict=False))


def empty_class(classes: ClassTable) -> str | None:
    """Return the class of empty ground: the background, or class 0 of class rasters without names."""
    if classes.background is not None:
        return classes.names[classes.background]
    return _ZERO if _ZERO in classes.names else None


def writing_environment() -> Environment:
    """Return the GDAL settings for writing tiles, with masks inside the files."""
    return Environment(GDAL_NUM_THREADS="1", GDAL_TIFF_INTERNAL_MASK=True)


def _parts(moments: Moments) -> tuple[np.ndarray, ...]:
    return moments.mean, moments.squares, moments.minimum, moments.maximum


def _write(
    path: Path,
    bands: np.ndarray,
    grid: Mapping[str, Any],
    *,
    valid: np.ndarray | None = None,
    names: tuple[str, ...] = (),
) -> None:
    count, height, width = bands.shape
    profile = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name, "compress": "deflate"}
    # Explicit, since GDAL otherwise takes the fourth of four byte bands for alpha.
    profile["photometric"] = "rgb" if names == ("red", "green", "blue") and bands.dtype == np.uint8 else "minisblack"
    predictor = 3 if bands.dtype.kind == "f" else 2
    path.unlink(missing_ok=True)  # a kill may have left half of it, which rasterio would try to open first
    try:
        with (
            plain_folder(path.parent) as folder,
            rasterio.open(
                folder / path.name, "w", driver="GTiff", zlevel=1, predictor=predictor, **profile, **grid
            ) as dataset,
        ):
            dataset.write(bands)
            dataset.descriptions = names or dataset.descriptions
            if valid is not None and not valid.all():
                dataset.write_mask(valid)
    except RasterioError as error:
        raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error
