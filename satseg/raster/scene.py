"""Scenes: georeferenced rasters opened through GDAL, read window by window with their valid pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import SceneError, one_line
from satseg.records import BandSpec, SceneInfo

_COLOUR_NAMES = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_REMOTE = re.compile(r"^(/vsi|[a-z0-9+]{2,}://)")


class Scene:
    """A raster opened for reading. Use it as a context manager; not to be shared between threads.

    Alpha bands are never among its bands: they only decide which pixels are valid. A single band with a colour
    table is read as its colours (red, green, blue), unless it was opened with ``expand_palette=False``.

    Args:
        dataset: An open rasterio dataset; the scene closes it.
        expand_palette: Whether palette indices become colours.
    """

    def __init__(self, dataset: Any, *, expand_palette: bool = True) -> None:
        self._dataset = dataset
        self._bands = [i for i in dataset.indexes if dataset.colorinterp[i - 1] != ColorInterp.alpha]
        self._palette = _read_palette(dataset) if expand_palette and len(self._bands) == 1 else None
        self._masked = [i for i in self._bands if MaskFlags.all_valid not in dataset.mask_flag_enums[i - 1]]
        self.info = _describe(dataset, self._bands, palette=self._palette is not None)

    @classmethod
    def open(cls, path: str | Path, *, expand_palette: bool = True) -> Scene:
        """Open anything that GDAL opens as a raster with at least one band.

        Args:
            path: File, URL or GDAL name (``/vsicurl/...``, ``s3://...``).
            expand_palette: Whether palette indices become colours.

        Raises:
            SceneError: It does not exist, is not a raster, has no usable band, or is placed on the ground only by
                control points or RPCs.
        """
        name = str(path)
        if not _REMOTE.match(name) and not Path(name).exists():
            raise SceneError(f"{name} does not exist.")
        try:
            dataset = rasterio.open(name)
        except RasterioError as error:
            raise SceneError(f"{name} cannot be opened as a raster: {one_line(error)}.") from error
        try:
            return cls(dataset, expand_palette=expand_palette)
        except BaseException:
            dataset.close()
            raise

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read a window that lies inside the scene.

        Returns:
            Raw values (band, row, col) in the scene's dtype, and valid (row, col) bool: true where every band holds
            data (by nodata value, alpha, mask band, and not NaN or infinite).

        Raises:
            SceneError: The file is damaged there.
        """
        try:
            bands = self._dataset.read(self._bands, window=window)
            masks = self._dataset.read_masks(self._masked, window=window) if self._masked else None
        except RasterioError as error:
            rows = f"rows {int(window.row_off)} to {int(window.row_off + window.height)}"
            cause = one_line(error)
            raise SceneError(
                f"{self.info.path} cannot be read at {rows}: {cause}.",
                hint="The file seems damaged or incomplete; copy or download it again.",
            ) from error
        valid = np.ones(bands.shape[1:], dtype=bool) if masks is None else (masks > 0).all(axis=0)
        if self._palette is not None:
            colours = self._palette[bands[0]]  # (row, col, rgba)
            return np.ascontiguousarray(colours[..., :3].transpose(2, 0, 1)), valid & (colours[..., 3] > 0)
        bands = bands.astype(self.info.bands.dtype, copy=False)
        if bands.dtype.kind == "f":
            valid &= np.isfinite(bands).all(axis=0)
        return bands, valid

    @property
    def block_shape(self) -> tuple[int, int]:
        """Rows and columns of the blocks in which the file stores its first band."""
        height, width = self._dataset.block_shapes[0]
        return int(height), int(width)

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def window_transform(transform: Affine, column: float, row: float) -> Affine:
    """Return the transform of a window that begins at (column, row)."""
    return transform * Affine.translation(column, row)


def ground_sampling_distance(crs: str, transform: Affine, width: int, height: int) -> tuple[float, float] | None:
    """Measure metres per pixel along x and along y on the ellipsoid, at the centre of a raster.

    Args:
        crs: CRS of the raster.
        transform: Pixel to CRS coordinates.
        width: Columns.
        height: Rows.

    Returns:
        Metres between the centre and the next pixel along a row, and along a column; None where the CRS has no
        relation to the ground.
    """
    columns = np.array([0.0, 1.0, 0.0]) + width / 2
    rows = np.array([0.0, 0.0, 1.0]) + height / 2
    try:
        source = CRS.from_user_input(crs)
        to_degrees = Transformer.from_crs(source, source.geodetic_crs, always_xy=True)
        lon, lat = to_degrees.transform(*(transform * (columns, rows)))
        geod = source.get_geod() or Geod(ellps="WGS84")
        _, _, metres = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    except (ProjError, TypeError, AttributeError):
        return None
    if not np.isfinite(metres).all() or (metres <= 0).any():
        return None
    return float(metres[0]), float(metres[1])


def _describe(dataset: Any, bands: Sequence[int], *, palette: bool) -> SceneInfo:
    name = dataset.name
    if not bands:
        raise SceneError(f"{name} has no image band, only alpha.")
    dtype = np.result_type(*(dataset.dtypes[i - 1] for i in bands))
    if dtype.kind not in "uif":
        raise SceneError(
            f"{name} holds {dtype.name} values, which are no image.",
            hint="Convert it to real numbers first (amplitude or intensity).",
        )
    _refuse_indirect_georeference(dataset)
    spec = BandSpec(
        names=("red", "green", "blue") if palette else tuple(_band_name(dataset, i) for i in bands),
        dtype="uint8" if palette else dtype.name,
        scales=(1.0,) * 3 if palette else tuple(float(dataset.scales[i - 1]) for i in bands),
        offsets=(0.0,) * 3 if palette else tuple(float(dataset.offsets[i - 1]) for i in bands),
    )
    crs = _crs_name(dataset.crs)
    transform = dataset.transform
    return SceneInfo(
        path=name,
        width=dataset.width,
        height=dataset.height,
        bands=spec,
        nodata=None if dataset.nodata is None else float(dataset.nodata),
        has_mask=any(MaskFlags.all_valid not in dataset.mask_flag_enums[i - 1] for i in bands) or dtype.kind == "f",
        crs=crs,
        transform=transform,
        gsd=ground_sampling_distance(crs, transform, dataset.width, dataset.height) if crs else None,
    )


def _refuse_indirect_georeference(dataset: Any) -> None:
    """Refuse scenes whose pixels lie on no regular grid: a map of them would be misplaced."""
    if not dataset.transform.is_identity:
        return
    points = len(dataset.gcps[0])
    if not points and dataset.rpcs is None:
        return
    how = f"{points} ground control points" if points else "rational polynomial coefficients (RPC)"
    raise SceneError(
        f"{dataset.name} is placed on the ground by {how}, not by a pixel grid.",
        hint=f"Rectify it first: gdalwarp {'-tps' if points else '-rpc'} {dataset.name} rectified.tif",
    )


def _band_name(dataset: Any, band: int) -> str:
    description = dataset.descriptions[band - 1]
    return description or _COLOUR_NAMES.get(dataset.colorinterp[band - 1]) or f"band_{band}"


def _crs_name(crs: Any) -> str | None:
    if crs is None or not crs.to_wkt():
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def _read_palette(dataset: Any) -> np.ndarray | None:
    """Return the colour table as (256, 4) uint8 RGBA, or None where the band has none."""
    if dataset.colorinterp[0] != ColorInterp.palette or dataset.dtypes[0] != "uint8":
        return None
    palette = np.zeros((256, 4), dtype=np.uint8)
    for value, colour in dataset.colormap(1).items():
        palette[value] = colour
    return palette
