"""Turn scenes and labels into a tile set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterio.windows import Window

from satseg import __version__
from satseg.errors import LabelError, OutputError, TileError, UsageError
from satseg.raster.bands import StatisticsAccumulator
from satseg.raster.gdal import gdal_environment
from satseg.raster.labels import Labels, LabelSource, open_labels
from satseg.raster.scene import Scene
from satseg.records import Progress, ProgressEvent, SceneInfo, TileSummary, no_progress
from satseg.staging import staged
from satseg.tiles.cut import TileFiles, labelled_pixels
from satseg.tiles.layout import SPLITS, assign_splits, blocks, choose_block, place_tiles
from satseg.tiles.tileset import INDEX, TileSet, make_index, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("satseg")


@dataclass(frozen=True)
class _Block:
    """A block that holds labelled pixels."""

    scene: int
    window: Window
    labelled: int


def tile(
    scenes: Iterable[str | Path],
    *,
    labels: str | Path,
    output: str | Path = "tiles",
    class_field: str | None = None,
    size: int = 256,
    overlap: int | None = None,
    block: int | None = None,
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> TileSummary:
    """Cut scenes and their labels into training, validation and test tiles.

    Splits are made of whole blocks of the scene, so that training never sees a pixel, nor the surroundings, of what
    it is judged on.

    Args:
        scenes: Rasters with the same bands; anything GDAL opens.
        labels: Vector features in any CRS, or a class raster.
        output: Folder to write; it appears when it is complete.
        class_field: Attribute that names the class of each feature; without it all features are one class.
        size: Side of a tile in pixels.
        overlap: Pixels that neighbouring training tiles share; None is half a tile. Validation and test tiles share
            none.
        block: Side of a block in pixels; None chooses at least two tiles, more where the scenes are large.
        shares: Shares of train, val and test in area.
        seed: Decides which block goes to which split.
        overwrite: Replace a tile set that stands at ``output``.
        progress: Called after each tile.

    Returns:
        What was written.

    Raises:
        SceneError: A scene cannot be used.
        LabelError: The labels cannot be used, or touch no scene.
        TileError: Scenes differ in their bands, or no tile is left for training.
        OutputError: ``output`` exists already, or cannot be written.
        UsageError: Sizes contradict each other.
    """
    output = Path(output)
    names = [str(scene) for scene in scenes]
    overlap = size // 2 if overlap is None else overlap
    _check_sizes(size, overlap, block)
    if not names:
        raise UsageError("There is no scene to tile.")
    if output.exists() and not overwrite:
        raise OutputError(
            f"{output} exists already.", hint="Choose another folder with -o, or replace it with --overwrite."
        )
    with gdal_environment():
        source = open_labels(labels, class_field=class_field)
        infos = _describe_all(names)
        side = block or choose_block([(info.height, info.width) for info in infos], size)
        found = _find_blocks(infos, source, side=side, size=size, progress=progress)
        splits = assign_splits([entry.labelled for entry in found], shares, seed)
        with staged(output) as folder:
            cutting = _Cutting(infos, source, found, splits, size, overlap, _provenance(labels, side, shares, seed))
            tile_set, skipped = cutting.write(folder, progress)
    summary = _summarise(output, tile_set, len({entry.scene for entry in found}), skipped, source)
    _warn_of_gaps(summary, shares)
    return summary


@dataclass(frozen=True)
class _Cutting:
    """All that decides where tiles lie and to which split they belong."""

    infos: Sequence[SceneInfo]
    source: LabelSource
    found: Sequence[_Block]
    splits: Sequence[str]
    size: int
    overlap: int
    provenance: Mapping[str, Any]

    def write(self, folder: Path, progress: Progress) -> tuple[TileSet, int]:
        """Write all tiles, then the description, then the index; return the set and how many tiles were skipped."""
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True)
        statistics = StatisticsAccumulator(len(self.infos[0].bands))
        rows, skipped = self._cut_all(folder, statistics, progress)
        if not any(row["split"] == "train" for row in rows):
            raise TileError("No tile is left for training.")
        tile_set = TileSet(
            path=folder,
            classes=self.source.classes,
            bands=self.infos[0].bands,
            statistics=statistics.finish(),
            gsd=self.infos[0].gsd,
            tile_size=self.size,
            index=make_index(rows, self.infos[0].crs),
        )
        write_header(folder, tile_set, {**self.provenance, "overlap": self.overlap})
        tile_set.index.to_parquet(folder / INDEX)
        return tile_set, skipped

    def _cut_all(
        self, folder: Path, statistics: StatisticsAccumulator, progress: Progress
    ) -> tuple[list[dict[str, Any]], int]:
        rows: list[dict[str, Any]] = []
        skipped = 0
        total = sum(len(self._placements(entry, split)) for entry, split in zip(self.found, self.splits, strict=True))
        names = _unique_names(self.infos)
        for number, info in enumerate(self.infos):
            mine = [(b, s) for b, s in zip(self.found, self.splits, strict=True) if b.scene == number]
            if not mine:
                continue
            files = TileFiles(folder, names[number], self.source.classes)
            with _opened(info, self.source) as (scene, labels):
                for entry, split in mine:
                    for placement in self._placements(entry, split):
                        row = files.cut(scene, labels, placement, split, statistics)
                        skipped += row is None
                        rows += [row] if row else []
                        progress(ProgressEvent("Cutting tiles", len(rows) + skipped, total, "tile"))
        return _in_one_crs(rows, self.infos), skipped

    def _placements(self, entry: _Block, split: str) -> list[Any]:
        return place_tiles(entry.window, size=self.size, overlap=self.overlap if split == "train" else 0)


def _provenance(labels: str | Path, block: int, shares: Sequence[float], seed: int) -> dict[str, Any]:
    """Return what the tile set was made from, beside the scenes, which its index names."""
    return {"satseg": __version__, "source": str(labels), "block": block, "shares": list(shares), "seed": seed}


def _check_sizes(size: int, overlap: int, block: int | None) -> None:
    if size < 32:
        raise UsageError(f"Tiles of {size} px are too small; networks take 32 px and more.")
    if not 0 <= overlap < size:
        raise UsageError(f"An overlap of {overlap} px does not fit tiles of {size} px.")
    if block is not None and block < size:
        raise UsageError(f"A block of {block} px cannot hold a tile of {size} px.")


def _describe_all(names: Sequence[str]) -> list[SceneInfo]:
    infos = []
    for name in names:
        with Scene.open(name) as scene:
            infos.append(scene.info)
    first = infos[0]
    for info in infos[1:]:
        if info.bands != first.bands:
            raise TileError(
                f"{info.path} has {_spec(info)}, but {first.path} has {_spec(first)}.",
                hint="Scenes of one tile set need the same bands, dtype, scale and offset.",
            )
        if info.gsd and first.gsd and abs(info.gsd[0] / first.gsd[0] - 1) > 0.1:
            log.warning("%s has %.3g m per pixel, %s has %.3g.", info.path, info.gsd[0], first.path, first.gsd[0])
    return infos


def _spec(info: SceneInfo) -> str:
    return f"{len(info.bands)} bands of {info.bands.dtype} ({', '.join(info.bands.names)})"


def _find_blocks(
    infos: Sequence[SceneInfo], source: LabelSource, *, side: int, size: int, progress: Progress
) -> list[_Block]:
    """Return the blocks of all scenes that hold labelled pixels; scenes without labels are left out with a warning."""
    found: list[_Block] = []
    reasons: list[LabelError] = []
    for number, info in enumerate(infos):
        windows = blocks(info.height, info.width, block=side, size=size)
        try:
            counts = _labelled_per_block(info, source, windows, progress)
        except LabelError as error:
            log.warning("Skipped: %s", error.message)
            reasons.append(error)
            continue
        found += [_Block(number, window, n) for window, n in zip(windows, counts, strict=True) if n]
    if not found and reasons:
        raise reasons[0]
    if not found:
        raise TileError("No pixel of any scene is both valid and labelled.")
    return found


def _labelled_per_block(info: SceneInfo, source: LabelSource, windows: list[Window], progress: Progress) -> list[int]:
    with _opened(info, source) as (scene, labels):
        if not info.has_mask and source.known_everywhere:
            return [int(window.width * window.height) for window in windows]  # nothing to read for that
        counts = []
        for count in labelled_pixels(scene, labels, windows):
            counts.append(count)
            progress(ProgressEvent("Finding labelled blocks", len(counts), len(windows), "block"))
        return counts


@contextmanager
def _opened(info: SceneInfo, source: LabelSource) -> Iterator[tuple[Scene, Labels]]:
    with ExitStack() as stack:
        scene = stack.enter_context(Scene.open(info.path))
        labels = source.on(info)
        stack.callback(labels.close)
        yield scene, labels


def _unique_names(infos: Sequence[SceneInfo]) -> list[str]:
    """Return a name per scene: its file's stem, numbered where several scenes share it."""
    stems = [Path(info.path).stem for info in infos]
    return [f"{stem}-{i}" if stems.count(stem) > 1 else stem for i, stem in enumerate(stems)]


