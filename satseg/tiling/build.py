"""Build a tile set: find the labelled blocks, cut their tiles and record each one, so that a run can be resumed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from satseg.arguments import list_few
from satseg.errors import LabelError, OutputError, SatsegError, TileError
from satseg.files.atomic_write import restore, work_folder
from satseg.files.gdal import CACHE_BYTES, Environment
from satseg.labels.label_source import LabelSource
from satseg.labels.labels import Labels
from satseg.outputs.lock import clear, ensure_locked
from satseg.prefetch import read_ahead
from satseg.raster.scene import Scene
from satseg.raster.values import OutOfRange
from satseg.records import Progress, ProgressEvent, SceneInfo
from satseg.tiles.splits import SPLITS
from satseg.tiles.tileset import FOLDERS
from satseg.tiling.cut import Cutter, PlannedTile, TileArrays, TileFilter, writing_environment
from satseg.tiling.journal import JOURNAL, Journal
from satseg.tiling.plan import Block, Layout, labelled_pixels
from satseg.tiling.sources import AnyScene, SceneFiles
from satseg.tiling.split_regions import SplitRegions

log = logging.getLogger("satseg")

_BLOCK_ROWS = 512  # few files have higher blocks
_MOST_CACHE = 2**28
_FEW = 3  # scenes that are named individually
_Task = tuple[Cutter, TileArrays]
_Row = tuple[int, dict[str, Any] | None]

_ORDER = 3  # sub-stream of the seed for the order of tiles where their number is limited


@dataclass(frozen=True)
class Builder:
    """Finds the labelled blocks of scenes, and cuts tiles.

    Args:
        sources: Files of the scenes.
        infos: Their properties.
        names: Unique name of each.
        labels: Their labels.
        layout: How tiles are laid out.
        tile_filter: Which tiles are kept.
        regions: Polygons that determine the splits, or None.
        threads: Threads that write tiles, besides the one that reads; 1 reads and writes in one thread.
        progress: Called after each block and tile.
    """

    sources: Sequence[SceneFiles]
    infos: Sequence[SceneInfo]
    names: Sequence[str]
    labels: LabelSource
    layout: Layout
    tile_filter: TileFilter
    regions: SplitRegions | None
    threads: int
    progress: Progress

    def find_blocks(self, layout: Layout, within: Sequence[Block] | None = None) -> list[Block]:
        """Return the blocks that hold labelled pixels; scenes without any are skipped with a warning.

        Args:
            layout: How scenes are divided.
            within: Blocks of another layout that hold all labelled pixels; None searches everywhere.

        Raises:
            LabelError: No label touches any scene.
            TileError: No pixel is both valid and labelled.
        """
        found: list[Block] = []
        reasons: list[LabelError] = []
        bare: list[str] = []
        parts = [
            layout.part(number, info, self.regions, source.split)
            for number, (info, source) in enumerate(zip(self.infos, self.sources, strict=True))
        ]
        if within is not None:
            parts = _touching(parts, within)
        total, before = sum(map(len, parts)), 0
        for number, mine in enumerate(parts):
            if within is not None and not mine:
                continue
            had = len(found)
            try:
                with self._cache(number):
                    for done, block in enumerate(self._counted(number, mine), start=before + 1):
                        found += [block] if block.labelled else []
                        self.progress(ProgressEvent("Finding labelled blocks", done, total, "block"))
            except LabelError as error:
                reasons.append(error)
            else:
                bare += [self.infos[number].path] if len(found) == had else []
            before += len(mine)
        for reason in reasons[0 if found else 1 : _FEW]:  # without a block, the first one is raised
            log.warning("Skipped: %s", reason.message)
        if len(reasons) > _FEW and found:
            log.warning("Skipped: %d more scenes for the same kind of reason.", len(reasons) - _FEW)
        if not found and reasons:
            raise reasons[0]
        if not found:
            raise TileError("No pixel of any scene is both valid and labelled.")
        if bare and within is None:
            self._warn_of_bare(bare)
        return found

    def _warn_of_bare(self, scenes: Sequence[str]) -> None:
        """Warn of scenes in which no valid pixel is labelled, for example because the class raster lies elsewhere."""
        log.warning(
            "Skipped %d of %d scenes without a pixel that is both valid and labelled: %s.",
            len(scenes),
            len(self.infos),
            list_few(scenes),
        )

    def cut(self, folder: Path, planned: Sequence[PlannedTile], quotas: dict[str, int], journal: Journal) -> None:
        """Cut tiles until each split has its quota, or there are no more; those in the journal are not cut again.

        Args:
            folder: Folder of the tile set.
            planned: Tiles in the order of their scenes' rows.
            quotas: Tiles at most of each split.
            journal: Records finished tiles.
        """
        waiting = self._drawing_order(planned, quotas)
        kept = dict.fromkeys(quotas, 0)
        total = sum(min(quota, len(waiting[split])) for split, quota in quotas.items())
        while True:
            batch = sorted(n for s in quotas for n in waiting[s][: quotas[s] - kept[s]])
            if not batch:
                break
            for split in quotas:
                waiting[split] = waiting[split][quotas[split] - kept[split] :]
            for number in self._cut_batch(folder, planned, batch, journal):
                kept[planned[number].split] += journal.holds(number)
                self.progress(ProgressEvent("Cutting tiles", min(len(journal), total), total, "tile"))

    def _drawing_order(self, planned: Sequence[PlannedTile], quotas: dict[str, int]) -> dict[str, list[int]]:
        """Return the numbers of each split's tiles, shuffled where not all of them may be taken."""
        rng = np.random.default_rng((self.layout.seed, _ORDER))
        order = {}
        for split, quota in quotas.items():
            numbers = np.flatnonzero([p.split == split for p in planned])
            order[split] = (rng.permutation(numbers) if quota < len(numbers) else numbers).tolist()
        return order

    def _cut_batch(
        self, folder: Path, planned: Sequence[PlannedTile], batch: Sequence[int], journal: Journal
    ) -> Iterator[int]:
        """Cut tiles in the given order, and yield the number of each; those in the journal come first."""
        yield from (number for number in batch if number in journal)
        pieces = self._read(folder, planned, [number for number in batch if number not in journal])

        def write(task: _Task) -> _Row:
            cutter, piece = task
            return piece.number, cutter.write(piece)

        with closing(pieces), closing(self._map(write, pieces)) as rows:  # while their GDAL environments are active
            for number, row in rows:
                journal.add(number, row)
                yield number

    def _map(self, write: Callable[[_Task], _Row], tasks: Iterator[_Task]) -> Generator[_Row]:
        """Write in threads while this one reads; the order of results is that of the tasks."""
        if self.threads == 1:
            with writing_environment():
                yield from map(write, tasks)
            return

        def begin() -> None:
            writing_environment().__enter__()  # it belongs to the thread, and ends with it

        yield from read_ahead(write, tasks, workers=self.threads, ahead=self.threads + 1, begin=begin)

    def _read(self, folder: Path, planned: Sequence[PlannedTile], numbers: Sequence[int]) -> Generator[_Task]:
        for scene_number, group in groupby(numbers, key=lambda number: planned[number].scene):
            name, info = self.names[scene_number], self.infos[scene_number]
            weight = self.sources[scene_number].weight
            cutter = Cutter(folder, name, info, self.labels.classes, self.tile_filter, self.layout.seed, weight)
            with self._cache(scene_number), self._opened(scene_number) as (scene, labels):
                for number in group:
                    yield cutter, cutter.read(scene, labels, number, planned[number])
            resampled = set() if isinstance(scene, Scene) else scene.out_of_range
            if out_of_range := OutOfRange.merge(cutter.out_of_range | resampled):
                log.warning("%s", out_of_range.message(info.path, info.bands.names, "They are treated as nodata"))

    def _counted(self, number: int, parts: Sequence[Block]) -> Iterator[Block]:
        """Yield the blocks of a scene with their labelled pixels."""
        if self.regions is not None and not parts:
            raise LabelError(f"No polygon of {self.regions.path} touches the scene {self.infos[number].path}.")
        with self._opened(number) as (scene, labels):
            for part in parts:
                yield replace(part, pixels=labelled_pixels(scene, labels, part, len(self.labels.classes)))

    def _cache(self, number: int) -> Environment:
        """Give GDAL's cache room for a row of tiles, so that a block of the file is decoded once and not for each tile.

        Files that store rows as a whole would else be decoded as many times as a row has tiles.
        """
        info = self.infos[number]
        rows = (self.layout.size + _BLOCK_ROWS) * info.width
        needed = rows * len(info.bands) * np.dtype(info.bands.dtype).itemsize
        return Environment(GDAL_CACHEMAX=min(max(needed, CACHE_BYTES), _MOST_CACHE))

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[AnyScene, Labels]]:
        with closing(self.sources[number].open()) as scene, self.labels.on(self.infos[number]) as labels:
            yield scene, labels


