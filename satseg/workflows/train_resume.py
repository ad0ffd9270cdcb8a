"""Resume training runs: find a run, combine its settings with those that are given, and move its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.backend import is_custom_file, recorded_name
from satseg.backend.settings import AUTO_ARCH
from satseg.errors import TrainingError, UsageError, one_line
from satseg.fields import Fields, typed
from satseg.runs import Run, newest_run
from satseg.training.augmentation import PRESETS
from satseg.training.recipe import Recipe
from satseg.training.schedule import Budget
from satseg.training.settings import TrainSettings
from satseg.training.state import LoopState

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("satseg")

MOVES_END = "patience"  # the only setting of a recipe that may change when a run is resumed, as its budget may
BEFORE = {"clip_values": 0.0, "objects": False}  # of runs of earlier versions, whose settings do not state them
KEPT = ("device", "nodes", "threads", "pictures", "tensorboard")  # a run keeps them unless others are given


@dataclass(frozen=True)
class StartedRun:
    """A run and what it was started with, read from its folder.

    Args:
        run: The run.
        settings: Its recipe, and its other settings that a resumed run keeps.
        budget: Its budget.
        devices: Number of devices on all nodes.
        threads: Processor threads in all, given or chosen; None if an earlier version started it.
        tile_set: Folder of its tiles.
        digest: Digest of its tiles.
        extended: Step after which budget or patience were last changed; None if they never were.
    """

    run: Run
    settings: TrainSettings
    budget: Budget
    devices: int
    threads: int | None
    tile_set: str
    digest: str
    extended: int | None

    @classmethod
    def read(cls, run: Run) -> StartedRun:
        """Read the settings of a run.

        Raises:
            TrainingError: They cannot be read, or are invalid.
        """
        with blaming(run.settings):
            stored = Fields(run.read_settings())
            changes = stored.parts("extended") if stored.holds("extended") else []
            others = stored.part("circumstances").entries() if stored.holds("circumstances") else {}
            entries = BEFORE | stored.entries()
            recipe = {entry.name: entries[entry.name] for entry in fields(Recipe) if entry.name in entries}
            return cls(
                run=run,
                settings=TrainSettings(**recipe, **{name: others[name] for name in KEPT if name in others}),
                budget=Budget.from_dict(stored.value("budget")),
                devices=stored.whole("devices", least=1),
                threads=stored.whole("threads", least=1) if stored.holds("threads") else None,
                tile_set=str(others.get("tile_set", "tiles")),
                digest=stored.text("tiles"),
                extended=changes[-1].whole("step") if changes else None,
            )

    def settings_with(self, given: TrainSettings) -> TrainSettings:
        """Return the settings of the resumed run: those of the run, replaced by the ones that are given.

        Raises:
            UsageError: The run trains a custom architecture, whose file has to be named again.
        """
        before = self.settings
        if given.arch == AUTO_ARCH and is_custom_file(before.arch):
            raise UsageError(
                f"The run {self.run.path} trains {before.arch}, a custom architecture, whose file runs only if it "
                "is named again.",
                hint=f"Name the file: `arch='path/to/{before.arch}'`",
            )
        values = {name: getattr(given, name) for name in given.given}
        for name in ("arch", "batch_size"):
            if values.get(name) == "auto":  # it was chosen when the run was started
                del values[name]
        merged = before.changed(**values)
        options = before.network_options | given.network_options
        devices = given.devices if "devices" in given.given else max(1, self.devices // merged.nodes)
        return merged.changed(arch_options=options, devices=devices)


def named_run(tiles: Path | None, output: Path | None) -> tuple[Path | None, Path | None]:
    """Return tiles and output of a run to resume, where the run may be named in place of the tiles.

    Raises:
        UsageError: Two different runs are named.
    """
    if tiles is None or not Run(tiles).started:
        return tiles, output
    if output is not None and output.absolute() != tiles.absolute():
        raise UsageError(f"Two runs are named: {tiles} and {output}.", hint="Name only the run to resume.")
    return None, tiles


def find_run(tiles: Path | None, output: Path | None, settings: TrainSettings) -> StartedRun | None:
    """Find the run to resume.

    It is the run at ``output``; else the one below ``runs/`` that was changed last, with the network and the tiles that
    are given, if any. Unfinished runs come first, unless a budget is given: a finished run may get another one.

    Args:
        tiles: Folder of the tiles, if given.
        output: Folder of the run, if given.
        settings: Settings that are given.

    Returns:
        The run, or None if there is none.

    Raises:
        TrainingError: The settings of the run cannot be read.
    """
    if output is not None:
        run = Run(output)
        return StartedRun.read(run) if run.started else None

    def matches(run: Run) -> bool:
        started = StartedRun.read(run)
        before = Path(started.tile_set)
        moved = not before.is_dir()  # their digest is compared later
        same_tiles = tiles is None or moved or tiles.absolute() == before.absolute()
        return same_tiles and (settings.arch == AUTO_ARCH or started.settings.arch == recorded_name(settings.arch))

    found = None if settings.sets_budget else newest_run(unfinished=True, which=matches)
    found = found or newest_run(which=matches)
    return StartedRun.read(found) if found else None


def moves_end(started: StartedRun, settings: TrainSettings) -> bool:
    """Return whether settings change the end of a run, that is its budget or patience."""
    return settings.sets_budget or settings.patience != started.settings.patience


def check_same_recipe(started: StartedRun, recipe: Recipe) -> None:
    """Refuse a recipe that differs from that of a run in more than ``patience``; the message shows both values.

    Raises:
        TrainingError: They differ.
    """
    old, new = _values(started.settings), _values(recipe)
    changed = [name for name in old | new if old.get(name) != new.get(name) and name != MOVES_END]
    if changed:
        both = ", and ".join(
            f"{_written(name, old.get(name))}, not {_written(name, new.get(name))}" for name in changed
        )
        raise TrainingError(
            f"The run {started.run.path} was started with {both}.",
            hint="Leave these settings out to resume the run as it is, or start a new run without `resume`.",
        )


def _values(recipe: Recipe) -> dict[str, Any]:
    """Return all values of a recipe by name; augmentation by preset, or else by its ranges."""
    values = recipe.to_dict()
    del values["augment"]
    augmentation = asdict(recipe.augmentation)
    preset = str(recipe.augmentation)
    named = {"augment": preset} if preset in PRESETS else {f"augment.{name}": v for name, v in augmentation.items()}
    return values | values.pop("arch_options") | named


def _written(name: str, value: Any) -> str:
    """Return a setting as it is written in Python; one that is off is written without its value."""
    if value is None or value is False:
        return f"no `{name}`"
    return f"`{name}={value!r}`" if isinstance(value, str | int | float) else f"`{name}` {typed(value)}"


def extend(started: StartedRun, settings: Recipe, budget: Budget, stored: Mapping[str, Any]) -> None:
    """Check that a run can be resumed, and store another budget or patience; a finished run is then unfinished again.

    Args:
        started: The run; this process has locked it.
        settings: Settings of the resumed run.
        budget: Budget of the resumed run.
        stored: What a new run with these settings would store.

    Raises:
        TrainingError: Tiles or number of devices differ, no state was saved, or the budget is spent already.
    """
    run = started.run
    if stored["devices"] != started.devices:
        raise TrainingError(
            f"The run {run.path} was started on {started.devices} devices, not {stored['devices']}.",
            hint="Leave out `devices` and `nodes` to resume with the same number, or start a new run without `resume`.",
        )
    if stored["tiles"] != started.digest:
        raise _other_tiles(started, Path(stored["circumstances"]["tile_set"]))
    if (budget, settings.patience) == (started.budget, started.settings.patience):
        return
    state = LoopState()
    if run.resumable:
        with blaming(run.last):
            state = LoopState.from_dict(run.load_last()[2].get("loop"))
    if budget.progress(state.step, state.learning_seconds) >= 1:
        if run.finished:
            raise TrainingError(
                f"The run {run.path} is finished after {started.budget.describe(state.step, state.learning_seconds)}; "
                f"a total of {budget} would not make it longer.",
                hint="A budget counts from the start of the run: give more than the run has spent.",
            )
        log.info("The run has already spent its %s, and ends here.", budget)
    run.extend({"budget": asdict(budget), MOVES_END: settings.patience}, step=state.step)


def _other_tiles(started: StartedRun, tiles: Path) -> TrainingError:
    before = Path(started.tile_set)
    if before.is_absolute() and before != tiles:
        return TrainingError(
            f"The run {started.run.path} was started on the tiles in {before}; those in {tiles} are different.",
            hint="Name the folder of these tiles, or start a new run without `resume`.",
        )
    return TrainingError(
        f"The tiles of the run {started.run.path} have changed since it was started: images, labels, classes or index.",
        hint="Restore the tile set to resume the run, or start a new run.",
    )


def resume_call(run: Run, arch: str, **settings: Any) -> str:
    """Return the call that resumes a run, in backticks; the command line shows it as a command.

    Args:
        run: The run.
        arch: Its network as the user named it.
        settings: Further settings, such as a longer budget for a finished run.
    """
    values = {"resume": True, **({"arch": arch} if is_custom_file(arch) else {}), **settings}
    written = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"`satseg.train({str(run.path)!r}, settings=satseg.TrainSettings({written}))`"


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turn errors from invalid contents into one that names the file: it was edited, or belongs to another run."""
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, UsageError) as error:
        raise TrainingError(
            f"The run cannot be resumed from {path}: {one_line(error)}.",
            hint="Start the run again without `resume`, in another folder.",
        ) from error


def stored_settings(
    settings: TrainSettings, recipe: Recipe, budget: Budget, *, devices: int, threads: int, digest: str, tile_set: Path
) -> dict[str, Any]:
    """Return what the folder of a run stores of its settings, ready for JSON.

    Args:
        settings: Settings of the run.
        recipe: Its recipe, without ``auto``.
        budget: Its budget.
        devices: Number of devices on all nodes.
        threads: Processor threads in all.
        digest: Digest of its tiles.
        tile_set: Folder of its tiles.
    """
    return {
        **recipe.to_dict(),
        "devices": devices,
        "threads": threads,
        "budget": asdict(budget),
        "tiles": digest,
        "circumstances": {
            "tile_set": str(tile_set.absolute()),
            **{name: getattr(settings, name) for name in KEPT},
        },
    }
