"""Tables that fit the width of the screen: one row stays one line, and numbers are never broken.

Where a table is wider than the screen, its texts and headings wrap at words; where that does not help, it continues
below with its further columns, the first one repeated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

_GAP = 2  # blanks between columns
_LEAST = 20  # columns of the screen that a column of texts keeps, if its texts are that long
_SHORTEST, _SHORTEST_FILE = 12, 24  # and one of names, of files
_NUMBER = re.compile(r"[-+]?[0-9][0-9,]*(\.[0-9]+)?(e[-+]?[0-9]+)?( ?(%|[A-Za-z]{1,3}))?", re.ASCII)
_NOTHING = "–"


class Name(str):
    """A cell that keeps to one line, the name of a class say: where it does not fit, it loses its middle.

    Only where names could no longer be told apart then, they wrap.
    """


class FileName(Name):
    """A name that loses its beginning, since files differ at the end."""


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Args:
        columns: Headings; all empty leaves the heading out.
        rows: Cells, turned into text by :func:`cell`.
        title: A line above the table.
        caption: A line below it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str | None = None
    caption: str | None = None

    def parts(self, width: int | None) -> Iterator[Part]:
        """Yield what stands on the screen one below the other: the table, or groups of its columns.

        Args:
            width: Columns of the screen; None is as many as it takes.
        """
        texts = [[cell(value) for value in row] for row in self.rows]
        columns = [
            _Column.of(
                heading,
                [row[index] for row in texts],
                shorten=_way_to_shorten([row[index] for row in self.rows]),
                last=index == len(self.columns) - 1,
            )
            for index, heading in enumerate(self.columns)
        ]
        for group in [columns] if width is None else _groups(columns, width):
            yield Part(group, width if width is None else _fit(group, width))


@dataclass(frozen=True)
class Part:
    """Columns that stand side by side.

    Args:
        columns: At least one.
        widths: Of each on the screen; None gives each what it takes.
    """

    columns: Sequence[_Column]
    widths: Sequence[int] | None

    def heading(self) -> list[str]:
        """Return the lines of the heading; none where no column has one."""
        if not any(column.heading for column in self.columns):
            return []
        return self._lines([column.heading for column in self.columns])

    def body(self) -> Iterator[str]:
        """Yield the lines of the rows."""
        for row in zip(*(column.cells for column in self.columns), strict=True):
            yield from self._lines(row)

    @cached_property
    def _alike(self) -> list[set[str]]:
        widths = self.widths or [column.natural for column in self.columns]
        return [column.alike(width) for column, width in zip(self.columns, widths, strict=True)]

    def _lines(self, row: Sequence[str]) -> list[str]:
        widths = self.widths or [column.natural for column in self.columns]
        wrapped = [
            column.wrap(text, width, whole=text in alike)
            for column, text, width, alike in zip(self.columns, row, widths, self._alike, strict=True)
        ]
        lines = []
        for line in zip_longest(*wrapped, fillvalue=""):
            parts = [
                column.justify(text, width) for column, text, width in zip(self.columns, line, widths, strict=True)
            ]
            lines.append((" " * _GAP).join(parts).rstrip())
        return lines


@dataclass(frozen=True)
class _Column:
    """One column.

    Args:
        heading: What stands above.
        cells: Texts.
        numbers: Whether all cells are numbers, which stand to the right and are never broken.
        shorten: How cells that are names lose what does not fit; None wraps.
        least: Narrowest width that reads well.
        natural: Width at which nothing wraps.
        open: Whether long words may run over the right edge: nothing follows.
    """

    heading: str
    cells: Sequence[str]
    numbers: bool
    shorten: Callable[[str, int], str] | None
    least: int
    natural: int
    open: bool

    @classmethod
    def of(
        cls, heading: str, cells: Sequence[str], *, shorten: Callable[[str, int], str] | None, last: bool
    ) -> _Column:
        wide = _measure()
        filled = [text for text in cells if text != _NOTHING]
        numbers = shorten is None and bool(cells) and all(_NUMBER.fullmatch(text) for text in filled)
        longest = max(map(wide, cells), default=0)
        head = max(map(wide, heading.split()), default=0)
        least = max(longest if numbers else min(longest, _least(shorten)), head)
        is_open = last and not numbers and shorten is None
        return cls(heading, cells, numbers, shorten, least, max(longest, wide(heading)), is_open)

    def alike(self, width: int) -> set[str]:
        """Return the names that could not be told apart when shortened."""
        if self.shorten is None or width >= self.natural:
            return set()
        short = {text: self.shorten(text, width) for text in set(self.cells)}
        counts = Counter(short.values())
        return {text for text, kept in short.items() if counts[kept] > 1}

    def wrap(self, text: str, width: int, *, whole: bool) -> list[str]:
        """Return the lines of a text that is not to be wider; ``whole`` keeps all of a name."""
        wide = _measure()
        if wide(text) <= width:
            return [text]
        if self.shorten is not None and not whole and text != self.heading:
            return [self.shorten(text, width)]
        lines = [""]
        for word in text.split(" "):
            if lines[-1] and wide(lines[-1]) + 1 + wide(word) <= width:
                lines[-1] += f" {word}"
                continue
            pieces = [word] if self.open else _pieces(word, width)
            lines[-1:] = [*filter(None, lines[-1:]), *pieces]
        return lines

    def justify(self, text: str, width: int) -> str:
        """Return a line filled up to the width."""
        blanks = " " * (width - _measure()(text))
        return blanks + text if self.numbers else text + blanks


def _groups(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """Yield columns that fit side by side, the first of all at the head of each group."""
    group = list(columns[:1])
    for column in columns[1:]:
        if len(group) > 1 and _total([entry.least for entry in [*group, column]]) > width:
            yield group
            group = list(columns[:1])
        group.append(column)
    yield group


def _fit(columns: Sequence[_Column], width: int) -> list[int]:
    """Return widths: those at which nothing wraps, the widest ones narrowed until all fit."""
    widths = [column.natural for column in columns]
    while _total(widths) > width:
        slack = [i for i, column in enumerate(columns) if widths[i] > column.least]
        if not slack:
            break
        widths[max(slack, key=lambda i: widths[i])] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _pieces(word: str, width: int) -> list[str]:
    """Return a word cut into pieces that are not wider."""
    wide, pieces = _measure(), [""]
    for letter in word:
        if wide(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _least(shorten: Callable[[str, int], str] | None) -> int:
    """Return how many columns of the screen texts keep that are shortened like this."""
    if shorten is None:
        return _LEAST
    return _SHORTEST_FILE if shorten is _without_beginning else _SHORTEST


def _way_to_shorten(cells: Sequence[object]) -> Callable[[str, int], str] | None:
    if any(isinstance(value, FileName) for value in cells):
        return _without_beginning
    return _shortened if any(isinstance(value, Name) for value in cells) else None


def _without_beginning(text: str, width: int) -> str:
    """Return a text that fits into so many columns of the screen, without its beginning."""
    kept = text
    while kept and _measure()(kept) >= width:
        kept = kept[1:]
    return f"…{kept}"


def _shortened(text: str, width: int) -> str:
    """Return a text that fits into so many columns of the screen, without its middle."""
    from satseg.figures import shortened

    kept = width
    while _measure()(shortened(text, kept)) > width:
        kept -= 1
    return shortened(text, kept)


def _measure() -> Callable[[str], int]:
    """Return what tells how many columns of the screen a text takes; some letters take two, some none."""
    from rich.cells import cell_len

    return cell_len


def cell(value: object) -> str:
    """Return a cell as people read it: thousands apart, four digits after the point, a dash for nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)
