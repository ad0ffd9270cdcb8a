"""What a run is trained with: what a call asks for, and where it goes on with a run, what that was started with."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.backend import is_custom_file, recorded_name
from satseg.backend.device import select_precision
from satseg.errors import TrainingError, UsageError, one_line
from satseg.fields import Fields, typed
from satseg.records import as_json
from satseg.runs import Run, newest_run
from satseg.training.augment import PRESETS
from satseg.training.recipe import Recipe
from satseg.training.schedule import Budget, make_budget
from satseg.training.state import LoopState

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

log = logging.getLogger("satseg")

_END = "patience"  # with the budget, what may change when a run goes on: it moves the end, and nothing before it


@dataclass(frozen=True)
class Circumstances:
    """What does not change what a run learns, but has to be known to go on with it by its name alone.

    Args:
        tile_set: Folder of the tiles.
        device: Device as it was asked for.
        nodes: Machines.
        threads: Processor threads; None takes as many as there are.
        pictures: Whether pictures are drawn at the end.
        tensorboard: Whether TensorBoard events are written.
    """

    tile_set: str = "tiles"
    device: str = "auto"
    nodes: int = 1
    threads: int | None = None
    pictures: bool = True
    tensorboard: bool = False

    def changed(self, asked: Mapping[str, Any]) -> Circumstances:
        """Return them with those that are asked for; None is not."""
        return replace(self, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class Started:
    """What a run was started with, as its folder tells.

    Args:
        run: The run.
        recipe: How it is trained.
        budget: Its budget.
        devices: Devices in all.
        tiles: Digest of its tiles.
        circumstances: All else.
        extended: Step after which it got another budget or patience for the last time; None where it never did.
    """

    run: Run
    recipe: Recipe
    budget: Budget
    devices: int
    tiles: str
    circumstances: Circumstances
    extended: int | None

    @classmethod
    def read(cls, run: Run) -> Started:
        """Read the settings of a run.

        Raises:
            TrainingError: They cannot be read, or hold what they may not.
        """
        with told(run.settings):
            settings = Fields(run.read_settings())
            entries = settings.entries()
            changes = settings.parts("extended") if settings.holds("extended") else []
            known = {part.name for part in fields(Circumstances)}
            beside = settings.part("circumstances").entries() if settings.holds("circumstances") else {}
            return cls(
                run=run,
                recipe=Recipe.of({part.name: entries[part.name] for part in fields(Recipe) if part.name in entries}),
                budget=Budget.from_dict(settings.value("budget")),
                devices=settings.whole("devices", least=1),
                tiles=settings.text("tiles"),
                circumstances=Circumstances(**{name: value for name, value in beside.items() if name in known}),
                extended=changes[-1].whole("step") if changes else None,
            )


@dataclass(frozen=True)
class Request:
    """What a call of ``train`` asks for. None, and what is not among the choices, is left to the run or to a default.

    Args:
        tiles: Folder of the tiles, or that of the run to resume.
        output: Folder of the run.
        arch: Network.
        arch_options: Its options.
        how_long: Epochs, steps and minutes, by name.
        devices: Devices on each machine.
        circumstances: Fields of :class:`Circumstances`, by name.
        choices: Fields of :class:`~satseg.training.recipe.Recipe`, by name.
    """

    tiles: Path | None = None
    output: Path | None = None
    arch: str | None = None
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    how_long: Mapping[str, Any] = field(default_factory=dict)
    devices: int | None = None
    circumstances: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def longer(self) -> bool:
        """Whether a budget is asked for."""
        return any(value is not None for value in self.how_long.values())

    def changes_the_end(self, started: Started) -> bool:
        """Tell whether a budget or patience is asked for that may not be that of the run."""
        return self.longer or self.choices.get(_END) not in (None, started.recipe.patience)

    def naming_its_run(self) -> Request:
        """Return the request with the run as output, where it was given in place of the tiles.

        Raises:
            UsageError: Another run is named, too.
        """
        if self.tiles is None or not Run(self.tiles).started:
            return self
        if self.output is not None and self.output.absolute() != self.tiles.absolute():
            raise UsageError(f"Two runs are named: {self.tiles} and {self.output}.", hint="Name the one to resume.")
        return replace(self, tiles=None, output=self.tiles)

    def find(self) -> Started | None:
        """Return the run to go on with; None where there is none.

        That is the one at ``output``; else the one that was worked on last below ``runs/``, of ``arch`` and on
        ``tiles`` where they are asked for: of the unfinished ones, if there are any and no budget is asked for, which a
        finished one can get, too.

        Raises:
            TrainingError: Its settings cannot be read.
        """
        if self.output is not None:
            run = Run(self.output)
            return Started.read(run) if run.started else None
        found = None if self.longer else newest_run(unfinished=True, which=self._may_mean)
        found = found or newest_run(which=self._may_mean)
        return Started.read(found) if found else None

    def _may_mean(self, run: Run) -> bool:
        started = Started.read(run)
        before = Path(started.circumstances.tile_set)
        moved = not before.is_dir()  # whether they are those that are asked for now, their content tells later
        same_tiles = self.tiles is None or moved or self.tiles.absolute() == before.absolute()
        return same_tiles and (self.arch is None or started.recipe.arch == recorded_name(self.arch))

    def beside(self, started: Started | None) -> Circumstances:
        """Return the circumstances: those of the run to go on with, unless others are asked for."""
        known = started.circumstances if started else Circumstances()
        named = None if self.tiles is None else str(self.tiles)
        return known.changed({**self.circumstances, "tile_set": named})

    def devices_with(self, nodes: int, started: Started | None) -> int:
        """Return the devices on each of so many machines."""
        return self.devices or (max(1, started.devices // nodes) if started else 1)

    def recipe(self, started: Started | None, device: torch.device) -> Recipe:
        """Return how to train.

        Args:
            started: The run to go on with.
            device: Where it will be trained.

        Raises:
            UsageError: There is no such choice, or its value is not one; or the file of a run's own network is to be
                named.
            TrainingError: The run was started with something else.
        """
        choices = {name: value for name, value in self.choices.items() if value is not None}
        if self.arch is not None:
            choices["arch"] = recorded_name(self.arch)
        if "precision" in choices or started is None:
            choices["precision"] = select_precision(choices.get("precision", "auto"), device)
        if started is None:
            return Recipe.of({**choices, "arch_options": dict(self.arch_options)})
        run, before = started.run, started.recipe
        if self.arch is None and is_custom_file(before.arch):
            raise UsageError(
                f"The run {run.path} trains {before.arch}, a network from a file, which is run only when it is named.",
                hint=f"Name the file: --arch path/to/{before.arch}",
            )
        recipe = Recipe.of(
            {**_choices(before), **choices, "arch_options": {**before.arch_options, **self.arch_options}}
        )
        _check_same(run, before, recipe)
        return recipe

    def budget(self, started: Started | None, *, tiles: int, step_size: int) -> Budget:
        """Return the budget: what is asked for, else that of the run to go on with, else a default.

        Raises:
            UsageError: More than one was asked for, or one that is not above zero.
        """
        if started is not None and not self.longer:
            return started.budget
        asked = {"epochs": None, "steps": None, "minutes": None, **self.how_long}
        return make_budget(**asked, tiles=tiles, step_size=step_size)


def go_on(started: Started, recipe: Recipe, budget: Budget, settings: Mapping[str, Any]) -> None:
    """Check that a run can go on, and note it where that is to another end: a finished run is not so any more.

    Args:
        started: The run, claimed.
        recipe: How it is trained from now on.
        budget: Its budget from now on.
        settings: What a run with these would be started with.

    Raises:
        TrainingError: It was started on other tiles or devices; it keeps no state; or it has spent its budget.
    """
    run = started.run
    if settings["devices"] != started.devices:
        raise TrainingError(
            f"The run {run.path} was started on {started.devices} devices, not {settings['devices']}.",
            hint="Leave out --devices and --nodes to go on with as many, or start another run without --resume.",
        )
    if settings["tiles"] != started.tiles:
        raise _other_tiles(started, Path(settings["circumstances"]["tile_set"]))
    if (budget, recipe.patience) == (started.budget, started.recipe.patience):
        return
    state = LoopState()
    if run.resumable:
        with told(run.last):
            state = LoopState.from_dict(run.load_last()[2].get("loop"))
    if budget.progress(state.step, state.learning_seconds) >= 1:
        if run.finished:
            raise TrainingError(
                f"The run {run.path} is finished after {started.budget.describe(state.step, state.learning_seconds)}; "
                f"{budget} in all would not make it longer.",
                hint="A budget counts from the beginning of the run: give more than it has had.",
            )
        log.info("The run has had its %s already, and ends here.", budget)
    run.extend({"budget": asdict(budget), _END: recipe.patience}, step=state.step)


def _other_tiles(started: Started, tiles: Path) -> TrainingError:
    before = Path(started.circumstances.tile_set)
    if before.is_absolute() and before != tiles:
        return TrainingError(
            f"The run {started.run.path} was started on the tiles of {before}, and those of {tiles} are not the same.",
            hint="Name the folder they are in, or start another run without --resume.",
        )
    return TrainingError(
        f"The tiles that the run {started.run.path} was started with have changed since: their images, labels, "
        "classes or index.",
        hint="Resume with the tile set as it was, or start a new run.",
    )


def resume_line(run: Run, arch: str, *more: str) -> str:
    """Return the command that goes on with a run, as it is typed here.

    Args:
        run: The run; finished, if it is to go on for longer.
        arch: Its network as the user named it.
        more: Other words.
    """
    words = ["satseg", "train", "--resume"]
    default = newest_run(unfinished=not more)
    if default is None or default.path != run.path:
        words += ["-o", str(run.path)]
    if is_custom_file(arch):
        words += ["--arch", arch]
    return shlex.join([*words, *more])


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say which file of a run holds what it may not: somebody edited it, or it belongs to another run."""
    try:
        yield
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, UsageError) as error:
        raise TrainingError(
            f"The run cannot be continued from {path}: {one_line(error)}.",
            hint="Start the run again without --resume, into another folder.",
        ) from error


