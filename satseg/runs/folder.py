"""The folder of a run.

    settings.json              settings of the run, written first, and changes of its end
    log.csv                    one row per validation
    best.safetensors           checkpoint with the best validation mIoU so far
    last.safetensors           checkpoint of the last saved step
    state-<step>.safetensors   state that resuming from ``last`` needs in addition to the weights
    augmented.png              augmented training tiles, on request
    tensorboard/               the log as TensorBoard events, on request
    curves.png, tiles.png      curves of the log; best and worst validation tiles
    run.json                   record of the finished run, written last: without it, a run is unfinished

The state of a step is written before ``last``, which names its step: the two files match at any time.
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
from satseg.files.atomic_write import atomic_write
from satseg.outputs.writable import check_folder
from satseg.records import as_json
from satseg.runs.log import RunLog
from satseg.runs.states import load_state, save_state

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("satseg")

RUNS = Path("runs")


class Run:
    """The folder of a run; :meth:`start` makes a new one.

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
            path: The folder; it must be empty if it exists.
            settings: Settings of the run, ready for JSON.

        Raises:
            OutputError: The folder is not empty, or cannot be written.
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
        """Change the end of the run, and mark it as unfinished.

        If the process is killed in between, the run is unfinished at its old end; resuming it finishes it at once.

        Args:
            changes: New values of settings.
            step: Updates done so far; it is stored together with the previous values.

        Raises:
            OutputError: The settings cannot be written; the run is unchanged.
        """
        settings = self.read_settings()
        before = {"step": step, **{name: settings.get(name) for name in changes}}
        with atomic_write(self.settings) as aside:
            _write_aside(aside, {**settings, **changes, "extended": [*settings.get("extended", []), before]})
            self.record.unlink(missing_ok=True)

    def check_writable(self, *, resume: bool) -> None:
        """Refuse a folder that cannot be written; unless it holds a run to ``resume``, it must be empty.

        Raises:
            OutputError: As :meth:`check_vacant`.
        """
        if resume and self.started:
            check_folder(self.path)
        else:
            self.check_vacant()

    def check_vacant(self) -> None:
        """Refuse a folder that is not empty; hidden files are ignored.

        Raises:
            OutputError: It contains a run or other files, or cannot be written.
        """
        check_folder(self.path)
        if self.started or self.finished:
            if self.finished:
                raise OutputError(
                    f"{self.path} already contains a finished run.",
                    hint="Choose another `output`, or train this run longer, for example with `resume=True` and "
                    "`minutes=60`.",
                )
            raise OutputError(
                f"{self.path} already contains an unfinished run.",
                hint="Resume it with `resume=True`, or choose another `output`.",
            )
        entries = sorted(self.path.iterdir()) if self.path.is_dir() else []
        entry = next((entry for entry in entries if not entry.name.startswith(".")), None)
        if entry is not None:
            raise OutputError(
                f"{self.path} is not empty: it contains {entry.name}.", hint="Choose another `output` for the run."
            )

    @property
    def started(self) -> bool:
        """Whether the folder contains a run."""
        return self.settings.exists()

    def read_settings(self) -> dict[str, Any]:
        """Return the settings of the run.

        Raises:
            TrainingError: They cannot be read.
        """
        return _read_json(self.settings)

    @property
    def tile_set(self) -> Path | None:
        """Folder of the tiles of the run, which may not exist any more; None if its settings do not name it.

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
        """Whether the run is finished: its record exists."""
        return self.record.exists()

    @property
    def touched(self) -> int:
        """Time at which the run was last started, saved, extended or finished, in nanoseconds."""
        files = (self.settings, self.last, self.record)
        return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)

    @property
    def resumable(self) -> bool:
        """Whether there is a saved step to resume from."""
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
        """Write the checkpoint of a step, and the state that resuming from it needs.

        Args:
            weights: State dict of the network after ``step`` updates.
            card: Its card, with ``step`` as ``training["steps"]``.
            step: Updates done.
            tensors: State of the optimiser.
            values: State of the loop, ready for JSON.
        """
        save_state(self._state(step), tensors, values)
        save_checkpoint(self.last, weights, card)
        self._drop_states(keep=step)

    def load_last(self) -> tuple[Checkpoint, dict[str, Tensor], dict[str, Any]]:
        """Read what :meth:`save_last` last wrote.

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
            raise CheckpointError(f"{self.last} cannot be used. Its header is invalid: {error}.") from error
        if not self._state(step).exists():
            raise TrainingError(
                f"The run {self.path} cannot be resumed: its {self._state(step).name} is missing.",
                hint=f"Start another run from its weights: `init_from={str(self.path)!r}`",
            )
        tensors, values = load_state(self._state(step))
        return checkpoint, tensors, values

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record, which marks the run as finished."""
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
        for folder in self.path.glob(".state-*.satseg"):  # left by a process that was killed while it wrote
            shutil.rmtree(folder)


def next_output(arch: str, folder: Path = RUNS) -> Path:
    """Return ``<folder>/<arch>-<n>`` with the smallest n above all existing ones."""
    return folder / f"{_short(arch)}-{max(_numbered(arch, folder), default=0) + 1}"


def claim_output(arch: str, folder: Path = RUNS) -> Path:
    """Make the folder that :func:`next_output` names; runs that start at the same time get different ones.

    Raises:
        OutputError: It cannot be made.
    """
    while True:
        path = next_output(arch, folder)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise OutputError(f"Cannot write to {path}: {folder} is not a folder.") from None
        except OSError as error:
            raise OutputError(f"Cannot write to {path}: {error.strerror}.") from error
        else:
            return path


def newest_run(
    folder: Path = RUNS, *, unfinished: bool = False, which: Callable[[Run], bool] = lambda run: True
) -> Run | None:
    """Return the run that was changed last, or None.

    Args:
        folder: Folder of the runs.
        unfinished: Skip finished runs.
        which: Returns whether a run matches; a run whose settings cannot be read does not.
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
    """Return the best checkpoint of the run that was finished last, and log its name.

    Raises:
        CheckpointError: There is no finished run.
    """
    run = newest_finished(folder)
    if run is None:
        begun = newest_begun(folder)
        raise CheckpointError(
            f"There is no checkpoint: none was named, and there is no finished run below {folder}/.",
            hint="Name one with `model`, or train one: `satseg.train('TILES')`"
            if begun is None
            else f"The run {begun.path} is unfinished. Use it as it is: `model={str(begun.best)!r}`. Or resume it: "
            f"`satseg.train({str(begun.path)!r}, settings=satseg.TrainSettings(resume=True))`",
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
    with atomic_write(path) as aside:
        _write_aside(aside, value)


def _write_aside(path: Path, value: Any) -> None:
    path.write_text(json.dumps(as_json(value), indent=2) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return Fields(parse_json(path.read_bytes())).entries()
    except (OSError, FieldError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"{path} cannot be read: {reason}.") from error
