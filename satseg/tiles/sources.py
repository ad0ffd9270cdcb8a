"""How the scenes of a tile set are opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from satseg.errors import UsageError
from satseg.raster.aligned import ExtendedScene, ResampledScene, resampled
from satseg.raster.scene import Scene
from satseg.raster.selection import distinct_names
from satseg.raster.source import SceneSource

AnyScene = Scene | ResampledScene | ExtendedScene

_RASTERS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".vrt", ".img"})


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene, and what is made of them.

    Args:
        source: Files and bands of the scene.
        gsd: Ground metres per pixel to bring it to; None leaves it as it is.
        extra: Rasters that are warped onto its grid, whose bands follow.
    """

    source: SceneSource
    gsd: float | None = None
    extra: tuple[str, ...] = ()

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


def pair(images: str | Path, masks: str | Path) -> dict[str, str]:
    """Find the mask of each image of a folder: that of the same name, or of the name that differs in the same words.

    ``img_007.png`` and ``mask_007.png`` belong together where all images and masks are named like this.

    Args:
        images: Folder of images.
        masks: Folder of class rasters.

    Returns:
        Path of the mask by path of the image, in the order of their names.

    Raises:
        UsageError: A folder is missing or empty, or images and masks cannot be told to belong together.
    """
    one, other = _rasters(Path(images)), _rasters(Path(masks))
    for names in (lambda paths: [Path(path).stem for path in paths], distinct_names):
        keys, values = names(one), dict(zip(names(other), other, strict=True))
        if len(set(keys)) == len(one) and len(values) == len(other) and set(keys) <= set(values):
            return {path: values[key] for path, key in zip(one, keys, strict=True)}
    stems = {Path(path).stem for path in other}
    lonely = next((path for path in one if Path(path).stem not in stems), one[0])
    raise UsageError(
        f"{lonely} has no mask of its name in {masks}.", hint="Name images and masks alike: images/7.png, masks/7.png."
    )


def _rasters(folder: Path) -> Sequence[str]:
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    found = [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in _RASTERS]
    if not found:
        raise UsageError(f"The folder {folder} holds no raster.")
    return found
