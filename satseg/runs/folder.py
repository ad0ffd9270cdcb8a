"""The folder of a run.

    settings.json           what the run was started with, written first; --resume must ask for the same
    log.csv                 one row per validation
    best.safetensors        checkpoint with the best validation mIoU so far
    last.safetensors        checkpoint of the last saved step
    augmented.png           training samples as the network sees them, on request
    tensorboard/            the log as events, on request
    state-<step>.safetensors   what resuming from ``last`` needs beside it; gone when the run is finished
    curves.png, tiles.png   curves of the log; best and worst validation tiles
    run.json                how the run ended, written last: a run without it is not finished

``last`` names its step, and its state is written before it, so the two fit together at every moment.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import CheckpointError, OutputError, TrainingError
from satseg.fields import FieldError, Fields, parse_json
from satseg.outputs.writable import check_folder
from satseg.records import as_json
from satseg.runs.log import RunLog
from satseg.runs.states import load_state, save_state
from satseg.staging import staged

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("satseg")

RUNS = Path("runs")


class Run:
    """One run on disk. Made by :meth:`start` or :meth:`resume`.

    Args:
        path: Folder of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.settings = path / "settings.json"
        self.record = path / "run.json"
        self.log = RunLog(path / "log.csv")
        self.events = path / "tensorboard"

    @classmethod
    def start(cls, path: Path, settings: Mapping[str, Any]) -> Run:
        """Make the folder of a new run.

        Args:
            path: The folder; it may exist, but hold nothing.
            settings: What the run is started with, ready for JSON.

        Raises:
            OutputError: The folder holds something already, or cannot be written.
        """
        run = cls(path)
        run.check_vacant()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write to {path}: {error.strerror}.") from error
        _write_json(run.settings, settings)
        return run

    @classmethod
    def resume(cls, path: Path, settings: Mapping[str, Any]) -> Run:
        """Open the folder of a run to continue it.

        Args:
            path: The folder.
            settings: What is asked for now, ready for JSON; it must be what the run was started with.

        Raises:
            TrainingError: The settings differ, or cannot be read.
        """
        run = cls(path)
        started = _read_json(run.settings)
        asked = as_json(settings)
        for name in sorted(started.keys() | asked.keys()):
            if started.get(name) != asked.get(name) and name == "tiles":
                raise TrainingError(
                    f"The tiles that the run {path} was started with have changed since: their images, labels, classes "
                    "or index.",
                    hint="Resume with the tile set as it was, or start a new run.",
                )
            if started.get(name) != asked.get(name):
                raise TrainingError(
                    f"The run {path} was started with {name} = {started.get(name)}, not {asked.get(name)}.",
                    hint="Resume with the same settings, or start a new run.",
                )
        return run

    def check_writable(self, *, resume: bool) -> None:
        """Refuse a folder that cannot be written; unless it holds a run to ``resume``, it must be vacant.

        Raises:
            OutputError: As :meth:`check_vacant`.
        """
        if resume and self.started:
            check_folder(self.path)
        else:
            self.check_vacant()

    def check_vacant(self) -> None:
        """Refuse a folder that holds anything; hidden files do not count.

        Raises:
            OutputError: It holds a run already, or files of others.
        """
        check_folder(self.path)
        if self.started or self.finished:
            state = "a finished run" if self.finished else "an unfinished run"
            raise OutputError(
                f"{self.path} already holds {state}.", hint="Continue it with --resume, or choose another output."
            )
        entries = sorted(self.path.iterdir()) if self.path.is_dir() else []
        entry = next((entry for entry in entries if not entry.name.startswith(".")), None)
        if entry is not None:
            raise OutputError(
                f"{self.path} is not empty: it holds {entry.name}.", hint="Choose another folder for the run with -o."
            )

    @property
    def started(self) -> bool:
        """Whether the folder holds a run at all."""
        return self.settings.exists()

    def read_settings(self) -> dict[str, Any]:
        """Return what the run was started with.

        Raises:
            TrainingError: It cannot be read.
        """
        return _read_json(self.settings)

    @property
    def finished(self) -> bool:
        """Whether the run record is there."""
        return self.record.exists()

    @property
    def resumable(self) -> bool:
        """Whether there is a saved step to continue from."""
        return self.last.exists()

    def save_best(self, weights: Mapping[str, Tensor], card: ModelCard) -> None:
        """Write the checkpoint with the best validation score so far."""
        save_checkpoint(self.best, weights, card)

    def save_last(
        self,
        weights: Mapping[str, Tensor],
        card: ModelCard,
        *,
        step: int,
        tensors: Mapping[str, Tensor],
        values: Mapping[str, Any],
    ) -> None:
        """Write the checkpoint of a step, and what continuing from it needs.

        Args:
            weights: State dict of the network after ``step`` updates.
            card: Its card, with ``step`` as ``training["steps"]``.
            step: Updates done.
            tensors: State of the optimiser.
            values: Where the loop stands, ready for JSON.
        """
        save_state(self._state(step), tensors, values)
        save_checkpoint(self.last, weights, card)
        self._drop_states(keep=step)

    def load_last(self) -> tuple[Checkpoint, dict[str, Tensor], dict[str, Any]]:
        """Read what :meth:`save_last` wrote last.

        Returns:
            The checkpoint, the tensors and the values.

        Raises:
            CheckpointError: The checkpoint cannot be read.
            TrainingError: The state cannot be read.
        """
        checkpoint = Checkpoint.load(self.last)
        try:
            step = Fields(checkpoint.card.training, "training").whole("steps")
        except FieldError as error:
            raise CheckpointError(f"{self.last} cannot be used. Its header is wrong: {error}.") from error
        tensors, values = load_state(self._state(step))
        return checkpoint, tensors, values

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the run record, which makes the run a finished one, and drop the state."""
        _write_json(self.record, record)
        self._drop_states()

    def read_record(self) -> dict[str, Any]:
        """Read what :meth:`finish` wrote.

        Raises:
            TrainingError: It is missing or broken.
        """
        return _read_json(self.record)

    def _state(self, step: int) -> Path:
        return self.path / f"state-{step}.safetensors"

    def _drop_states(self, keep: int | None = None) -> None:
        for path in self.path.glob("state-*.safetensors"):
            if keep is None or path != self._state(keep):
                path.unlink()
        for folder in self.path.glob(".state-*.satseg"):  # left by a kill in the middle of writing
            shutil.rmtree(folder)


def next_output(arch: str, folder: Path = RUNS) -> Path:
    """Return ``<folder>/<arch>-<n>`` with the smallest n above all that are there."""
    return folder / f"{_short(arch)}-{max(_numbered(arch, folder), default=0) + 1}"


def claim_output(arch: str, folder: Path = RUNS) -> Path:
    """Make the folder that :func:`next_output` names; of several runs that start at once, each gets its own.

    Raises:
        OutputError: It cannot be made.
    """
    while True:
        path = next_output(arch, folder)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise OutputError(f"Cannot write to {path}: {folder} is no folder.") from None
        except OSError as error:
            raise OutputError(f"Cannot write to {path}: {error.strerror}.") from error
        else:
            return path


def newest_run(arch: str, folder: Path = RUNS) -> Path | None:
    """Return the run of ``arch`` with the highest number, finished or not; None where there is none."""
    numbers = _numbered(arch, folder)
    return numbers[max(numbers)] if numbers else None


def newest_finished(folder: Path = RUNS) -> Run | None:
    """Return the run that was finished last, or None."""
    runs = [Run(record.parent) for record in folder.glob("*/run.json")]
    runs = [run for run in runs if run.best.exists()]
    return max(runs, key=lambda run: (run.record.stat().st_mtime_ns, run.path.name), default=None)


def newest_begun(folder: Path = RUNS) -> Run | None:
    """Return the run whose best checkpoint was written last, finished or not, or None."""
    runs = [Run(best.parent) for best in folder.glob("*/best.safetensors")]
    return max(runs, key=lambda run: (run.best.stat().st_mtime_ns, run.path.name), default=None)


def _numbered(arch: str, folder: Path) -> dict[int, Path]:
    name = _short(arch)
    found = ((re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name), path) for path in folder.glob(f"{name}-*"))
    return {int(match[1]): path for match, path in found if match}


def _short(arch: str) -> str:
    return arch.rpartition(":")[2]  # of a network from a file, its function


def _write_json(path: Path, value: Any) -> None:
    with staged(path) as aside:
        aside.write_text(json.dumps(as_json(value), indent=2) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return Fields(parse_json(path.read_bytes())).entries()
    except (OSError, FieldError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"{path} cannot be read: {reason}.") from error
