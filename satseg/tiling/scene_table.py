"""Tables of scenes: their labels and, optionally, split and weight."""

from __future__ import annotations

import difflib
import logging
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from satseg.arguments import list_few
from satseg.errors import UsageError, one_line, printable
from satseg.files import parquet
from satseg.files.csv_table import read_csv
from satseg.files.names import identity, is_local_file, split_layer
from satseg.tiles.splits import SPLITS

log = logging.getLogger("satseg")

_NEEDED = ("scene", "labels")
_COLUMNS = (*_NEEDED, "split", "weight")
_ADDED = ("", "unnamed: 0", "index", "geometry", "__index_level_0__")  # columns that programs add on their own
_FEW = 3  # rows that a message names
_EXAMPLE = "A table of scenes has the columns scene and labels and, optionally, split (train, val, test) and weight."
_Row = tuple[int, Mapping[str, str]]


@dataclass(frozen=True)
class LabelledScene:
    """A scene with its labels.

    Args:
        scene: File, URL or GDAL name of the scene.
        labels: Class rasters and vector files of its labels; later ones are drawn on top.
        split: ``train``, ``val`` or ``test``; None leaves it open.
        weight: How often its tiles are drawn in training, relative to the others; 0 excludes them.
    """

    scene: str
    labels: tuple[str, ...]
    split: str | None = None
    weight: float = 1.0


def read_scene_table(path: str | Path) -> list[LabelledScene]:
    """Read a CSV or Parquet file with the columns scene and labels and, optionally, split and weight.

    Paths are relative to the folder of the table. A scene may have several rows; labels of later rows are drawn on top.
    Rows without labels are skipped with a warning. Weights may have a decimal comma.

    Returns:
        The scenes in the order of the table.

    Raises:
        UsageError: It cannot be read, lacks a column, or has an invalid cell; files do not exist; or a scene has
            several splits or weights.
    """
    table = Path(path)
    columns, rows = _read(table)
    _check_columns(path, columns)
    _refuse(path, "no scene", [number for number, cells in rows if not cells.get("scene")])
    unlabelled = [(number, cells) for number, cells in rows if not cells.get("labels")]
    rows = [(number, cells) for number, cells in rows if cells.get("labels")]
    if unlabelled:
        log.warning("%s: skipping scenes without labels: %s.", path, _spell_rows(unlabelled, "scene"))
    if not rows:
        raise UsageError(f"The table {path} lists no scene with labels.", hint=_EXAMPLE)
    files = _files(table.parent, {cells[column] for _, cells in rows for column in _NEEDED})
    _refuse_missing(path, rows, files)
    splits = _splits(path, rows)
    weights = _weights(path, rows)
    keys = {name: identity([files[name]]) for name in {cells["scene"] for _, cells in rows}}
    found: dict[tuple[str, ...], LabelledScene] = {}  # by identity of the file, which rows may write differently
    first: dict[tuple[str, ...], int] = {}
    for (number, cells), split, weight in zip(rows, splits, weights, strict=True):
        scene, labels = keys[cells["scene"]], files[cells["labels"]]
        before = found.get(scene)
        if before is not None and (before.split, before.weight) != (split, weight):
            raise UsageError(
                f"{cells['scene']} has another split or weight in row {number} of {path} than in row {first[scene]}."
            )
        first.setdefault(scene, number)
        laid = dict.fromkeys([*(before.labels if before else ()), labels])
        name = before.scene if before else files[cells["scene"]]
        found[scene] = LabelledScene(name, tuple(laid), split, weight)
    return list(found.values())


def _read(path: Path) -> tuple[Sequence[str], list[_Row]]:
    """Return the columns of a table, and the number (of the line, in CSV) and cells of each row."""
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            return _from_parquet(parquet.read_table(path))
        table = read_csv(path, _COLUMNS)
    except pa.ArrowException as error:
        raise UsageError(f"The table {path} cannot be read: {one_line(error)}.") from error
    except OSError as error:
        cause = "it does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"The table of scenes {path} cannot be read: {cause}.", hint=_EXAMPLE) from error
    return table.columns, list(table.rows)


def _from_parquet(table: pa.Table) -> tuple[Sequence[str], list[_Row]]:
    columns = [name.strip().lower() for name in table.column_names]
    kept = [number for number, name in enumerate(columns) if name in _COLUMNS]
    cells = zip(*(map(_as_text, table.column(number).to_pylist()) for number in kept), strict=True)
    names = [columns[number] for number in kept]
    return columns, [(n, dict(zip(names, row, strict=True))) for n, row in enumerate(cells, start=1)]


