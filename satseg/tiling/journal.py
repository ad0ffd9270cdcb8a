"""Journal of the tiles cut so far, from which an interrupted run is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from satseg.errors import OutputError

JOURNAL = "journal.jsonl"
_NOTHING = -1


class Journal:
    """One line per processed tile, written once its files are complete. Use it as a context manager.

    Its first line is a hash of the plan, so that a run is never resumed with other arguments or scenes. Rows stay on
    disk; only their offsets are kept in memory.

    Args:
        path: File of the journal.
        plan: Everything that determines the tiles, ready for JSON.

    Raises:
        OutputError: The file is the journal of another plan.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
        self._offsets: dict[int, int] = {}
        self._file = path.open("a+b")
        end = self._load(path, digest)
        self._file.truncate(end)
        if not end:
            self._line({"plan": digest})

    def __contains__(self, number: int) -> bool:
        return number in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def holds(self, number: int) -> bool:
        """Tell whether a tile was processed and kept."""
        return self._offsets.get(number, _NOTHING) != _NOTHING

    def add(self, number: int, row: Mapping[str, Any] | None) -> None:
        """Record that a tile is done.

        Args:
            number: Its number in the plan.
            row: Its row of the index, ready for JSON; None where the tile filter rejected it.
        """
        offset = self._line({"tile": number, "row": row})
        self._offsets[number] = _NOTHING if row is None else offset

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the tiles that were kept, in the order of their numbers."""
        for number in sorted(self._offsets):
            if self.holds(number):
                self._file.seek(self._offsets[number])
                yield json.loads(self._file.readline())["row"]

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _line(self, entry: Mapping[str, Any]) -> int:
        offset = self._file.seek(0, 2)
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        return offset

    def _load(self, path: Path, digest: str) -> int:
        """Read the complete lines and return the offset of their end."""
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            if end == 0 and entry.get("plan") != digest:
                raise OutputError(
                    f"{path.parent} holds an interrupted run with other arguments, scenes or labels.",
                    hint="Repeat the arguments of that run, or start over without `resume`.",
                )
            if "tile" in entry:
                self._offsets[entry["tile"]] = _NOTHING if entry["row"] is None else end
            end += len(line)
        return end
