"""Imports between the modules of satseg: no module depends on itself through others, for type checkers neither."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import satseg

Graph = dict[str, set[str]]
PACKAGE = Path(satseg.__file__).parent


def module_files(package: Path) -> dict[str, Path]:
    """Return the files of a package by the full names of their modules."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(package: Path) -> Graph:
    """Return the modules that each module imports: at its top, in functions, and where ``TYPE_CHECKING`` holds."""
    files = module_files(package)
    return {name: set(imported(ast.parse(path.read_text(encoding="utf-8")), files)) for name, path in files.items()}


def imported(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                member = f"{node.module}.{alias.name}"
                yield member if member in modules else node.module


def find_cycle(graph: Graph) -> list[str]:
    """Return modules of which each imports the next one, and the last the first; empty where there are none."""
    finished: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in finished:
            return []
        for other in sorted(graph.get(name, ())):
            if cycle := visit(other, [*trail, name]):
                return cycle
        finished.add(name)
        return []

    for name in sorted(graph):
        if cycle := visit(name, []):
            return cycle
    return []


def test_no_module_imports_itself_through_others() -> None:
    graph = import_graph(PACKAGE)
    assert len(graph) > 100
    assert "satseg.errors" in graph["satseg.classes"]
    assert find_cycle(graph) == []


@pytest.mark.parametrize(
    "line",
    [
        "from package.b import B",
        "import package.b",
        "from package import b",
        "def f() -> None:\n    from package.b import B",
        "if TYPE_CHECKING:\n    from package.b import B",
    ],
)
def test_a_cycle_is_found_wherever_the_import_stands(tmp_path: Path, line: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name, text in {"__init__": "", "a": line, "b": "import package.c", "c": "from package.a import A"}.items():
        (package / f"{name}.py").write_text(text)
    assert find_cycle(import_graph(package)) == ["package.a", "package.b", "package.c"]
    (package / "c.py").write_text("")
    assert find_cycle(import_graph(package)) == []
