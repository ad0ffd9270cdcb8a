"""What a scene is made of: a value that threads and other machines open for themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from satseg.arguments import Bands, Given, PathLike, Paths, band_names, path, paths
from satseg.errors import UsageError
from satseg.files.names import is_local_file
from satseg.raster.arrays import write_array
from satseg.raster.scene import Scene, scene_name
from satseg.raster.selection import common_words
from satseg.signatures import check_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affine import Affine


@dataclass(frozen=True)
class SceneSource:
    """How to open a scene. It can be pickled and compared; nothing is open.

    Args:
        paths: Files, URLs or GDAL names; the bands of several are stacked in this order, on one grid.
        bands: Bands to read, by number from 1 (counted through all files) or by name; None reads all.
        expand_palette: Whether a single band with a colour table is read as its colours (red, green, blue).
        held: What keeps temporary files of :meth:`from_array`.

    Raises:
        UsageError: No file is named, or no band.
    """

    paths: Given[Paths, tuple[str, ...]] = Given(paths)
    bands: Given[Bands | None, tuple[str, ...] | None] = Given(band_names)
    expand_palette: bool = True
    held: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.paths:
            raise UsageError("A scene needs a file.")
        if self.bands == ():
            raise UsageError("A band without a number or name was asked for.", hint="For example: --bands 4,3,2")

    @classmethod
    def of(cls, scene: PathLike | SceneSource, *, bands: Bands | None = None) -> SceneSource:
        """Return the source of one file, with a choice of bands; a source passes as it is."""
        if isinstance(scene, SceneSource):
            return scene
        return cls(path(scene, "scene"), bands)

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        transform: Affine | None,
        crs: Any,
        nodata: float | None = None,
        names: Sequence[str] | None = None,
        stem: str = "array",
    ) -> SceneSource:
        """Return an array as a scene, for any function that takes scenes, maps or rasters.

        The array is copied to a temporary file, uncompressed, in the folder that ``TMPDIR`` names; that goes with the
        source. Of an xarray with rioxarray, pass ``data.values, transform=data.rio.transform(), crs=data.rio.crs``.

        Args:
            array: (bands, H, W), or (H, W) for one band, of real numbers. What a masked array masks is no data.
            transform: ``affine.Affine``, pixel (column, row) to CRS coordinates (x, y); None with no CRS.
            crs: ``"EPSG:32633"``, WKT, or a CRS of rasterio or pyproj; None for pictures that lie nowhere.
            nodata: Value that stands for no data.
            names: Names of the bands, by which a network finds those it was trained on.
            stem: What ``{stem}`` in names of outputs stands for.

        Raises:
            UsageError: It is no such array or has its bands last, or does not fit what was said of it.
            OutputError: The temporary file cannot be written.
        """
        file = write_array(array, transform=transform, crs=crs, nodata=nodata, names=names, stem=stem)
        return cls(file.path, held=file)

    def __fspath__(self) -> str:
        """Return the name of the file, where that alone is the scene.

        Raises:
            UsageError: It is made of several files, or of some bands.
        """
        if len(self.paths) > 1 or self.bands is not None:
            raise UsageError(
                f"{self.name} is a stack of files or a choice of bands, where one whole file is wanted.",
                hint="Build a VRT of it, by gdalbuildvrt or gdal_translate, and name that.",
            )
        return self.paths[0]

    def open(self) -> Scene:
        """Open the scene.

        Raises:
            SceneError: As :meth:`Scene.open`.
        """
        return Scene.open(*self.paths, bands=self.bands, expand_palette=self.expand_palette)

    @property
    def name(self) -> str:
        """What the scene is called in messages, as in ``SceneInfo.path``."""
        return scene_name(self.paths)

    @property
    def stem(self) -> str:
        """What outputs are named after: the file's name without suffix, or what stacked files have in common."""
        stems = [_stem(path) for path in self.paths]
        shared = common_words([stem.split("_") for stem in stems])
        return "_".join(shared) or stems[0]


def _stem(path: str) -> str:
    """Return the name of a file without folders, suffix, and what follows a name in a URL."""
    return Path(path).stem if is_local_file(path) else PurePosixPath(path.split("?", 1)[0]).stem
