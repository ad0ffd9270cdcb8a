"""Where maps come from, as their files store it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from satseg.command_line import command_line, without_secrets
from satseg.files.fingerprint import fingerprint
from satseg.labels.label_meaning import LABELS_TAG, LabelMeaning
from satseg.prediction.settings import PredictionSettings
from satseg.raster.source import SceneSource, extra_paths
from satseg.records import Plan
from satseg.vectorization.settings import PolygonSettings
from satseg.version import __version__

INPUTS_TAG = "SATSEG_INPUTS"
VERSION_TAG = "SATSEG_VERSION"
"""Name under which a map stores what it was made from, as JSON, where its format has a place for it."""

_STDIN = "-"
_MOSAIC = "--mosaic"


@dataclass(frozen=True)
class Provenance:
    """Where the maps of a run come from; no dates, so that equal runs give equal bytes.

    Args:
        model: Checkpoints, by name and content.
        settings: How scenes are mapped.
        labels: What the labels of the training tiles meant.
        words: Words of the command that name models and outputs.
    """

    model: str
    settings: PredictionSettings
    labels: LabelMeaning = field(default_factory=LabelMeaning)
    words: tuple[str, ...] = ()

    def tags(
        self, sources: Sequence[SceneSource], *, polygons: bool, plan: Plan | None = None, precision: str = ""
    ) -> dict[str, str]:
        """Return what an output stores.

        Args:
            sources: The scenes of the output; none where they came from stdin.
            polygons: Whether the output holds polygons.
            plan: How the only scene was cut.
            precision: In which precision the network ran then.
        """
        scenes = [word for source in sources for word in _scene_words(source)] or [_STDIN]
        tags = {
            "SATSEG_SCENE": ", ".join(without_secrets(source.name) for source in sources) or _STDIN,
            VERSION_TAG: __version__,
            "SATSEG_COMMAND": command_line(["predict", *scenes, *self.words, *self.settings.words()]),
            "SATSEG_MODEL": self.model,
        }
        if self.labels:
            tags[LABELS_TAG] = self.labels.to_json()
        if plan is not None:
            tags["SATSEG_PLAN"] = (
                f"windows of {plan.window} px, overlaps of {plan.overlap} px, batches of {plan.batch_size}, {precision}"
            )
        if sources:
            tags[INPUTS_TAG] = json.dumps(self.inputs(sources, polygons=polygons))
        return tags

    def inputs(self, sources: Sequence[SceneSource], *, polygons: bool) -> dict[str, str]:
        """Return what the content of a map follows from, for comparison with a later run.

        Args:
            sources: The scenes of the map.
            polygons: Whether it holds polygons, whose options do not concern rasters.
        """
        extra = extra_paths(sources)
        aoi, options = self.settings.aoi, self._shaping(polygons=polygons).words()
        joined = [_MOSAIC] if any(source.mosaic is not None for source in sources) else []
        return {
            "scene": fingerprint([path for source in sources for path in source.paths], brief=True),
            "extra": fingerprint(extra, brief=True) if extra else "",
            "model": self.model,
            "options": shlex.join([*joined, *options]),
            "area": fingerprint([aoi], brief=True) if aoi else "",
        }

    def _shaping(self, *, polygons: bool) -> PredictionSettings:
        """Return the settings without those that move the work elsewhere."""
        settings = replace(
            self.settings, device="auto", threads=None, batch_size=None, compile=False, aoi=None, extra=()
        )
        return settings if polygons else replace(settings, polygons=PolygonSettings())


def _scene_words(source: SceneSource) -> tuple[str, ...]:
    """Return how a scene is named on the command line."""
    if source.mosaic is not None:
        return (_MOSAIC, *source.paths)
    return source.paths if len(source.paths) == 1 else ("--stack", ",".join(source.paths))
