"""How the scenes of a tile set are opened."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.raster.scene import Scene


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, and what is made of them.

    Args:
        paths: One file, or several of one grid whose bands are stacked.
        bands: Bands to use, by number or name; None takes all.
    """

    paths: tuple[str, ...]
    bands: tuple[str, ...] | None = None

    def open(self) -> Scene:
        """Open the scene.

        Raises:
            SceneError: A file cannot be used.
        """
        return Scene.open(*self.paths, bands=self.bands)
