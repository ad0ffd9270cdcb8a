"""A tile on disk: its image, its labels, and its objects where they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.errors import SatsegError, TileError, one_line
from satseg.files.names import open_raster
from satseg.raster.scene import Scene
from satseg.records import BandSpec
from satseg.results import Size


@dataclass(frozen=True)
class Tile:
    """One training sample.

    Args:
        name: Unique in its tile set.
        image: GeoTIFF with the scene's bands and dtype.
        labels: GeoTIFF with class ids, 255 = ignore.
        objects: GeoTIFF with instance ids, see :meth:`read_objects`; None if objects are not kept.
        split: ``train``, ``val`` or ``test``.
        weight: How often it is drawn in training, relative to the others.
        pixels: Labelled pixels of each class.
        bands: Bands that the image must have; None accepts any.
    """

    name: str
    image: Path
    labels: Path
    split: str
    weight: float
    pixels: tuple[int, ...]
    bands: BandSpec | None = None
    objects: Path | None = None

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the sample.

        Returns:
            Raw values (band, row, col) in the scene's dtype with invalid pixels set to 0; labels (row, col) uint8,
            255 where unlabelled or invalid; valid (row, col) bool.

        Raises:
            TileError: A file is missing or damaged, or is not what the tile set says.
        """
        try:
            with Scene.open(self.image, expand_palette=False) as scene:
                window = Window(0, 0, scene.info.width, scene.info.height)
                bands, valid = scene.read(window)
        except (SatsegError, RasterioError) as error:
            raise TileError(f"Tile {self.name} cannot be read: {one_line(error)}.") from error
        labels = self.read_labels()
        if labels.shape != valid.shape:
            image, mask = Size(*valid.shape), Size(*labels.shape)
            raise TileError(f"Tile {self.name}: its image is {image} px, its labels are {mask} px.")
        if self.bands is not None and (len(bands), bands.dtype.name) != (len(self.bands), self.bands.dtype):
            there = f"{len(self.bands)} of {self.bands.dtype}"
            raise TileError(f"Tile {self.name} holds {len(bands)} bands of {bands.dtype}, not {there}.")
        if not valid.all():
            bands = np.where(valid, bands, bands.dtype.type(0))
            labels = np.where(valid, labels, np.uint8(IGNORE_INDEX))
        return bands, labels, valid

    def read_labels(self) -> np.ndarray:
        """Read the labels alone: (row, col) uint8 class ids, 255 where unlabelled.

        Raises:
            TileError: Their file is missing or damaged, or is not what the tile set says.
        """
        try:
            with open_raster(self.labels) as dataset:
                labels = dataset.read(1)
        except (SatsegError, RasterioError) as error:
            raise TileError(f"Tile {self.name} cannot be read: {one_line(error)}.") from error
        if labels.dtype.kind not in "ui":
            raise TileError(f"Tile {self.name} holds labels of {labels.dtype}; class ids are integers.")
        strange = labels[((labels < 0) | (labels >= len(self.pixels))) & (labels != IGNORE_INDEX)]
        if strange.size:
            raise TileError(f"Tile {self.name} holds the class id {strange.min()}; ids end at {len(self.pixels) - 1}.")
        found: np.ndarray = labels.astype(np.uint8, copy=False)
        return found

    def read_objects(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the objects.

        Returns:
            Instance ids (row, col) int32, unique in the tile set, 0 where there is no object; and bool, where an object
            is cut: it goes on beyond the tile, or touches the edge of its scene.

        Raises:
            TileError: Objects are not kept, or their file is missing or damaged, or is not what the tile set says.
        """
        if self.objects is None:
            raise TileError(f"Tile {self.name} has no objects.", hint="Make the tile set with `objects`.")
        try:
            with open_raster(self.objects) as dataset:
                ids = dataset.read(1)
        except RasterioError as error:
            raise TileError(f"The objects of the tile {self.name} cannot be read: {one_line(error)}.") from error
        if ids.dtype != np.int32:
            raise TileError(f"Tile {self.name} holds objects of {ids.dtype}; instance ids are int32.")
        return np.abs(ids), ids < 0

    def shows(self, other: Tile) -> bool:
        """Tell whether another tile has the same pixels; False if either cannot be read."""
        try:
            return all(map(np.array_equal, self.read()[::2], other.read()[::2]))  # images, and where they are valid
        except TileError:
            return False
