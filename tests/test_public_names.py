"""Tests use what satseg offers: what it keeps private may change without a test failing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def is_private(name: str) -> bool:
    return re.fullmatch(r"_[a-zA-Z]\w*", name) is not None and not name.endswith("_")  # _repr_html_ is a protocol


def imports(tree: ast.AST) -> dict[str, str]:
    """Return which top-level package each imported name of a file comes from."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(alias.asname or alias.name).split(".")[0]: alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: node.module.split(".")[0] for alias in node.names}
    return found


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Yield where a file imports, reads or replaces a private name that is not its own or another library's."""
    packages = imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("satseg"):
            yield from (f"{node.lineno}: {alias.name}" for alias in node.names if is_private(alias.name))
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value).split(".")[0]
            if ast.unparse(node.value) not in ("self", "cls") and packages.get(owner, "satseg") == "satseg":
                yield f"{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr") and len(node.args) > 1:
            target, name = node.args[:2]
            owner = target.id if isinstance(target, ast.Name) else ""
            text = name if packages.get(owner) == "satseg" else target
            words = text.value.split(".") if isinstance(text, ast.Constant) and isinstance(text.value, str) else []
            if any(map(is_private, words)) and (text is name or words[0] == "satseg"):
                yield f"{node.lineno}: {'.'.join(words)}"


def test_what_counts_as_private() -> None:
    code = """
from satseg.cli import console
from satseg.cli.evaluate import _tables
import torch
console._bar, torch._dynamo, self._mine, shown._repr_html_()
monkeypatch.setattr("satseg.cli.app._run", None)
monkeypatch.setattr(console, "_WIDE", 1)
monkeypatch.setattr(torch, "_C", 1)
"""
    found = [use.split(": ")[1] for use in private_uses(ast.parse(code))]
    assert sorted(found) == ["_WIDE", "_tables", "console._bar", "satseg.cli.app._run"]


def test_tests_use_no_private_names() -> None:
    found = {
        path.relative_to(TESTS).as_posix(): list(private_uses(ast.parse(path.read_text(encoding="utf-8"))))
        for path in TESTS.rglob("*.py")
        if path.parent.name != "benchmarks"
    }
    assert {file: uses for file, uses in found.items() if uses} == {}
