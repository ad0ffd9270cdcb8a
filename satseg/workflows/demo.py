"""Run the complete workflow on the sample scenes: tile, train, predict, evaluate."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from satseg.arguments import PathLike, path
from satseg.backend import find_architecture
from satseg.checkpoint import Checkpoint
from satseg.errors import OutputError, UsageError
from satseg.files.atomic_write import locked
from satseg.outputs.writable import check_folder
from satseg.prediction.settings import PredictionSettings
from satseg.progress import automatic
from satseg.records import EvaluationReport, Progress, TrainingSummary
from satseg.results import Result
from satseg.runs import next_output
from satseg.sample import CREDIT, Sample, copy_sample, sample
from satseg.signatures import checked
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.predict import predict_scenes
from satseg.workflows.preview import draw_preview
from satseg.workflows.tile import tile
from satseg.workflows.train import train

_Result = TypeVar("_Result")

PREVIEW = "preview.png"


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
        training: Summary of training.
        evaluation: Scores of the map of the held-out scene.
        files: Size in bytes of the main output files.
        preview: Picture of the unlabelled scene, its class map and its polygons.
        credit: Attribution of the scenes and the building footprints.
    """

    path: str
    steps: tuple[DemoStep, ...]
    training: TrainingSummary
    evaluation: EvaluationReport
    files: dict[str, int]
    preview: str
    credit: tuple[str, ...] = CREDIT


@checked
def demo(
    output: PathLike = "demo",
    *,
    minutes: float = 3.0,
    steps: int | None = None,
    arch: str = "erfnet",
    device: str = "auto",
    threads: int | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda command: None,
    progress: Progress = automatic,
) -> DemoSummary:
    """Tile, train, predict and evaluate on the sample scenes.

    Args:
        output: Output folder; gets ``scenes/``, ``tiles/``, ``runs/``, ``maps/`` and a preview.
        minutes: Training time in minutes.
        steps: Number of training steps, instead of ``minutes``.
        arch: Name of the network.
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
    title = find_architecture(arch).title
    _check_free(folder, overwrite)
    with locked(folder):
        scenes = copy_sample(folder / "scenes")
        walk = _Walk(folder, scenes, _Machine(device, threads), announce, progress)
        walk.tile()
        training = walk.train(arch, minutes, steps)
        maps = walk.predict(training.best)
        report = walk.evaluate(maps)
        note = f"{title}, {training.steps:,} training steps. Mean IoU on the held-out scene: {report.mean_iou:.3f}"
        preview = _draw(folder / PREVIEW, scenes, maps, training.best, note)
    return DemoSummary(
        path=str(folder),
        steps=tuple(walk.steps),
        training=training,
        evaluation=report,
        files={str(path): path.stat().st_size for path in [Path(training.best), *maps, preview]},
        preview=str(preview),
    )


def _check_free(folder: Path, overwrite: bool) -> None:
    check_folder(folder)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    made_here = sample(folder / "scenes").attribution.is_file()  # the demo begins with it, in an empty folder
    if not found or (overwrite and made_here):
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
        with_labels = ["--labels", labels, "-o", tiles, *again]
        self._step(
            ["tile", self.scenes.labelled, *with_labels],
            lambda: tile(
                [self.scenes.labelled],
                labels=labels,
                output=tiles,
                settings=TileSettings(overwrite=bool(again)),
                progress=self.progress,
            ),
        )

    def train(self, arch: str, minutes: float, steps: int | None) -> TrainingSummary:
        tiles, run = self.folder / "tiles", next_output(arch, self.folder / "runs")
        budget = ["--minutes", f"{minutes:g}"] if steps is None else ["--steps", steps]
        return self._step(
            ["train", tiles, "--arch", arch, *budget, "-o", run, *self.machine.words()],
            lambda: train(
                tiles,
                output=run,
                settings=TrainSettings(
                    arch=arch,
                    minutes=minutes if steps is None else None,
                    steps=steps,
                    device=self.machine.device,
                    threads=self.machine.threads,
                ),
                progress=self.progress,
            ),
        )

    def predict(self, model: str) -> list[Path]:
        """Map the two scenes not used in training; return the files of the held-out one, then of the unlabelled one."""
        scenes = [self.scenes.held_out, self.scenes.unlabelled]
        outputs = [str(self.folder / "maps" / f"{{stem}}{suffix}") for suffix in (".tif", ".gpkg")]
        summaries = self._step(
            ["predict", *scenes, "-m", model, "-o", outputs[0], "-o", outputs[1], *self.machine.words()],
            lambda: list(
                predict_scenes(
                    scenes,
                    model=model,
                    output=outputs,
                    settings=PredictionSettings(device=self.machine.device, threads=self.machine.threads),
                    progress=self.progress,
                )
            ),
        )
        return [Path(path) for summary in summaries for path in summary.outputs]

    def evaluate(self, maps: Sequence[Path]) -> EvaluationReport:
        classes, labels = maps[0], self.scenes.labels
        return self._step(
            ["evaluate", classes, "--labels", labels],
            lambda: evaluate(classes, labels=labels, progress=self.progress),
        )

    def _step(self, words: Sequence[object], work: Callable[[], _Result]) -> _Result:
        command = shlex.join(["satseg", *map(str, words)])
        self.announce(command)
        began = perf_counter()
        result = work()
        self.steps.append(DemoStep(str(words[0]), command, perf_counter() - began))
        return result


def _draw(path: Path, scenes: Sample, maps: Sequence[Path], model: str, note: str) -> Path:
    """Draw the unlabelled scene with its class map and polygons."""
    draw_preview(
        path,
        scene=scenes.unlabelled,
        classes=maps[2],
        polygons=maps[3],
        table=Checkpoint.load(model).card.classes,
        notes=[note, ". ".join(CREDIT)],
    )
    return path
