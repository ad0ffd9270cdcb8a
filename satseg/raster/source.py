"""Sources of scenes: values that threads, processes and other machines open for themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from satseg.arguments import Bands, Given, PathLike, Paths, band_names, path, paths
from satseg.errors import UsageError
from satseg.files.names import is_local_file
from satseg.raster.arrays import write_array
from satseg.raster.extra import ExtraFile
from satseg.raster.mosaic import Mosaic
from satseg.raster.scene import Scene, scene_name
from satseg.raster.selection import common_words
from satseg.raster.sheets import lay_out
from satseg.signatures import check_fields

if TYPE_CHECKING:
    from affine import Affine


_extra = paths  # which is the name of a field, too


@dataclass(frozen=True)
class SceneSource:
    """The files and bands of a scene. It can be pickled and compared; nothing is open.

    Args:
        paths: Files, URLs or GDAL names; the bands of several are stacked in this order, on one grid.
        bands: Bands to read, by number from 1 (counted through all files) or by name; None for all.
        expand_palette: Whether a single band with a colour table is read as its colours (red, green, blue).
        extra: Rasters, such as elevation, that are warped onto its grid, and whose bands follow its own; ``{stem}`` in
            a name stands for :attr:`stem`.
        held: Keeps the temporary file of :meth:`from_array` alive.
        mosaic: How the files lie side by side, from :meth:`from_sheets`; None where they are stacked.

    Raises:
        UsageError: There are no files, or an empty list of bands.
    """

    paths: Given[Paths, tuple[str, ...]] = Given(paths)
    bands: Given[Bands | None, tuple[str, ...] | None] = Given(band_names)
    expand_palette: bool = True
    extra: Given[Paths, tuple[str, ...]] = Given(_extra, ())
    held: Any = field(default=None, repr=False, compare=False)
    mosaic: Mosaic | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.paths:
            raise UsageError("A scene needs a file.")
        if self.bands == ():
            raise UsageError("`bands` is empty.", hint="For example: `bands='4,3,2'`")

    @classmethod
    def of(cls, scene: PathLike | SceneSource, *, bands: Bands | None = None, extra: Paths = ()) -> SceneSource:
        """Return the source of one file, with a selection of bands and extra rasters.

        A source is returned with its own bands, and with extra rasters unless it has its own.
        """
        if isinstance(scene, SceneSource):
            return replace(scene, extra=extra) if extra and not scene.extra else scene
        return cls(path(scene, "scene"), bands, extra=extra)

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

        The array is copied to an uncompressed temporary file, in the folder named by ``TMPDIR``, which is deleted with
        the source. For xarray with rioxarray, pass ``data.values, transform=data.rio.transform(), crs=data.rio.crs``.

        Args:
            array: (bands, H, W), or (H, W) for one band, of real numbers. Masked pixels of a masked array are nodata.
            transform: ``affine.Affine``, pixel (column, row) to CRS coordinates (x, y); None without a CRS.
            crs: ``"EPSG:32633"``, WKT, or a CRS of rasterio or pyproj; None for images without georeference.
            nodata: Nodata value.
            names: Names of the bands, by which a network finds the ones it was trained on.
            stem: Value of ``{stem}`` in names of outputs.

        Raises:
            UsageError: The array has another shape or type, or its bands last, or does not match the other arguments.
            OutputError: The temporary file cannot be written.
        """
        file = write_array(array, transform=transform, crs=crs, nodata=nodata, names=names, stem=stem)
        return cls(file.path, held=file)

    @classmethod
    def from_sheets(cls, sheets: Iterable[PathLike | SceneSource], *, bands: Bands | None = None) -> SceneSource:
        """Return map sheets as one scene, the mosaic of them: windows see across their borders, polygons cross them.

        Sheets have one CRS, one grid, and the same bands; they may differ in size, and leave gaps, which have no data.
        Where they overlap, the last one that has data is on top. Each sheet is opened once, to find its place.

        Args:
            sheets: Files, URLs or GDAL names, or sources of a whole file or array each.
            bands: Bands to read, by number from 1 or by name; None for all.

        Raises:
            UsageError: There is no sheet, or one is a stack or a selection of bands.
            SceneError: A sheet cannot be opened, or does not fit to the others.
        """
        listed = tuple(sheets)
        if len(listed) == 1 and isinstance(listed[0], cls) and listed[0].mosaic is not None:
            return listed[0]
        names = tuple(path(sheet, "scene") for sheet in listed)
        if not names:
            raise UsageError("There is no scene to map.")
        held = tuple(sheet.held for sheet in listed if isinstance(sheet, SceneSource) and sheet.held is not None)
        return cls(names, bands, held=held or None, mosaic=lay_out(names))

    def __fspath__(self) -> str:
        """Return the name of the file, if the scene is one whole file.

        Raises:
            UsageError: It consists of several files, of selected bands, or has extra rasters.
        """
        if len(self.paths) > 1 or self.bands is not None or self.extra:
            raise UsageError(
                f"{self.name} is a stack of files, a mosaic, a selection of bands or has extra rasters, but a single "
                "file is needed.",
                hint="Build a VRT of it with gdalbuildvrt or gdal_translate, and name that.",
            )
        return self.paths[0]

    def open(self) -> Scene:
        """Open the scene.

        Raises:
            SceneError: A file cannot be opened as a scene, the files do not share a grid, or an extra raster does not
                lie where the scene does.
        """
        if self.mosaic is not None:
            return Scene.of_mosaic(self.mosaic, bands=self.bands, extra=self.extra_files)
        return Scene.open(*self.paths, bands=self.bands, expand_palette=self.expand_palette, extra=self.extra_files)

    @property
    def extra_files(self) -> tuple[ExtraFile, ...]:
        """The extra rasters of this scene."""
        return tuple(ExtraFile.of(pattern, self.stem) for pattern in self.extra)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that are read."""
        return self.paths + tuple(file.path for file in self.extra_files)

    @property
    def name(self) -> str:
        """Name of the scene in messages, as in ``SceneInfo.path``."""
        return scene_name(self.paths) if self.mosaic is None else self.mosaic.name

    @property
    def stem(self) -> str:
        """Stem of output names, which is that of the file, or the words with which the stems of several files begin.

        Where they begin differently, it is the stem of the first stacked file, or ``mosaic``.
        """
        stems = [_stem(path) for path in self.paths]
        shared = common_words([stem.split("_") for stem in stems])
        return "_".join(shared) or (stems[0] if self.mosaic is None else "mosaic")


def extra_paths(sources: Iterable[SceneSource]) -> list[str]:
    """Return the names of the extra rasters of scenes, each once."""
    return list(dict.fromkeys(file.path for source in sources for file in source.extra_files))


def _stem(path: str) -> str:
    """Return the name of a file without folders, suffix and, for a URL, query."""
    return Path(path).stem if is_local_file(path) else PurePosixPath(path.split("?", 1)[0]).stem
