"""Cut tiles: read a window of a scene and its labels, decide whether it is worth keeping, write its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import LabelError, OutputError, one_line
from satseg.raster.bands import Moments
from satseg.raster.labels import Labels
from satseg.raster.scene import window_transform
from satseg.tiles.layout import Placement
from satseg.tiles.regions import Region
from satseg.tiles.sources import AnyScene
from satseg.tiles.tileset import pixels_column

_KEEP = 1  # sub-stream of the seed's randomness: which empty tiles are kept


@dataclass(frozen=True)
class Worth:
    """Which tiles are worth keeping. Validation and test tiles are only asked for valid pixels: scores are of all.

    Args:
        min_valid: Smallest share of valid pixels.
        keep_empty: Share of the training tiles without anything but background that is kept.
        min_pixels: Smallest count of pixels by class name; a training tile needs that of one of them.
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
        if self.min_pixels and not any(pixels[name] >= least for name, least in self.min_pixels.items()):
            return False
        empty = background is not None and not any(n for name, n in pixels.items() if name != background)
        return not empty or self.keep_empty >= 1 or bool(draw() < self.keep_empty)


@dataclass(frozen=True)
class Planned:
    """A tile that may be cut.

    Args:
        scene: Number of its scene.
        block: Number of its block.
        split: Its split.
        placement: Where it lies.
        region: Where its labels count; None everywhere.
    """

    scene: int
    block: int
    split: str
    placement: Placement
    region: Region | None = None


@dataclass(frozen=True)
class Cutter:
    """Write the tiles of one scene below a folder.

    Args:
        folder: Folder of the tile set, with ``images`` and ``labels`` in it.
        scene_name: First part of the tiles' names, unique among the scenes of the set.
        classes: Class table of the labels.
        worth: Which tiles are kept.
        seed: Decides which empty tiles are kept.
    """

    folder: Path
    scene_name: str
    classes: ClassTable
    worth: Worth
    seed: int

    def cut(self, scene: AnyScene, labels: Labels, planned: Planned) -> dict[str, Any] | None:
        """Cut one tile.

        Returns:
            The tile's row of the index, ready for JSON, its moments under ``moments``; None, and nothing written,
            where it is not worth keeping.

        Raises:
            SceneError: The scene cannot be read.
            LabelError: The labels cannot be read, or hold an id that is no class.
            OutputError: A file cannot be written.
        """
        window = planned.placement.window
        bands, valid = scene.read(window)
        classes = labels.read(window)
        self._ignore(classes, valid, planned, scene)
        pixels = self._count(classes)
        share = float(np.count_nonzero(valid)) / valid.size
        corner = (int(window.row_off), int(window.col_off))
        background = None if self.classes.background is None else self.classes.names[self.classes.background]

        def draw() -> float:
            return float(np.random.default_rng((self.seed, _KEEP, planned.scene, *corner)).random())

        moments = Moments.of(bands, valid)
        if moments is None or not self.worth.keeps(planned.split, share, pixels, background, draw):
            return None
        name = f"{self.scene_name}_{corner[0]}_{corner[1]}"
        self._write(name, scene, window, bands, classes, valid)
        return {
            "tile": name,
            "image": f"images/{name}.tif",
            "labels": f"labels/{name}.tif",
            "scene": scene.info.path,
            "block": planned.block,
            "row": corner[0],
            "col": corner[1],
            "height": int(window.height),
            "width": int(window.width),
            "split": planned.split,
            "valid_share": share,
            "weight": 1.0,
            **{pixels_column(name): count for name, count in pixels.items()},
            "moments": [moments.count, *(part.tolist() for part in _parts(moments))],
        }

    def _ignore(self, classes: np.ndarray, valid: np.ndarray, planned: Planned, scene: AnyScene) -> None:
        """Ignore, in place, what is not valid, outside of the region, or counted by an earlier tile."""
        if not valid.all():
            classes[~valid] = IGNORE_INDEX
        if planned.region is not None:
            classes[~planned.region.covers(scene.info, planned.placement.window)] = IGNORE_INDEX
        if planned.split != "train":
            rows, columns = planned.placement.counted_before
            classes[:rows] = IGNORE_INDEX
            classes[:, :columns] = IGNORE_INDEX

    def _count(self, classes: np.ndarray) -> dict[str, int]:
        counts = np.bincount(classes.ravel(), minlength=256)
        unknown = np.flatnonzero(counts[len(self.classes) : IGNORE_INDEX])
        if len(unknown):
            value = len(self.classes) + int(unknown[0])
            raise LabelError(f"The labels hold the class id {value}; ids end at {len(self.classes) - 1}.")
        return dict(zip(self.classes.names, counts.tolist(), strict=False))

    def _write(
        self, name: str, scene: AnyScene, window: Window, bands: np.ndarray, classes: np.ndarray, valid: np.ndarray
    ) -> None:
        crs = None if scene.info.crs is None else rasterio.CRS.from_user_input(scene.info.crs)
        grid = {"crs": crs, "transform": window_transform(scene.info.transform, window.col_off, window.row_off)}
        _write(self.folder / "images" / f"{name}.tif", bands, grid, valid=valid, names=scene.info.bands.names)
        _write(self.folder / "labels" / f"{name}.tif", classes[None], grid | {"nodata": IGNORE_INDEX})


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
    # Said outright, since GDAL takes the fourth of four byte bands for alpha when left alone.
    profile["photometric"] = "rgb" if names == ("red", "green", "blue") and bands.dtype == np.uint8 else "minisblack"
    predictor = 3 if bands.dtype.kind == "f" else 2
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", driver="GTiff", zlevel=1, predictor=predictor, **profile, **grid) as dataset,
        ):
            dataset.write(bands)
            dataset.descriptions = names or dataset.descriptions
            if valid is not None and not valid.all():
                dataset.write_mask(valid)
    except RasterioError as error:
        raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error