def _choices(recipe: Recipe) -> dict[str, Any]:
    return {part.name: getattr(recipe, part.name) for part in fields(recipe)}


def _check_same(run: Run, before: Recipe, now: Recipe) -> None:
    """Refuse choices that are not those of a run, with both values of each.

    Raises:
        TrainingError: Some differ.
    """
    old, new = _spelt(before), _spelt(now)
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name) and name != _END]
    if not changed:
        return
    both = ", and ".join(
        f"--{name.replace('_', '-')} {old.get(name, 'none')}, not {new.get(name, 'none')}" for name in changed
    )
    raise TrainingError(
        f"The run {run.path} was started with {both}.",
        hint="Leave out what differs to go on with the run as it is, or start another one without --resume.",
    )


def _spelt(recipe: Recipe) -> dict[str, str]:
    """Return all choices of a recipe by name, as they are typed."""
    entries = {**recipe.to_dict()}
    preset = [name for name, augmentation in PRESETS.items() if augmentation == recipe.augment]
    for name, value in entries.pop("arch_options").items():
        entries[name] = value
    if preset:
        entries["augment"] = preset[0]
    else:
        entries |= {f"augment {name}": value for name, value in as_json(entries.pop("augment")).items()}
    return {name: shlex.quote(value) if isinstance(value, str) else typed(value) for name, value in entries.items()}


def settings_of(
    recipe: Recipe, budget: Budget, devices: int, tiles: str, circumstances: Circumstances
) -> dict[str, Any]:
    """Return what the folder of a run tells it was started with, ready for JSON; ``tiles`` is their digest."""
    lasting = replace(circumstances, tile_set=str(Path(circumstances.tile_set).absolute()))
    return {
        **recipe.to_dict(),
        "devices": devices,
        "budget": asdict(budget),
        "tiles": tiles,
        "circumstances": asdict(lasting),
    }
