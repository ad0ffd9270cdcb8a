"""The folder of a run.

    settings.json           what the run was started with, written first, and where its end was moved
    log.csv                 one row per validation
    best.safetensors        checkpoint with the best validation mIoU so far
    last.safetensors        checkpoint of the last saved step
    augmented.png           training samples as the network sees them, on request
    tensorboard/            the log as events, on request
    state-<step>.safetensors   what going on from ``last`` needs beside it; a finished run can be given more time
    curves.png, tiles.png   curves of the log; best and worst validation tiles
    run.json                how the run ended, written last: a run without it is not finished

``last`` names its step, and its state is written before it, so the two fit together at every moment.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.arguments import file_and_name
from satseg.checkpoint import Checkpoint, ModelCard, save_checkpoint
from satseg.errors import CheckpointError, OutputError, TrainingError
from satseg.fields import FieldError, Fields, parse_json
from satseg.files.atomic_write import staged
from satseg.outputs.writable import check_folder
from satseg.records import as_json
from satseg.runs.log import RunLog
from satseg.runs.states import load_state, save_state

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("satseg")

RUNS = Path("runs")


class Run:
    """One run on disk. Made by :meth:`start`.

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

    def extend(self, changes: Mapping[str, Any], *, step: int) -> None:
        """Move the end of the run, and make it an unfinished one; nothing else changes.

        A kill in between leaves a run that is unfinished and has come to its old end, which is finished at once when it
        is resumed.

        Args:
            changes: Settings that are others from now on.
            step: Updates done so far. What the settings were until then is noted with it.

        Raises:
            OutputError: The settings cannot be written; the run is as it was.
        """
        settings = self.read_settings()
        before = {"step": step, **{name: settings.get(name) for name in changes}}
        with staged(self.settings) as aside:
            _write_aside(aside, {**settings, **changes, "extended": [*settings.get("extended", []), before]})
            self.record.unlink(missing_ok=True)

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
            if self.finished:
                raise OutputError(
                    f"{self.path} already holds a finished run.",
                    hint="Choose another folder with -o, or train this run longer, such as with --resume --minutes 60.",
                )
            raise OutputError(
                f"{self.path} already holds an unfinished run.",
                hint="Continue it with --resume, or choose another folder with -o.",
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
    def tile_set(self) -> Path | None:
        """Folder of the tiles that the run was trained on, there or not; None where its settings do not tell.

        Raises:
            TrainingError: The settings cannot be read.
        """
        if not self.started:
            return None
        circumstances = self.read_settings().get("circumstances")
        named = circumstances.get("tile_set") if isinstance(circumstances, dict) else None
        return Path(named) if isinstance(named, str) else None

    @property
    def finished(self) -> bool:
        """Whether the run record is there."""
        return self.record.exists()

    @property
    def touched(self) -> int:
        """Time at which it was started, saved, extended or finished last, in nanoseconds."""
        files = (self.settings, self.last, self.record)
        return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)

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
        if not self._state(step).exists():
            raise TrainingError(
                f"The run {self.path} cannot go on: its {self._state(step).name} is gone.",
                hint=f"Start another run from its weights: --init-from {self.path}",
            )
        tensors, values = load_state(self._state(step))
        return checkpoint, tensors, values

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the run record, which makes the run a finished one."""
        _write_json(self.record, record)

    def read_record(self) -> dict[str, Any]:
        """Read what :meth:`finish` wrote.

        Raises:
            TrainingError: It is missing or broken.
        """
        return _read_json(self.record)

    def _state(self, step: int) -> Path:
        return self.path / f"state-{step}.safetensors"

    def _drop_states(self, keep: int) -> None:
        for path in self.path.glob("state-*.safetensors"):
            if path != self._state(keep):
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


def newest_run(
    folder: Path = RUNS, *, unfinished: bool = False, which: Callable[[Run], bool] = lambda run: True
) -> Run | None:
    """Return the run that was worked on last, or None.

    Args:
        folder: Where runs are.
        unfinished: Pass over those that are finished.
        which: Tells whether a run counts. One whose settings it cannot read does not.
    """

    def counts(run: Run) -> bool:
        try:
            return not (unfinished and run.finished) and which(run)
        except TrainingError:
            return False

    runs = [Run(settings.parent) for settings in folder.glob("*/settings.json")]
    return max(filter(counts, runs), key=lambda run: (run.touched, run.path.name), default=None)


def newest_finished(folder: Path = RUNS) -> Run | None:
    """Return the run that was finished last, or None."""
    runs = [Run(record.parent) for record in folder.glob("*/run.json")]
    runs = [run for run in runs if run.best.exists()]
    return max(runs, key=lambda run: (run.record.stat().st_mtime_ns, run.path.name), default=None)


def newest_begun(folder: Path = RUNS) -> Run | None:
    """Return the run whose best checkpoint was written last, finished or not, or None."""
    runs = [Run(best.parent) for best in folder.glob("*/best.safetensors")]
    return max(runs, key=lambda run: (run.best.stat().st_mtime_ns, run.path.name), default=None)


def newest_model(folder: Path = RUNS) -> Path:
    """Return the best checkpoint of the run that was finished last, and say which it is.

    Raises:
        CheckpointError: There is none.
    """
    run = newest_finished(folder)
    if run is None:
        begun = newest_begun(folder)
        raise CheckpointError(
            f"There is no checkpoint: none was named, and there is no finished run below {folder}/.",
            hint="Name one with -m, or train one: satseg train TILES --arch erfnet"
            if begun is None
            else f"The run {begun.path} is unfinished: satseg train --resume {begun.path} goes on with it, and "
            f"-m {begun.best} takes it as it is.",
        )
    log.info("Using the newest finished run: %s", run.best)
    return run.best


def _numbered(arch: str, folder: Path) -> dict[int, Path]:
    name = _short(arch)
    found = ((re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name), path) for path in folder.glob(f"{name}-*"))
    return {int(match[1]): path for match, path in found if match}


def _short(arch: str) -> str:
    return file_and_name(arch)[1]  # of a network from a file, its function


def _write_json(path: Path, value: Any) -> None:
    with staged(path) as aside:
        _write_aside(aside, value)


def _write_aside(path: Path, value: Any) -> None:
    path.write_text(json.dumps(as_json(value), indent=2) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return Fields(parse_json(path.read_bytes())).entries()
    except (OSError, FieldError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"{path} cannot be read: {reason}.") from error
