"""Reports of ``satseg predict``: a table for one map; for several, a line for each and a table of all at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from satseg.cli import console
from satseg.cli.table import Name, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from satseg.records import DryRun, FinishedMap, PredictionSummary


class Maps:
    """Maps that are told of as they come.

    Args:
        out: What to print with.
        caption: Says what is not in the polygons, from the number of specks and of holes.
        several: Whether there may be more than one scene.
        rasters: Whether there are class rasters beside the polygons.
    """

    def __init__(
        self, out: console.ConsoleOutput, caption: Callable[[int, int], str | None], *, several: bool, rasters: bool
    ) -> None:
        self._out = out
        self._caption = caption
        self._several = several
        self._rasters = rasters
        self._scenes = 0
        self._seconds = 0.0
        self._pixels: Counter[str] = Counter()
        self._polygons: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def table(self, summary: PredictionSummary) -> Table:
        """Return what to say of a scene now."""
        self._add(summary)
        title = f"Mapped {summary.scene} in {summary.seconds:.1f} s: {', '.join(summary.outputs) or 'to stdout'}"
        return console.table((), (), title=title) if self._several else self._all(title)

    def tell(self) -> None:
        """Say at the end what all scenes came to, where they were several."""
        if self._several and self._scenes and not self._out.json:
            title = f"Mapped {self._scenes:,} scene{'s' * (self._scenes > 1)} in {self._seconds:,.1f} s"
            self._out.report(None, lambda _: self._all(title))

    def _add(self, summary: PredictionSummary) -> None:
        self._scenes += 1
        self._seconds += summary.seconds
        self._pixels.update(summary.pixels)
        self._polygons.update(summary.polygons or {})
        self._left_out.update(specks=summary.specks or 0, holes=summary.holes or 0)

    def _all(self, title: str) -> Table:
        below = self._caption(self._left_out["specks"], self._left_out["holes"])
        if below and self._rasters:
            below += " The class raster still contains them; --sieve removes them from both."
        rows = _rows(self._pixels, self._polygons)
        return console.table(("class", "px", "share", "polygons"), rows, title=title, caption=below)


def _rows(pixels: Mapping[str, int], polygons: Mapping[str, int]) -> list[tuple[Name, int, str, int | None]]:
    total = max(sum(pixels.values()), 1)
    return [(Name(name), count, f"{count / total:.1%}", polygons.get(name)) for name, count in pixels.items()]


class Finished:
    """Scenes whose maps were finished already, which are told of at the end, together; with ``--json`` one by one."""

    def __init__(self, out: console.ConsoleOutput) -> None:
        self._out = out
        self._count = 0
        self._first: FinishedMap | None = None

    def add(self, found: FinishedMap) -> None:
        """Take note of a scene."""
        self._count += 1
        self._first = self._first or found
        if self._out.json:
            self._out.emit(found)

    def tell(self) -> None:
        """Say how many scenes those are."""
        if self._first is None or self._out.json:
            return
        self._out.close()
        if self._count == 1:
            self._out.say(f"The map of {self._first.scene} is finished already: {', '.join(self._first.outputs)}")
        else:
            self._out.say(f"The maps of {self._count} scenes were finished already.")

    def __len__(self) -> int:
        return self._count


def dry_run_table(dry_run: DryRun) -> Table:
    """Return what ``--dry-run`` says of a scene."""
    plan, size = dry_run.plan, console.file_size
    rows = [
        ("windows", f"{dry_run.windows:,} of {plan.window} px"),
        ("overlap", f"{plan.overlap} px"),
        ("forwarded", f"{dry_run.forwarded:.2f} px per pixel of the scene"),
        ("batch", f"{plan.batch_size}, in {plan.streams} streams of {plan.threads} threads"),
        ("memory", f"about {size(dry_run.network_bytes)} for windows, {size(dry_run.row_bytes)} for rows"),
        ("disk", f"{size(dry_run.work_bytes)} meanwhile, about {size(dry_run.output_bytes)} of outputs"),
        ("time", f"about {dry_run.seconds:,.0f} s"),
    ]
    title = f"{dry_run.scene}, {dry_run.width:,} x {dry_run.height:,} px, would be mapped like this"
    return console.table(("", ""), rows, title=title)
