"""What stands on the pages of the documentation: blocks of code, commands, options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts),
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def blocks(page: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Yield (language, code) of the blocks of a page in some languages, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if found[1] in languages:
            yield found[1], found[2]


def script(page: str) -> str:
    """Return the shell and Python of a page as one shell script; blocks of ``shell`` are not to be run."""
    return "\n".join(
        code if language == "sh" else f"satseg -c {shlex.quote(re.sub(r'minutes=[0-9]+', 'steps=2', code))}"
        for language, code in blocks(page, "sh", "python")
    )


def command_lines(page: str) -> Iterator[list[str]]:
    """Yield the words after ``satseg`` of each command line of a page, of those that are not run as well."""
    for line in "".join(code for _, code in blocks(page, "sh", "shell")).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="|>")
        words.whitespace_split = True
        for is_pipe, part in groupby(words, key=lambda word: word in "|>"):
            program, *rest = part
            if not is_pipe and "satseg" in (program, *rest) and not {"pip", "uvx"} & {program, *rest}:
                yield [program, *rest][[program, *rest].index("satseg") + 1 :]