def _as_text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _check_columns(path: str | Path, columns: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in (*_COLUMNS, *_ADDED)]

    def meant(name: str, others: Iterable[str]) -> str | None:
        return next(iter(difflib.get_close_matches(name, list(others), 1)), None)

    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        near = [f"{name!r} by {other!r}" for name in missing if (other := meant(name, unknown))]
        raise UsageError(
            f"The table {path} has no column {' and no column '.join(missing)}; it has "
            f"{', '.join(filter(None, columns)) or 'none'}.",
            hint=f"Did you mean {' and '.join(near)}? {_EXAMPLE}" if near else _EXAMPLE,
        )
    lacking = [name for name in _COLUMNS if name not in columns]
    told = [
        f"{name!r} (did you mean {other!r}?)" if (other := meant(name, lacking)) else f"{name!r}" for name in unknown
    ]
    if told:
        log.warning("%s: ignoring unknown columns: %s.", path, ", ".join(told))


def _splits(path: str | Path, rows: Sequence[_Row]) -> list[str | None]:
    """Return the split of each row; None for all rows of a table without splits."""
    given = [cells.get("split", "").lower() for _, cells in rows]
    wrong = [row for row, split in zip(rows, given, strict=True) if split and split not in SPLITS]
    if wrong:
        names = dict.fromkeys(cells["split"].lower() for _, cells in wrong)
        alike = {name: difflib.get_close_matches(name, SPLITS, 1, 0.4) for name in names}  # validation means val
        near = [f"{found[0]!r} by {name!r}" for name, found in alike.items() if found]
        meant = f" Did you mean {', '.join(near[:_FEW])}?" if near else ""
        raise UsageError(
            f"{path} has unknown splits: {_spell_rows(wrong, 'split')}.",
            hint=f"Splits are {', '.join(SPLITS)}.{meant}",
        )
    open_ones = [number for (number, _), split in zip(rows, given, strict=True) if not split]
    if len(open_ones) < len(rows):
        _refuse(path, "no split, though others have one", open_ones)
    return [split or None for split in given]


def _weights(path: str | Path, rows: Sequence[_Row]) -> list[float]:
    weights = [_number(cells.get("weight", "") or "1") for _, cells in rows]
    wrong = [row for row, weight in zip(rows, weights, strict=True) if not 0 <= weight < math.inf]
    if wrong:
        raise UsageError(
            f"{path} has weights that are not numbers >= 0: {_spell_rows(wrong, 'weight')}.",
            hint="A tile of weight 2 is drawn twice as often as one of weight 1; 0 excludes it.",
        )
    return weights


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))  # decimal comma of spreadsheets
    except ValueError:
        return math.nan


def _files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Resolve names against a folder, except absolute paths, URLs and names such as ``/vsi...`` of GDAL."""
    beside = {name: str(folder / name) for name in names}
    return {name: at if _exists(at) or is_local_file(split_layer(name)[0]) else name for name, at in beside.items()}


def _exists(name: str) -> bool:
    return os.path.exists(split_layer(name)[0])


def _refuse_missing(path: str | Path, rows: Sequence[_Row], files: Mapping[str, str]) -> None:
    absent = {name for name, file in files.items() if is_local_file(split_layer(file)[0]) and not _exists(file)}
    missing = [
        f"{printable(cells[column])} (row {number})"
        for number, cells in rows
        for column in _NEEDED
        if cells[column] in absent
    ]
    if missing:
        count = f"{len(absent):,} file{'s' if len(absent) > 1 else ''} that {path} lists"
        raise UsageError(
            f"{count} {'do' if len(absent) > 1 else 'does'} not exist: {list_few(missing)}.",
            hint=f"Paths are relative to the folder of the table, {Path(path).absolute().parent}."
            f"{_other_slashes(absent)}",
        )


def _other_slashes(names: Collection[str]) -> str:
    """Return advice where names use the path separator of Windows on another system."""
    windows = os.sep == "/" and any("\\" in name for name in names)
    return " On this system / separates folders, not \\." if windows else ""


def _refuse(path: str | Path, lack: str, numbers: Sequence[int]) -> None:
    if numbers:
        verb = "rows have" if len(numbers) > 1 else "row has"
        raise UsageError(f"{len(numbers):,} {verb} {lack} in {path}: {list_few(numbers)}.", hint=_EXAMPLE)


def _spell_rows(rows: Sequence[_Row], column: str) -> str:
    return list_few([f"{printable(cells[column])!r} (row {number})" for number, cells in rows])
