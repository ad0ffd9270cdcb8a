"""The scenes and labels that are passed to ``tile``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from satseg.arguments import Paths, paths
from satseg.errors import UsageError, printable
from satseg.raster.source import SceneSource, extra_paths
from satseg.tiling.pairs import find_pairs, pairs_inputs
from satseg.tiling.scene_table import LabelledScene
from satseg.tiling.settings import TileSettings
from satseg.tiling.sources import SceneFiles
from satseg.tiling.split_folders import warn_of_split_folders


@dataclass(frozen=True)
class TileInputs:
    """Scenes and their labels.

    Args:
        scenes: Rasters.
        stack: Files whose bands form one more scene.
        labels: Labels of all scenes.
        pair_source: Folders, patterns or the table that ``pairs`` come from, or None.
        pairs: Scenes with labels of their own, or None.
        settings: Settings that are passed with them.

    Raises:
        UsageError: There is no scene; there are others beside pairs; or their splits contradict the settings.
    """

    scenes: Sequence[str]
    stack: Sequence[str]
    labels: Sequence[str]
    pair_source: Sequence[str] | None
    pairs: Sequence[LabelledScene] | None
    settings: TileSettings

    def __post_init__(self) -> None:
        if self.pairs is None:
            if not self.scenes and not self.stack:
                raise UsageError("There is no scene to tile.")
            return
        if self.scenes or self.stack:
            raise UsageError(
                f"{(*self.scenes, *self.stack)[0]} has no labels of its own, beside pairs of scenes and labels.",
                hint="Add it to the pairs, or to the finished tile set with `append`.",
            )
        if self.labels:
            raise UsageError("Pairs name the labels of each scene; `labels` cannot be given with them.")
        self._check_splits([pair for pair in self.pairs if pair.split is not None])

    @classmethod
    def of(cls, scenes: Paths, labels: Paths, stack: Paths, pairs: Paths | None, settings: TileSettings) -> TileInputs:
        """Look up what a call of ``tile`` names."""
        source = None if pairs is None else paths(pairs, "pairs")
        found = None if source is None else find_pairs(source)
        return cls(paths(scenes, "scenes"), paths(stack, "stack"), paths(labels, "labels"), source, found, settings)

    @property
    def assigned(self) -> bool:
        """Whether the user assigned each scene to a split."""
        return self.settings.one_split is not None or any(pair.split for pair in self.pairs or ())

    @property
    def files(self) -> list[str]:
        """All files and folders that are read."""
        pairs = pairs_inputs(self.pair_source, self.pairs)
        return [*self.scenes, *self.stack, *pairs, *self.labels, *self.settings.files]

    @property
    def label_files(self) -> Sequence[str] | dict[str, tuple[str, ...]]:
        """The labels of all scenes, or those of each scene by its path."""
        if self.pairs is None:
            return self.labels
        return {printable(pair.scene): pair.labels for pair in self.pairs}

    def warn_of_split_folders(self) -> None:
        """Warn where scenes lie in folders named by split, and the user did not say how to split them."""
        if not (self.assigned or self.settings.divides):
            files = (
                [(scene,) for scene in self.scenes]
                if self.pairs is None
                else [(pair.scene, *pair.labels) for pair in self.pairs]
            )
            warn_of_split_folders(files, self.pair_source or ())

    def sources(self, settings: TileSettings) -> list[SceneFiles]:
        """Return the files of each scene, the stack last.

        Args:
            settings: These settings, completed by those of the tile set that is added to.
        """

        def files(paths: Sequence[str], split: str | None = None, weight: float = 1.0) -> SceneFiles:
            source = SceneSource(tuple(paths), settings.bands, extra=settings.extra)
            return SceneFiles(source, settings.ground_metres, split or settings.one_split, weight)

        if self.pairs is not None:
            return [files([pair.scene], pair.split, pair.weight) for pair in self.pairs]
        return [files([scene]) for scene in self.scenes] + ([files(self.stack)] if self.stack else [])

    def by_kind(self, settings: TileSettings) -> dict[str, list[str]]:
        """Return the files that are read by what they are, for their fingerprints.

        Args:
            settings: These settings, completed by those of the tile set that is added to.
        """
        pairs, area = self.pairs or (), settings.meaning.labelled_area
        table = self.pair_source if self.pair_source is not None and len(self.pair_source) == 1 else ()
        labels = [name for pair in pairs for name in pair.labels] or self.labels
        inputs = {
            "scenes": [*(pair.scene for pair in pairs), *self.scenes, *self.stack],
            "extra": extra_paths(files.source for files in self.sources(settings)),
            "labels": list(dict.fromkeys(labels)),
            "list": list(table),
            "labelled area": [area] if area else [],
            "regions": [settings.regions] if settings.regions else [],
        }
        return {kind: names for kind, names in inputs.items() if names}

    def _check_splits(self, listed: Sequence[LabelledScene]) -> None:
        table, split = " ".join(self.pair_source or ()), self.settings.one_split
        others = [pair for pair in listed if split is not None and pair.split != split]
        if others:
            raise UsageError(
                f"`split='{split}'` contradicts {table}, which assigns {len(others):,} of {len(listed):,} scenes to "
                f"other splits, such as {others[0].scene} to {others[0].split}.",
                hint="Leave out `split`, or the column split.",
            )
        if listed and self.settings.divides:
            raise UsageError(
                f"{table} assigns each scene to a split; `split` and `split_by` would divide them again.",
                hint="Leave out these settings, or the column split.",
            )
