"""Bring a raster onto the grid of a scene."""

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
    """Return a raster on the grid of a scene: itself where it lies on it to a hundredth of a pixel, else warped.

    Where it says of no pixel that it is nodata, the view gets an alpha band, which is 0 outside of the raster.

    Args:
        dataset: An open rasterio dataset; it must stay open as long as the view.
        scene: The grid.
        resampling: How values are computed where pixels lie elsewhere.
        error: What to raise.
        heed_nodata: Whether pixels of the nodata value are none; else they are moved as any other, and the view has an
            alpha band in any case.
        paired: Whether it was named as belonging to this scene: then its pixels are those of the scene where they are
            as many, and one of both does not say where it lies.

    Raises:
        SatsegError: It is stored turned; it lies on another grid, and nothing says where one of the two is; the scene
            lies across its edge, and the globe goes on at the other one.
    """
    refuse_turned(dataset, error)
    grid, target = Grid.of(dataset), Grid.of_scene(scene)
    alike = (grid.width, grid.height) == (target.width, target.height)
    if same_grid(grid, target) or (paired and alike and not (grid.placed and target.placed)):
        return dataset
    if grid.crs is None or target.crs is None:
        raise error(
            f"{dataset.name} ({grid.width} x {grid.height} px) is not on the grid of {scene.path} "
            f"({target.width} x {target.height} px), and without a CRS on both it cannot be moved there.",
            hint="If it shows what the scene shows, give it its CRS and corners: gdal_edit.py -a_srs ... -a_ullr ...",
        )
    if (is_local(grid.crs) or is_local(target.crs)) and not same_crs(grid.crs, target.crs):
        local, other = (dataset.name, scene.path) if is_local(grid.crs) else (scene.path, dataset.name)
        raise error(
            f"{local} is in local coordinates, and nothing says where these lie in the CRS of {other}.",
            hint="Give both the same CRS, if they are in the same coordinates.",
        )
    moved = turned_towards(grid, target)
    if at_seam(moved, target):
        raise error(
            f"{scene.path} lies across the edge of {dataset.name}, on whose other edge the globe goes on.",
            hint="Make it count longitudes from the other side: gdalwarp -te WEST SOUTH EAST NORTH FILE turned.tif",
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
        raise error(f"{dataset.name} cannot be brought onto the grid of {scene.path}: {one_line(cause)}.") from cause
