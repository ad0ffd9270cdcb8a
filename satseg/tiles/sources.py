"""How the scenes of a tile set are opened."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.raster.aligned import ExtendedScene, ResampledScene, resampled
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource

AnyScene = Scene | ResampledScene | ExtendedScene


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, and what is made of them.

    Args:
        source: Files and bands of the scene.
        gsd: Ground metres per pixel to bring it to; None leaves it as it is.
        extra: Rasters that are warped onto its grid, whose bands follow.
        split: The split that it was given for; None leaves that open.
        weight: How often its tiles are drawn in training, relative to the others.
    """

    source: SceneSource
    gsd: float | None = None
    extra: tuple[str, ...] = ()
    split: str | None = None
    weight: float = 1.0

    def open(self) -> AnyScene:
        """Open the scene.

        Raises:
            SceneError: A file cannot be used.
        """
        scene = self.source.open()
        try:
            changed = resampled(scene, self.gsd)
            return ExtendedScene(changed, self.extra) if self.extra else changed
        except BaseException:
            scene.close()
            raise