def _in_one_crs(rows: list[dict[str, Any]], infos: Sequence[SceneInfo]) -> list[dict[str, Any]]:
    """Bring footprints to the CRS of the first scene: a GeoParquet column has one."""
    import geopandas

    first = infos[0].crs
    for info in infos[1:]:
        if info.crs == first or info.crs is None or first is None:
            continue
        mine = [row for row in rows if row["scene"] == info.path]
        moved = geopandas.GeoSeries([row["geometry"] for row in mine], crs=info.crs).to_crs(first)
        for row, geometry in zip(mine, moved, strict=True):
            row["geometry"] = geometry
    return rows


def _summarise(output: Path, tile_set: TileSet, scenes: int, skipped: int, source: LabelSource) -> TileSummary:
    counts = tile_set.index["split"].value_counts()
    return TileSummary(
        path=str(output),
        scenes=scenes,
        tiles={split: int(counts.get(split, 0)) for split in SPLITS},
        pixels=tile_set.pixels(),
        skipped=skipped,
        repaired=source.repaired,
        dropped=source.dropped,
    )


def _warn_of_gaps(summary: TileSummary, shares: Sequence[float]) -> None:
    for split, share in zip(SPLITS, shares, strict=True):
        if share > 0 and not summary.tiles[split]:
            log.warning("The split %s got no tile: there are too few blocks. Try a smaller --block or --size.", split)
            continue
        missing = [name for name, count in summary.pixels[split].items() if not count]
        if share > 0 and missing:
            log.warning("The split %s has no pixel of %s.", split, ", ".join(missing))
