"""Say what a file is: a scene, a tile set or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from satseg.checkpoint import Checkpoint, ModelCard
from satseg.classes import ClassTable
from satseg.errors import SceneError, UsageError
from satseg.raster.gdal import gdal_environment
from satseg.raster.scene import Scene
from satseg.records import BandSpec, BandStatistics, SceneInfo
from satseg.tiles.layout import SPLITS
from satseg.tiles.tileset import INDEX, TileSet

BEST = "best.safetensors"


@dataclass(frozen=True)
class TileSetInfo:
    """What a tile set holds.

    Args:
        classes: Class table of its labels.
        bands: What the values of its images mean.
        statistics: Of the training tiles, over valid pixels.
        gsd: Ground metres per pixel along x and y, or None without a CRS.
        tile_size: Side of a tile in pixels.
        scenes: Scenes that it was cut from.
        tiles: Tiles per split.
        pixels: Labelled pixels per split and class name.
    """

    classes: ClassTable
    bands: BandSpec
    statistics: BandStatistics
    gsd: tuple[float, float] | None
    tile_size: int
    scenes: tuple[str, ...]
    tiles: dict[str, int]
    pixels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint holds.

    Args:
        card: All that is known of the network.
        digest: SHA-256 of the file; outputs name it as their origin.
        bytes: Size of the file.
    """

    card: ModelCard
    digest: str
    bytes: int


@dataclass(frozen=True)
class FileInfo:
    """What a file or folder is. Of the last three fields the one that ``kind`` names is filled.

    Args:
        path: The scene, tile set or checkpoint that was looked at.
        kind: ``scene``, ``tiles`` or ``checkpoint``.
        scene: A raster that GDAL opens.
        tiles: A folder that ``satseg tile`` wrote.
        checkpoint: A file that ``satseg train`` wrote.
    """

    path: str
    kind: str
    scene: SceneInfo | None = None
    tiles: TileSetInfo | None = None
    checkpoint: CheckpointInfo | None = None


def info(path: str | Path) -> FileInfo:
    """Describe a scene, a tile set, a checkpoint, or the best checkpoint of a training run.

    Args:
        path: A raster (anything GDAL opens), the folder of a tile set or of a training run, or a checkpoint.

    Raises:
        SceneError: It is a raster that cannot be used.
        TileError: It is a tile set that cannot be read.
        CheckpointError: It is a checkpoint that cannot be read.
        UsageError: It is a folder that holds none of these.
    """
    place = Path(path)
    if (place / INDEX).is_file():
        return FileInfo(str(path), "tiles", tiles=_describe_tiles(place))
    if (place / BEST).is_file():
        place = place / BEST
    if place.suffix == ".safetensors":
        return FileInfo(str(place), "checkpoint", checkpoint=_describe_checkpoint(place))
    return FileInfo(str(path), "scene", scene=_describe_scene(path))


def _describe_tiles(folder: Path) -> TileSetInfo:
    found = TileSet.open(folder)
    return TileSetInfo(
        classes=found.classes,
        bands=found.bands,
        statistics=found.statistics,
        gsd=found.gsd,
        tile_size=found.tile_size,
        scenes=tuple(found.index["scene"].unique()),
        tiles={split: int((found.index["split"] == split).sum()) for split in SPLITS},
        pixels=found.pixels(),
    )


def _describe_checkpoint(path: Path) -> CheckpointInfo:
    found = Checkpoint.load(path)
    return CheckpointInfo(card=found.card, digest=found.digest, bytes=path.stat().st_size)


def _describe_scene(path: str | Path) -> SceneInfo:
    try:
        with gdal_environment(), Scene.open(path) as scene:
            return scene.info
    except SceneError as error:
        if Path(path).is_dir():
            raise UsageError(f"The folder {path} holds no tile set, no training run and no scene.") from error
        raise
