"""Names of scenes in a layer of polygons."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from satseg.command_line import without_secrets


class SceneNames:
    """Short unique names of scenes: the name of the file, with as many folders before it as needed.

    Args:
        known: Scenes of the layer that are known beforehand; names of others are unique among those before them.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._names = _apart(list(dict.fromkeys(known)))
        self._taken = set(self._names.values())

    def of(self, path: str) -> str:
        """Return the name of a scene, given a file, a URL or a GDAL name."""
        if path not in self._names:
            ways = _ways(path)
            self._names[path] = next((name for name in ways if name not in self._taken), ways[-1])
            self._taken.add(self._names[path])
        return self._names[path]


def _apart(paths: list[str]) -> dict[str, str]:
    """Return a unique name for each scene."""
    found: dict[str, str] = {}
    ways = {path: _ways(path) for path in paths}
    for depth in range(max(map(len, ways.values()), default=0)):
        names = {path: way[min(depth, len(way) - 2)] for path, way in ways.items() if path not in found}
        counts = Counter([*found.values(), *names.values()])
        found |= {path: name for path, name in names.items() if counts[name] == 1}
    return {path: found.get(path, ways[path][-1]) for path in paths}


def _ways(path: str) -> list[str]:
    """Return possible names of a scene: its name, its name with folder, and so on, and at last a unique one."""
    path = without_secrets(path).removesuffix("?...").replace(os.sep, "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    ways = ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return [*ways, path if path.startswith(("/", "./")) else f"./{path}"]
