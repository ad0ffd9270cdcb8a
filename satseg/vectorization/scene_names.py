"""What scenes are called in a layer of polygons."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from satseg.command_line import without_secrets


class SceneNames:
    """Short names of scenes: that of the file, with as many folders before it as it takes to tell it from the others.

    Args:
        known: Scenes of the layer, as far as they are known beforehand. Any other one is told from those before it.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._names = _apart(list(dict.fromkeys(known)))
        self._taken = set(self._names.values())

    def of(self, path: str) -> str:
        """Return the name of a scene: a file, a URL, or a name of GDAL's."""
        if path not in self._names:
            ways = _ways(path)
            self._names[path] = next((name for name in ways if name not in self._taken), ways[-1])
            self._taken.add(self._names[path])
        return self._names[path]


def _apart(paths: list[str]) -> dict[str, str]:
    """Return a name for each of several scenes, no two of them alike."""
    found: dict[str, str] = {}
    ways = {path: _ways(path) for path in paths}
    for depth in range(max(map(len, ways.values()), default=0)):
        names = {path: way[min(depth, len(way) - 2)] for path, way in ways.items() if path not in found}
        counts = Counter([*found.values(), *names.values()])
        found |= {path: name for path, name in names.items() if counts[name] == 1}
    return {path: found.get(path, ways[path][-1]) for path in paths}


def _ways(path: str) -> list[str]:
    """Return what a scene could be called: its name, its name in its folder, and so on, and what no other one has."""
    path = without_secrets(path).removesuffix("?...").replace(os.sep, "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    ways = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return [*ways, path if path.startswith(("/", "./")) else f"./{path}"]