def _touching(parts: Sequence[Sequence[Block]], within: Sequence[Block]) -> list[list[Block]]:
    """Return the blocks of each scene that share pixels with any of ``within``."""
    others: dict[int, list[Window]] = {}
    for block in within:
        others.setdefault(block.scene, []).append(block.window)
    touched = []
    for number, mine in enumerate(parts):
        theirs = np.array([_edges(window) for window in others.get(number, [])]).reshape(-1, 4)
        top, left, bottom, right = theirs.T
        kept = []
        for block in mine:
            first, west, last, east = _edges(block.window)
            if ((top < last) & (bottom > first) & (left < east) & (right > west)).any():
                kept.append(block)
        touched.append(kept)
    return touched


def _edges(window: Window) -> tuple[int, int, int, int]:
    top, left = int(window.row_off), int(window.col_off)
    return top, left, top + int(window.height), left + int(window.width)


def quotas(areas: Mapping[str, int], planned: Sequence[PlannedTile], limit: int | None) -> dict[str, int]:
    """Return the maximum number of tiles of each split.

    Args:
        areas: Labelled pixels of each split.
        planned: All planned tiles.
        limit: Maximum number of tiles in all, divided by labelled area, or None. Each split gets at least one, train
            before val before test.
    """
    if limit is None:
        return {split: sum(p.split == split for p in planned) for split in SPLITS}
    filled = [split for split in SPLITS if areas[split]][:limit]
    shares = {split: areas[split] / sum(areas[s] for s in filled) for split in filled}
    counts = {split: max(1, round(limit * shares[split])) if split in filled else 0 for split in SPLITS}
    largest = max(filled, key=lambda split: areas[split])
    return {**counts, largest: counts[largest] + limit - sum(counts.values())}


