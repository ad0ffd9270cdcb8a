"""What a scene is made of: a value that threads and other machines open for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from satseg.arguments import Bands, Given, PathLike, Paths, band_names, check_fields, path, paths
from satseg.errors import UsageError
from satseg.raster.names import is_local_file
from satseg.raster.scene import Scene, scene_name
from satseg.raster.selection import common_words


@dataclass(frozen=True)
class SceneSource:
    """How to open a scene. It can be pickled and compared; nothing is open.

    Args:
        paths: Files, URLs or GDAL names; the bands of several are stacked in this order, on one grid.
        bands: Bands to read, by number from 1 (counted through all files) or by name; None reads all.
        expand_palette: Whether a single band with a colour table is read as its colours (red, green, blue).

    Raises:
        UsageError: No file is named, or no band.
    """

    paths: Given[Paths, tuple[str, ...]] = Given(paths)
    bands: Given[Bands | None, tuple[str, ...] | None] = Given(band_names)
    expand_palette: bool = True

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
