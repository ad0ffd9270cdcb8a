"""Tests mirror the source, so that whoever changes a module knows which tests to run.

``tests/room/test_module.py`` and ``tests/room/test_module_more.py`` test ``satseg/room/module.py``. What else a test
file covers stands in its docstring, as a paragraph that begins with "Covers": modules of its room by name, others with
their room, ``room/*`` for all of one.
"""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "satseg"

FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))
MODULES = sorted(
    path.relative_to(SOURCE).with_suffix("").as_posix()
    for path in SOURCE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


def docstring(file: str) -> str:
    """Return the docstring of a test file."""
    return ast.get_docstring(ast.parse((TESTS / file).read_text(encoding="utf-8"))) or ""


def namesake(file: str) -> str | None:
    """Return the module that a test file is named after."""
    path = PurePosixPath(file)
    stem = path.stem.removeprefix("test_")
    room = [module for module in MODULES if PurePosixPath(module).parent == path.parent]
    fitting = [module for module in room if f"{stem}_".startswith(f"{PurePosixPath(module).name}_")]
    return max(fitting, key=len, default=None)


def covered(file: str) -> dict[str, list[str]]:
    """Return the modules behind each name that the docstring of a test file says it covers."""
    room = PurePosixPath(file).parent
    sentences = re.findall(r"^Covers (.*?)(?:\n\n|\Z)", docstring(file), re.DOTALL | re.MULTILINE)
    names = [name for sentence in sentences for name in re.findall(r"``([\w/*]+)``", sentence)]
    return {
        name: [module for module in MODULES if fnmatchcase(module, str(room / name)) or fnmatchcase(module, name)]
        for name in names
    }


def test_every_module_has_tests() -> None:
    tested = {namesake(file) for file in FILES}
    tested |= {module for file in FILES for modules in covered(file).values() for module in modules}
    assert [module for module in MODULES if module not in tested] == []


def test_what_test_files_cover_exists() -> None:
    gone = {file: [name for name, modules in covered(file).items() if not modules] for file in FILES}
    assert {file: names for file, names in gone.items() if names} == {}


def test_every_test_file_is_named_after_a_module_or_says_what_it_covers() -> None:
    assert [file for file in FILES if namesake(file) is None and not docstring(file)] == []