@contextmanager
def resumable(
    output: Path, plan: dict[str, Any], *, resume: bool, objects: bool = False
) -> Iterator[tuple[Path, Journal]]:
    """Open a work folder that survives an interruption, and the journal of the tiles in it.

    Args:
        output: Final folder of the tile set.
        plan: Everything that determines the tiles, ready for JSON.
        resume: Continue with what an interrupted run left; else delete it.
        objects: Whether objects are kept.

    Yields:
        The folder, with ``images``, ``labels`` and, if objects are kept, ``objects`` in it, and its journal.

    Raises:
        OutputError: The folder cannot be written, is being written by another run, or holds the work of another
            plan.
    """
    work = work_folder(output)
    folder = work / "new" / output.name
    with ensure_locked(output):
        try:
            restore(output)
            if not resume:
                clear(work)
            for name in FOLDERS if objects else FOLDERS[:-1]:
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write to {output.parent}: {error.strerror}.") from error
        with _kept_for_resuming(work, resume=resume):
            with Journal(work / JOURNAL, plan) as journal:
                if resume:
                    log.info("Resuming after %d tiles.", len(journal))
                yield folder, journal
            with suppress(OSError):
                clear(work)


def is_begun(output: Path) -> bool:
    """Tell whether an interrupted run left tiles to continue with."""
    return (work_folder(output) / JOURNAL).exists()


@contextmanager
def _kept_for_resuming(work: Path, *, resume: bool) -> Iterator[None]:
    """Keep the tiles cut so far when the block is interrupted; delete them when it fails with an error."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.args = (f"Interrupted. The tiles cut so far are in {work}; continue with `resume=True`.",)
        raise
    except SatsegError as error:
        if not (resume and isinstance(error, OutputError)):
            with suppress(OSError):
                clear(work)
        raise
