"""Warp a raster onto the grid of a scene."""

from __future__ import annotations

from typing import Any

from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from satseg.errors import SatsegError, one_line
from satseg.geo.crs import is_local, same_crs
from satseg.geo.grid import Grid, at_seam, same_grid, turned_towards
from satseg.raster.orientation import refuse_turned
from satseg.records import SceneInfo


def on_grid_of(
    dataset: Any,
    scene: SceneInfo,
    *,
    resampling: Resampling,
    error: type[SatsegError],
    heed_nodata: bool = True,
    paired: bool = False,
) -> Any:
    """Return a raster on the grid of a scene: itself if it matches to a hundredth of a pixel, else a warped view.

    A raster without a nodata value gets an alpha band, which is 0 outside its extent.

    Args:
        dataset: An open rasterio dataset, which must stay open as long as the view.
        scene: The grid.
        resampling: Resampling method, if it has to be warped.
        error: Error class to raise.
        heed_nodata: Whether pixels of the nodata value are invalid; if not, they are warped like any other, and the
            view always has an alpha band.
        paired: Whether it was named together with this scene: then grids of equal size match if one of the two is not
            georeferenced.

    Raises:
        SatsegError: It is stored rotated; it is on another grid, and one of the two has no CRS; the scene crosses the
            edge of a map of the whole globe.
    """
    refuse_turned(dataset, error)
    grid, target = Grid.of(dataset), Grid.of_scene(scene)
    alike = (grid.width, grid.height) == (target.width, target.height)
    if same_grid(grid, target) or (paired and alike and not (grid.placed and target.placed)):
        return dataset
    if grid.crs is None or target.crs is None:
        raise error(
            f"{dataset.name} ({grid.width} x {grid.height} px) is not on the grid of {scene.path} "
            f"({target.width} x {target.height} px), and it cannot be warped there unless both have a CRS.",
            hint="If both cover the same ground, assign its CRS and corners: gdal_edit.py -a_srs ... -a_ullr ... FILE",
        )
    if (is_local(grid.crs) or is_local(target.crs)) and not same_crs(grid.crs, target.crs):
        local, other = (dataset.name, scene.path) if is_local(grid.crs) else (scene.path, dataset.name)
        raise error(
            f"{local} has a local CRS, which cannot be transformed to the CRS of {other}.",
            hint="Assign both the same CRS if they use the same coordinates.",
        )
    moved = turned_towards(grid, target)
    if at_seam(moved, target):
        raise error(
            f"{scene.path} crosses the edge of {dataset.name}, which continues on its opposite edge around the globe.",
            hint="Shift its longitudes: gdalwarp -te WEST SOUTH EAST NORTH FILE shifted.tif",
        )
    nodata = dataset.nodata if heed_nodata else None
    try:
        return WarpedVRT(
            dataset,
            src_transform=moved.transform,
            crs=target.crs,
            transform=target.transform,
            width=target.width,
            height=target.height,
            resampling=resampling,
            src_nodata=nodata,
            add_alpha=nodata is None and ColorInterp.alpha not in dataset.colorinterp,
        )
    except RasterioError as cause:
        raise error(f"{dataset.name} cannot be warped onto the grid of {scene.path}: {one_line(cause)}.") from cause
