"""Open the scenes of a tile set, resampled as needed."""

from __future__ import annotations

from dataclasses import dataclass

from satseg.raster.aligned import ResampledScene, resampled
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource

AnyScene = Scene | ResampledScene


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, and how they are opened.

    Args:
        source: Files and bands of the scene.
        gsd: Resolution to resample to, in metres per pixel; None does not resample.
        split: Split that the user assigned to it, or None.
        weight: How often its tiles are drawn in training, relative to the others.
    """

    source: SceneSource
    gsd: float | None = None
    split: str | None = None
    weight: float = 1.0

    def open(self) -> AnyScene:
        """Open the scene.

        Raises:
            SceneError: A file cannot be used.
        """
        scene = self.source.open()
        try:
            return resampled(scene, self.gsd)
        except BaseException:
            scene.close()
            raise
