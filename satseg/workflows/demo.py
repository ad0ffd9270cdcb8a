"""Run the complete workflow on the sample scenes: map with the network of the package, then train one and map again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final, TypeVar

from satseg.arguments import PathLike, path
from satseg.backend import find_architecture
from satseg.backend.device import select_device
from satseg.backend.settings import AUTO_ARCH
from satseg.checkpoint import Checkpoint
from satseg.classes import BACKGROUND, ClassTable
from satseg.errors import OutputError, UsageError
from satseg.evaluation.settings import EvaluateSettings
from satseg.files.atomic_write import locked
from satseg.outputs.project_file import check_project
from satseg.outputs.writable import check_folder
from satseg.prediction.outputs import OutputPaths
from satseg.prediction.settings import PredictionSettings
from satseg.progress import automatic
from satseg.qgis.project import Layer
from satseg.qgis.style import outlines
from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.records import EvaluationReport, MapLayer, Progress, TrainingSummary
from satseg.results import Result
from satseg.runs import Run, next_output
from satseg.sample import CREDIT, Sample, copy_sample, network_name, sample
from satseg.signatures import checked
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.map_project import MapProject, scene_layer
from satseg.workflows.network_choice import choose_network
from satseg.workflows.predict import predict_scenes
from satseg.workflows.preview import draw_preview
from satseg.workflows.tile import tile
from satseg.workflows.train import train

_Result = TypeVar("_Result")

PREVIEW, PROJECT = "preview.png", "demo.qgs"

GSD = "0.26m"
"""Resolution of the tiles, twice that of the scenes: a tile shows four times the ground, and roofs are 40 px wide."""

_FINE_TUNING_RATE = 1e-4  # of a network that has learnt the scene before: higher rates unlearn part of it
_TTA: Final = "flips"
_SHARES = (0.86, 0.14, 0.0)  # the held-out scene takes the place of test tiles


@dataclass(frozen=True, repr=False)
class DemoStep(Result):
    """One command of the demo.

    Args:
        name: Subcommand.
        command: The equivalent command line.
        seconds: Run time.
    """

    name: str
    command: str
    seconds: float


@dataclass(frozen=True, repr=False)
class DemoSummary(Result):
    """Results of the demo.

    Args:
        path: Output folder.
        steps: Commands in the order in which they ran.
        first: Scores of the first map of the held-out scene, by the network of the package.
        training: Summary of training.
        evaluation: Scores of the map of the held-out scene by the trained network.
        learnt: What the trained network had learnt before, and from what.
        files: Size in bytes of the main output files.
        preview: Picture of the unlabelled scene and its polygons.
        project: QGIS project with all scenes and maps.
        credit: Attribution of the scenes and the building footprints.
    """

    path: str
    steps: tuple[DemoStep, ...]
    first: EvaluationReport
    training: TrainingSummary
    evaluation: EvaluationReport
    learnt: str
    files: dict[str, int]
    preview: str
    project: str
    credit: tuple[str, ...] = CREDIT


@checked
def demo(
    output: PathLike = "demo",
    *,
    minutes: float = 2.5,
    steps: int | None = None,
    arch: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda command: None,
    progress: Progress = automatic,
) -> DemoSummary:
    """Map the sample scenes with the network of the package, then tile, train, predict and evaluate.

    Args:
        output: Output folder; gets ``scenes/``, ``first/`` with the first maps, ``tiles/``, ``runs/``, ``maps/``, a
            preview and a QGIS project.
        minutes: Training time in minutes.
        steps: Number of training steps, instead of ``minutes``.
        arch: Name of a network to train instead, as :func:`satseg.train` takes it. By default, training continues
            that of the package.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        threads: CPU threads; None uses all that are available to this process.
        overwrite: Replace the tiles and maps of an earlier demo in this folder; its training runs are kept.
        announce: Called with the equivalent command line before each step.
        progress: Progress callback.

    Raises:
        OutputError: ``output`` is not empty, is in use by another demo, or cannot be written.
        ArchitectureError: There is no such network.
        UsageError: ``minutes`` or ``steps`` is invalid.
    """
    folder = Path(path(output, "output"))
    if steps is None and not minutes > 0:
        raise UsageError(f"`minutes` is {minutes:g}; it must be greater than 0.")
    if arch not in (None, AUTO_ARCH):
        find_architecture(arch)
    _check_free(folder, overwrite)
    with locked(folder):
        scenes = copy_sample(folder / "scenes")
        walk = _Walk(folder, scenes, _Machine(device, threads), announce, progress)
        first = walk.evaluate(walk.predict(network_name(), "first"))
        walk.tile()
        training = walk.train(arch, minutes, steps)
        maps = walk.predict(training.best, "maps")
        report = walk.evaluate(maps)
        table = Checkpoint.load(training.best).card.classes
        preview = _draw(folder / PREVIEW, scenes, maps, table, report)
        project = _write_project(folder / PROJECT, scenes, maps, table)
    return DemoSummary(
        path=str(folder),
        steps=tuple(walk.steps),
        first=first,
        training=training,
        evaluation=report,
        learnt=_learnt(arch, training),
        files={str(path): path.stat().st_size for path in [Path(training.best), *maps, preview, project]},
        preview=str(preview),
        project=str(project),
    )


def _check_free(folder: Path, overwrite: bool) -> None:
    check_folder(folder)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    made_here = sample(folder / "scenes").attribution.is_file()  # the demo begins with it, in an empty folder
    if not found or (overwrite and made_here):
        check_project(folder / PROJECT)
        return
    hint = "Choose another folder with `output`"
    if made_here:
        hint += ", or replace the earlier demo with `overwrite=True`"
    elif overwrite:
        raise OutputError(
            f"{folder} was not written by the demo and cannot be replaced: it contains {found[0].name}.",
            hint=f"{hint}.",
        )
    raise OutputError(f"{folder} is not empty.", hint=f"{hint}.")


@dataclass(frozen=True)
class _Machine:
    """Device and threads of the demo."""

    device: str
    threads: int | None

    def words(self) -> list[str]:
        """Return the options that differ from their defaults."""
        words = ["--device", self.device] if self.device != "auto" else []
        return words + (["--threads", str(self.threads)] if self.threads else [])


@dataclass(frozen=True)
class _Walk:
    """The steps of the demo, each announced, run and timed."""

    folder: Path
    scenes: Sample
    machine: _Machine
    announce: Callable[[str], None]
    progress: Progress
    steps: list[DemoStep] = field(default_factory=list)

    def tile(self) -> None:
        tiles, labels = self.folder / "tiles", self.scenes.labels
        again = ["--overwrite"] if tiles.exists() else []
        cut = ["--gsd", GSD, "--split", ",".join(f"{share:g}" for share in _SHARES)]
        with_labels = ["--labels", labels, "--objects", *cut, "-o", tiles, *again]
        self._step(
            ["tile", self.scenes.labelled, *with_labels],
            lambda: tile(
                [self.scenes.labelled],
                labels=labels,
                output=tiles,
                settings=TileSettings(gsd=GSD, split=_SHARES, objects=True, overwrite=bool(again)),
                progress=self.progress,
            ),
        )

    def train(self, arch: str | None, minutes: float, steps: int | None) -> TrainingSummary:
        """Train a network, or go on training that of the package."""
        settings = TrainSettings(
            arch=arch or AUTO_ARCH,
            init_from=None if arch else network_name(),
            lr=None if arch else _FINE_TUNING_RATE,
            minutes=minutes if steps is None else None,
            steps=steps,
            device=self.machine.device,
            threads=self.machine.threads,
        )
        settings = choose_network(settings, select_device(settings.device))
        tiles, run = self.folder / "tiles", next_output(settings.arch, self.folder / "runs")
        budget = ["--minutes", f"{minutes:g}"] if steps is None else ["--steps", steps]
        begin = ["--arch", arch] if arch else ["--init-from", network_name(), "--lr", f"{_FINE_TUNING_RATE:g}"]
        return self._step(
            ["train", tiles, *begin, *budget, "-o", run, *self.machine.words()],
            lambda: train(tiles, output=run, settings=settings, progress=self.progress),
        )

    def predict(self, model: str, folder: str) -> list[Path]:
        """Map the two scenes not used in training; return the files of the held-out one, then of the unlabelled one."""
        scenes = [self.scenes.held_out, self.scenes.unlabelled]
        outputs = [str(self.folder / folder / f"{{stem}}{suffix}") for suffix in (".tif", ".gpkg")]
        written = ["-o", outputs[0], "-o", outputs[1]]
        settings = PredictionSettings(objects=True, tta=_TTA, device=self.machine.device, threads=self.machine.threads)
        summaries = self._step(
            ["predict", *scenes, "-m", model, *written, "--objects", "--tta", _TTA, *self.machine.words()],
            lambda: list(
                predict_scenes(
                    scenes,
                    model=model,
                    output=outputs,
                    settings=settings,
                    progress=self.progress,
                )
            ),
        )
        return [Path(path) for summary in summaries for path in summary.outputs]

    def evaluate(self, maps: Sequence[Path]) -> EvaluationReport:
        ids, labels, settings = maps[0], self.scenes.labels, EvaluateSettings(objects=True)
        return self._step(
            ["evaluate", ids, "--labels", labels, "--objects"],
            lambda: evaluate(ids, labels=labels, settings=settings, progress=self.progress),
        )

    def _step(self, words: Sequence[object], work: Callable[[], _Result]) -> _Result:
        command = shlex.join(["satseg", *map(str, words)])
        self.announce(command)
        began = perf_counter()
        result = work()
        self.steps.append(DemoStep(str(words[0]), command, perf_counter() - began))
        return result


def _learnt(arch: str | None, training: TrainingSummary) -> str:
    """Say what a trained network had learnt before, and that it has not seen what it mapped."""
    unseen = "It has seen neither of the scenes that it mapped."
    if arch is None:
        before = Checkpoint.load(network_name()).card.training["steps"]
        return (
            f"The network of the package had learnt from town.tif for {before:,} steps, and its encoder from ImageNet "
            f"before; the demo trained it on. {unseen}"
        )
    options = Run(Path(training.path)).read_settings()["arch_options"]
    start = "an encoder that had learnt from ImageNet" if options.get("pretrained") else "random weights"
    return f"The network {training.arch} started from {start}, and learnt from town.tif. {unseen}"


def _draw(path: Path, scenes: Sample, maps: Sequence[Path], table: ClassTable, report: EvaluationReport) -> Path:
    """Draw the unlabelled scene and its polygons."""
    found = next(entry for entry in report.classes if entry.name != BACKGROUND)
    note = (
        "A part of the town without labels, unseen in training. On the held-out scene: building IoU "
        f"{found.iou:.2f}, object F1 {found.object_f1:.2f}."
    )
    draw_preview(
        path,
        scene=scenes.unlabelled,
        polygons=maps[3],
        table=table,
        notes=[note, ". ".join(CREDIT)],
    )
    return path


def _write_project(path: Path, scenes: Sample, maps: Sequence[Path], table: ClassTable) -> Path:
    """Write a QGIS project of both maps, with the footprints and the scene they were learnt from."""
    project = MapProject(path, table)
    for scene, files in ((scenes.unlabelled, maps[2:]), (scenes.held_out, maps[:2])):
        project.add(SceneSource(scene), OutputPaths.of_files(*files, raster=MapLayer.OBJECTS))
    with Scene.open(scenes.labelled) as opened:
        crs = opened.info.crs
    footprints = Layer("Footprints (OpenStreetMap)", scenes.labels, outlines(), crs, vector=True, visible=False)
    labelled = scene_layer(scenes.labelled.stem, scenes.labelled, crs)
    project.write(above=[footprints], below=[labelled], title="satseg demo")
    return path
