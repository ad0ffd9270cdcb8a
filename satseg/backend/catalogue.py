"""Catalogue of the networks in ``backend/models``, read from the docstrings in their source without running it.

Every public function of such a file is a network, and its docstring starts like this, each entry on one line:

    Build ERFNet: residual blocks of factorised convolutions for real-time use.

    Paper: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet ...", T-ITS
    Year: 2017
    Encoder: own
    Parameters: 2,064,191
    Multiply-adds: 13.3 G
    Output stride: 8
    Rate: 3e-3
    Use: a first try, on processors too: best of five compared

Parameters are counted with 3 input channels and 19 classes, without parts that only training needs; multiply-adds are
those of an image of 512 x 512 px. The tests build each network and compare. Rate is the peak learning rate of AdamW for
steps of eight samples at which the network learns from random weights (``tests/workflows/test_default_rates.py``). A
line ``Warm-up: 0.1`` behind it asks for a longer warm-up than the schedule's, as a fraction of the run. The entry Use
follows from measurements (``docs/results.json``), or from these numbers and the design.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from satseg.errors import ArchitectureError
from satseg.results import Result

_HEAD = re.compile(
    r"Build (?P<title>[^:\n]+): (?P<summary>[^\n]+)\.\n\n"
    r"Paper: (?P<paper>[^\n]+)\n"
    r"Year: (?P<year>\d{4})\n"
    r"Encoder: (?P<encoder>[^\n]+)\n"
    r"Parameters: (?P<parameters>[\d,]+)\n"
    r"Multiply-adds: (?P<multiply_adds>[\d.]+) G\n"
    r"Output stride: (?P<output_stride>\d+)\n"
    r"Rate: (?P<rate>\d+(\.\d+)?e-\d+)\n"
    r"(Warm-up: (?P<warm_up>0\.\d+)\n)?"
    r"Use: (?P<use>[^\n]+)(\n|$)"
)
_PACKAGE = "satseg.backend.models"


@dataclass(frozen=True, repr=False)
class Architecture(Result):
    """A network that can be built.

    Args:
        name: Name for ``arch`` and ``create_model``.
        title: Name of the network in its paper.
        year: Year of publication.
        paper: Authors, title and venue or arXiv number.
        encoder: Default encoder as timm names it, or ``own`` where the paper brings its own.
        parameters: Learnable parameters with 3 input channels and 19 classes, without heads that only training needs.
        multiply_adds: Of an image of 512 x 512 px with 3 input channels and 19 classes, to a tenth of 10^9.
        output_stride: Input pixels per pixel of the coarsest spatial features (pyramids of poolings aside).
        rate: Peak learning rate of AdamW for steps of eight samples.
        warm_up: Fraction of a run in which the learning rate rises; None leaves it to the schedule.
        summary: Main idea of the network, in one line.
        use: When to use it, in one line.
    """

    name: str
    title: str
    year: int
    paper: str
    encoder: str
    parameters: int
    multiply_adds: int
    output_stride: int
    rate: float
    warm_up: float | None
    summary: str
    use: str


@dataclass(frozen=True)
class Entry:
    """A network and the module whose function of the same name builds it."""

    module: str
    architecture: Architecture


@cache
def read_catalogue() -> dict[str, Entry]:
    """Read every network of ``backend/models``, sorted by name.

    Raises:
        ArchitectureError: A file is not valid Python, a docstring lacks its head, or a name is defined twice.
    """
    entries: dict[str, Entry] = {}
    for path in sorted((Path(__file__).parent / "models").glob("[a-z]*.py")):
        for architecture in read_source(path):
            if architecture.name in entries:
                raise ArchitectureError(f"Two files of backend/models define the network {architecture.name!r}.")
            entries[architecture.name] = Entry(f"{_PACKAGE}.{path.stem}", architecture)
    return dict(sorted(entries.items()))


def read_source(path: Path) -> Iterator[Architecture]:
    """Yield the networks of one file.

    Raises:
        ArchitectureError: The file is not valid Python, or the docstring of a public function lacks its head.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ArchitectureError(f"{path} is not valid Python: {error.msg} in line {error.lineno}.") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _parse_head(node.name, ast.get_docstring(node) or "", path)


def _parse_head(name: str, docstring: str, path: Path) -> Architecture:
    head = _HEAD.match(docstring)
    if head is None:
        raise ArchitectureError(
            f"The docstring of {name} in {path} does not start with the head of a network.",
            hint="Its lines are Build, Paper, Year, Encoder, Parameters, Multiply-adds, Output stride, Rate and Use; "
            "see satseg/backend/catalogue.py.",
        )
    return Architecture(
        name=name,
        title=head["title"],
        year=int(head["year"]),
        paper=head["paper"],
        encoder=head["encoder"],
        parameters=int(head["parameters"].replace(",", "")),
        multiply_adds=round(float(head["multiply_adds"]) * 1e9),
        output_stride=int(head["output_stride"]),
        rate=float(head["rate"]),
        warm_up=float(head["warm_up"]) if head["warm_up"] else None,
        summary=head["summary"],
        use=head["use"],
    )
