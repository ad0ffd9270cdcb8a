"""Map scenes with a trained network: class rasters and polygons, in one streaming pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch

from satseg import __version__
from satseg.backend import run_own_file
from satseg.backend.device import available_cores, select_device, select_precision
from satseg.checkpoint import Checkpoint
from satseg.classes import IGNORE_INDEX
from satseg.errors import CheckpointError, SatsegError, UsageError
from satseg.inference.likeness import unlike_training
from satseg.inference.network import Network
from satseg.inference.pipeline import predict_rows
from satseg.inference.plan import make_plan
from satseg.raster.gdal import CACHE_BYTES, gdal_environment
from satseg.raster.scene import Scene
from satseg.raster.writer import ClassRasterWriter
from satseg.records import Plan, PredictionSummary, Progress, Rows, SceneInfo, no_progress
from satseg.runs import newest_finished
from satseg.staging import staged
from satseg.vectorization import VECTOR_SUFFIXES, PolygonSink
from satseg.vectorization.measures import area_in_pixels, length_in_pixels

log = logging.getLogger("satseg")

STDOUT = "-"
_LARGEST_CACHE = 512 * 2**20
_GSD_TOLERANCE = 0.1


class Sink(Protocol):
    """Takes the finished rows of a map, from the top."""

    def write(self, rows: Rows) -> None:
        """Take the next rows."""
        ...


@dataclass(frozen=True)
class PolygonShape:
    """How a map becomes polygons; lengths and areas are in pixels or on the ground, such as ``1px`` and ``10m2``.

    Args:
        keep_background: Whether the background class becomes polygons too.
        simplify: How far a boundary may move to get along with fewer vertices; None keeps the pixels' edges.
        min_area: Smaller regions dissolve into a neighbour; None keeps all.
        fill_holes: Holes of at most that area are filled where no polygon is made in them; None keeps all.
    """

    keep_background: bool = False
    simplify: str | None = None
    min_area: str | None = None
    fill_holes: str | None = None


@dataclass(frozen=True)
class Mapper:
    """A network and how to run it, ready for any number of scenes.

    Args:
        network: What classifies.
        origin: Where it comes from, as outputs name it.
        window: Side of a window in pixels.
        overlap: Pixels over which windows are blended, or None for an eighth of the window.
        batch_size: Windows per forward pass.
        shape: How the map becomes polygons.
    """

    network: Network
    origin: str
    window: int = 512
    overlap: int | None = None
    batch_size: int = 4
    shape: PolygonShape = field(default_factory=PolygonShape)

    def map_scene(
        self,
        scene: Scene,
        outputs: Sequence[Path],
        *,
        stream: IO[str] | None = None,
        progress: Progress = no_progress,
    ) -> PredictionSummary:
        """Map one scene; files appear under their names when all of them are complete.

        Args:
            scene: Scene with the bands that the network was trained on.
            outputs: ``.tif`` for the class raster, vector suffixes for polygons.
            stream: Text stream that takes polygons as GeoJSONSeq, or None.
            progress: Called as rows are finished, in pixels.
        """
        began = time.perf_counter()
        info = scene.info
        plan = make_plan(
            info.height,
            info.width,
            window=self.network.window or self.window,
            overlap=self.overlap,
            batch_size=self.batch_size,
        )
        counts = np.zeros(256, dtype=np.int64)
        with gdal_environment(cache_bytes=_cache_bytes(info, plan)), ExitStack() as stack:
            sinks, polygons = self._open_sinks(stack, info, plan, outputs, stream)
            found = stack.enter_context(closing(predict_rows(scene, self.network, plan, progress=progress)))
            for rows in found:
                for row in rows.classes:  # one at a time: counting widens uint8 to int64
                    counts += np.bincount(row, minlength=256)
                for sink in sinks:
                    sink.write(rows)
            vectors = polygons.close() if polygons else None
        return PredictionSummary(
            scene=info.path,
            outputs=tuple(str(path) for path in outputs),
            pixels={
                **{entry.name: int(counts[entry.id]) for entry in self.network.classes},
                "nodata": int(counts[IGNORE_INDEX]),
            },
            polygons=vectors.polygons if vectors else None,
            seconds=time.perf_counter() - began,
            forwarded=plan.forwarded,
        )

    def _open_sinks(
        self, stack: ExitStack, info: SceneInfo, plan: Plan, outputs: Sequence[Path], stream: IO[str] | None
    ) -> tuple[list[Sink], PolygonSink | None]:
        tags = self._provenance(plan)
        rasters = [path for path in outputs if path.suffix.lower() == ".tif"]
        vectors = [path for path in outputs if path not in rasters]
        sinks: list[Sink] = [stack.enter_context(_class_raster(path, info, self, tags)) for path in rasters]
        if not vectors and stream is None:
            return sinks, None
        polygons = stack.enter_context(
            PolygonSink(
                vectors,
                stream=stream,
                width=info.width,
                transform=info.transform,
                crs=info.crs,
                classes=self.network.classes,
                scene=info.path,
                provenance=tags,
                keep_background=self.shape.keep_background,
                tolerance=length_in_pixels(self.shape.simplify, info.gsd) if self.shape.simplify else None,
                min_pixels=area_in_pixels(self.shape.min_area, info.gsd) if self.shape.min_area else 0,
                max_hole=area_in_pixels(self.shape.fill_holes, info.gsd) if self.shape.fill_holes else 0,
            )
        )
        return [*sinks, polygons], polygons

    def _provenance(self, plan: Plan) -> dict[str, str]:
        settings = (
            f"--window {plan.window[0]} --overlap {plan.overlap[0]} --batch-size {plan.batch_size} "
            f"--precision {self.network.precision}"
        )
        shape = {name: value for name, value in vars(self.shape).items() if value}
        settings += "".join(
            f" --{name.replace('_', '-')}" + ("" if value is True else f" {value}") for name, value in shape.items()
        )
        return {
            "SATSEG_VERSION": __version__,
            "SATSEG_COMMAND": f"satseg predict {settings}",
            "SATSEG_MODEL": self.origin,
        }


def predict(
    scene: str | Path,
    *,
    model: str | Path | None = None,
    outputs: str | Path | Sequence[str | Path],
    arch: str | None = None,
    window: int = 512,
    overlap: int | None = None,
    batch_size: int = 4,
    keep_background: bool = False,
    simplify: str | None = None,
    min_area: str | None = None,
    fill_holes: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> PredictionSummary:
    """Map one scene with a trained network.

    Memory does not grow with the height of the scene: windows are read, classified, blended, written and traced in
    one pass from the top.

    Args:
        scene: Any raster that GDAL opens, with the bands, dtype and scale of the training scenes.
        model: Checkpoint; None takes the best one of the newest finished run below ``runs/``.
        outputs: Files to write: ``.tif`` for the class raster (a COG), ``.gpkg``, ``.parquet``, ``.fgb``,
            ``.geojson``, ``.geojsonl`` or ``.shp`` for polygons.
        arch: ``path/to/file.py:function`` of a checkpoint that was trained with such a network; this runs the file.
        window: Side of a window in pixels.
        overlap: Pixels over which neighbouring windows are blended; None is an eighth of the window.
        batch_size: Windows per forward pass.
        keep_background: Whether polygons include the background class.
        simplify: How far a boundary may move to get along with fewer vertices: ``1px``, ``0.5m``.
        min_area: Smallest region to keep, such as ``10m2`` or ``25px``; smaller ones dissolve into a neighbour.
        fill_holes: Largest hole to fill, such as ``5m2``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads; None is all that the process may use.
        progress: Called as rows are finished, in pixels.

    Returns:
        What was written, and pixels and polygons per class.

    Raises:
        SceneError: The scene cannot be read.
        ArchitectureError: The file that ``arch`` names does not build a network.
        CheckpointError: The checkpoint cannot be used, or the scene does not fit it.
        OutputError: An output cannot be written.
        UsageError: An argument makes no sense.
    """
    (summary,) = predict_scenes(
        [scene],
        model=model,
        outputs=outputs,
        arch=arch,
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        keep_background=keep_background,
        simplify=simplify,
        min_area=min_area,
        fill_holes=fill_holes,
        device=device,
        precision=precision,
        threads=threads,
        progress=progress,
    )
    return summary


def predict_scenes(
    scenes: Iterable[str | Path],
    *,
    model: str | Path | None = None,
    outputs: str | Path | Sequence[str | Path],
    arch: str | None = None,
    window: int = 512,
    overlap: int | None = None,
    batch_size: int = 4,
    keep_background: bool = False,
    simplify: str | None = None,
    min_area: str | None = None,
    fill_holes: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    stream: IO[str] | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
    progress: Progress = no_progress,
) -> Iterator[PredictionSummary]:
    """Map scenes one after the other, as they come, with a network that is loaded once.

    Args:
        scenes: Rasters; taken from the iterable when their turn comes.
        outputs: As in :func:`predict`; ``{stem}`` stands for the scene's file name without suffix. ``-`` writes
            polygons as GeoJSONSeq to ``stream``.
        stream: Text stream for ``-``.
        on_error: Called for a scene that fails, and the next one follows; None raises.
        model: See :func:`predict`, as for all that is not listed here.
        arch: See :func:`predict`.
        window: See :func:`predict`.
        overlap: See :func:`predict`.
        batch_size: See :func:`predict`.
        keep_background: See :func:`predict`.
        simplify: See :func:`predict`.
        min_area: See :func:`predict`.
        fill_holes: See :func:`predict`.
        device: See :func:`predict`.
        precision: See :func:`predict`.
        threads: See :func:`predict`.
        progress: See :func:`predict`.

    Yields:
        A summary per scene.

    Raises:
        UsageError: An output has an unknown suffix, or several scenes would be written to one file.
        SatsegError: As :func:`predict`.
    """
    names = [str(outputs)] if isinstance(outputs, str | Path) else [str(output) for output in outputs]
    _check_outputs(names)
    if isinstance(scenes, Sequence):
        claimed: dict[Path, str] = {}
        for scene in scenes:  # before any work is done
            _claim_outputs(names, str(scene), claimed)
    torch.set_num_threads(threads or available_cores())
    where = select_device(device)
    checkpoint = Checkpoint.load(_newest_model() if model is None else model)
    builder = run_own_file(arch) if arch else None
    network = Network.from_checkpoint(
        checkpoint, device=where, precision=select_precision(precision, where), builder=builder
    )
    origin = f"{checkpoint.path.name} sha256:{checkpoint.digest}"
    shape = PolygonShape(keep_background, simplify, min_area, fill_holes)
    mapper = Mapper(network, origin, window, overlap, batch_size, shape)
    used: dict[Path, str] = {}
    for scene in scenes:
        try:
            paths = _claim_outputs(names, str(scene), used)
            with gdal_environment(), Scene.open(scene) as opened:
                checkpoint.check_fits(opened.info.bands, scene)
                _warn_if_unlike(opened, checkpoint)
                summary = mapper.map_scene(opened, paths, stream=stream if STDOUT in names else None, progress=progress)
        except SatsegError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield summary


def _newest_model() -> Path:
    run = newest_finished()
    if run is None:
        raise CheckpointError(
            "There is no checkpoint: none was named, and there is no finished run below runs/.",
            hint="Name one with -m, or train one: satseg train TILES --arch erfnet",
        )
    log.info("Using the newest finished run: %s", run.best)
    return run.best


def _check_outputs(names: Sequence[str]) -> None:
    if not names:
        raise UsageError("Nowhere to write to.", hint="Name an output: -o out.gpkg, -o classes.tif or -o - for stdout.")
    for name in names:
        suffix = Path(name).suffix.lower()
        if name != STDOUT and suffix != ".tif" and suffix not in VECTOR_SUFFIXES:
            raise UsageError(
                f"The output {name} has no known suffix.", hint=f"Known are .tif, {', '.join(sorted(VECTOR_SUFFIXES))}."
            )


def _claim_outputs(names: Sequence[str], scene: str, used: dict[Path, str]) -> list[Path]:
    """Return the outputs of a scene; refuse those that an earlier scene has written, or that are the scene."""
    paths = [Path(name.replace("{stem}", Path(scene).stem)) for name in names if name != STDOUT]
    for path in paths:
        if path in used:
            raise UsageError(
                f"{scene} and {used[path]} would both be written to {path}.",
                hint="Put {stem} into the output's name: -o 'maps/{stem}.gpkg'",
            )
        if path.exists() and Path(scene).exists() and path.samefile(scene):
            raise UsageError(f"The output {path} is the scene itself.")
        used[path] = scene
    return paths


@contextmanager
def _class_raster(path: Path, info: SceneInfo, mapper: Mapper, tags: dict[str, str]) -> Iterator[Sink]:
    with staged(path) as work:
        raw = work.with_name(f"rows-{work.name}")
        with ClassRasterWriter(raw, info, mapper.network.classes, tags) as writer:
            yield writer
            writer.finish(work)
        raw.unlink()


def _cache_bytes(info: SceneInfo, plan: Plan) -> int:
    """Return a block cache that holds one row of windows, so that a striped file is decoded about once."""
    row = plan.window[0] * info.width * len(info.bands) * np.dtype(info.bands.dtype).itemsize
    return int(min(max(CACHE_BYTES, 1.5 * row), _LARGEST_CACHE))


def _warn_if_unlike(scene: Scene, checkpoint: Checkpoint) -> None:
    card = checkpoint.card
    phrases = unlike_training(scene, card.statistics)
    if phrases:
        log.warning("%s looks unlike the training scenes: %s.", scene.info.path, "; ".join(phrases))
    here, trained = scene.info.gsd, card.gsd
    if here and trained and any(abs(a / b - 1) > _GSD_TOLERANCE for a, b in zip(here, trained, strict=True)):
        log.warning("%s has %.3g m per pixel, the network was trained at %.3g m.", scene.info.path, here[0], trained[0])
