"""Catalogue of the networks in ``backend/models``, read from their source without running it.

Every public function of such a file is a network, and its docstring starts like this, each entry on one line:

    Build ERFNet: residual blocks of factorised convolutions for real-time use.

    Paper: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet ...", T-ITS
    Year: 2017
    Family: real-time
    Encoder: own
    Parameters: 2,064,191
    Multiply-adds: 13.3 G
    Output stride: 8
    Rate: 3e-3
    Use: a first try, on processors too: best of five compared

Parameters are counted with 3 input channels and 19 classes, without parts that only training needs; multiply-adds are
those of an image of 512 x 512 px. The tests build each network and compare. Family is one of :data:`FAMILIES`. Rate is
the peak learning rate of AdamW for steps of eight samples at which the network learns from random weights
(``tests/workflows/test_default_rates.py``). A line ``Warm-up: 0.1`` behind it asks for a longer warm-up than the
schedule's, as a fraction of the run. The entry Use follows from measurements (``docs/results.json``), or from these
numbers and the design.

Whether a network takes another encoder, and whether it has a branch for instances, is read from the arguments of its
function. What takes minutes to find out is kept in ``measured.json``, which ``tests/benchmarks/measure_networks.py``
writes and the slow tests compare.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from satseg.errors import ArchitectureError
from satseg.results import Result

_HEAD = re.compile(
    r"Build (?P<title>[^:\n]+): (?P<summary>[^\n]+)\.\n\n"
    r"Paper: (?P<paper>[^\n]+)\n"
    r"Year: (?P<year>\d{4})\n"
    r"Family: (?P<family>[^\n]+)\n"
    r"Encoder: (?P<encoder>[^\n]+)\n"
    r"Parameters: (?P<parameters>[\d,]+)\n"
    r"Multiply-adds: (?P<multiply_adds>[\d.]+) G\n"
    r"Output stride: (?P<output_stride>\d+)\n"
    r"Rate: (?P<rate>\d+(\.\d+)?e-\d+)\n"
    r"(Warm-up: (?P<warm_up>0\.\d+)\n)?"
    r"Use: (?P<use>[^\n]+)(\n|$)"
)
_PACKAGE = "satseg.backend.models"

FAMILIES = {
    "fully convolutional": "a classifier without its fully connected layers; scores of some strides are added up",
    "encoder-decoder": "a decoder leads back to fine resolution step by step, with help of the encoder's features",
    "dilated": "dilated convolutions see far at a fine resolution",
    "pyramid": "features of several resolutions, or means over grids of several sizes, are put side by side",
    "real-time": "few multiply-adds, at some cost in accuracy",
    "attention": "pixels or channels weigh each other",
    "transformer": "features of a transformer under a light decoder",
}
"""What networks have in common that belong together."""

MEASURED = Path(__file__).with_name("measured.json")
"""What ``tests/benchmarks/measure_networks.py`` has found out: an object per network."""


@dataclass(frozen=True, repr=False)
class Architecture(Result):
    """A network that can be built.

    Args:
        name: Name for ``arch`` and ``create_model``.
        title: Name of the network in its paper.
        year: Year of publication.
        family: What it has in common with others, a word of
            :data:`~satseg.backend.catalogue.FAMILIES`.
        paper: Authors, title and venue or arXiv number.
        encoder: Default encoder as timm names it, or ``own`` where the paper brings its own.
        takes_encoder: Whether ``encoder`` selects another one.
        instance_branch: Whether it has a branch of its own that tells objects apart, by their centres; others learn
            their inner boundaries and cores.
        parameters: Learnable parameters with 3 input channels and 19 classes, without heads that only training needs.
        multiply_adds: Of an image of 512 x 512 px with 3 input channels and 19 classes, to a tenth of 10^9.
        output_stride: Input pixels per pixel of the coarsest spatial features (pyramids of poolings aside).
        receptive_field: Pixels of a row of the input that can change a pixel of the output, as
            ``satseg.profiling.reach`` measures them; None where the whole image can.
        exportable: Whether ``satseg export`` writes it as ONNX, with the same probabilities; None where neither this
            nor the receptive field has been measured.
        hindrance: Why it does not; None where it does.
        rate: Peak learning rate of AdamW for steps of eight samples.
        warm_up: Fraction of a run in which the learning rate rises; None leaves it to the schedule.
        summary: Main idea of the network, in one line.
        use: When to use it, in one line.
    """

    name: str
    title: str
    year: int
    family: str
    paper: str
    encoder: str
    takes_encoder: bool
    instance_branch: bool
    parameters: int
    multiply_adds: int
    output_stride: int
    receptive_field: int | None
    exportable: bool | None
    hindrance: str | None
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
        ArchitectureError: The file is not valid Python, or the docstring of a public function lacks its head or names
            an unknown family.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ArchitectureError(f"{path} is not valid Python: {error.msg} in line {error.lineno}.") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield _read_function(node, path)


def _read_function(function: ast.FunctionDef, path: Path) -> Architecture:
    name = function.name
    taken = {argument.arg for argument in function.args.kwonlyargs}
    measured = _read_measured().get(name, {})
    head = _HEAD.match(ast.get_docstring(function) or "")
    if head is None:
        raise ArchitectureError(
            f"The docstring of {name} in {path} does not start with the head of a network.",
            hint="Its lines are Build, Paper, Year, Family, Encoder, Parameters, Multiply-adds, Output stride, Rate "
            "and Use; see satseg/backend/catalogue.py.",
        )
    if head["family"] not in FAMILIES:
        raise ArchitectureError(
            f"The docstring of {name} in {path} names a family {head['family']!r} that does not exist.",
            hint=f"Those there are: {', '.join(FAMILIES)}; see satseg/backend/catalogue.py.",
        )
    return Architecture(
        name=name,
        title=head["title"],
        year=int(head["year"]),
        family=head["family"],
        paper=head["paper"],
        encoder=head["encoder"],
        takes_encoder="encoder" in taken,
        instance_branch="objects" in taken,
        parameters=int(head["parameters"].replace(",", "")),
        multiply_adds=round(float(head["multiply_adds"]) * 1e9),
        output_stride=int(head["output_stride"]),
        receptive_field=measured.get("receptive_field"),
        exportable=measured.get("exportable"),
        hindrance=measured.get("hindrance"),
        rate=float(head["rate"]),
        warm_up=float(head["warm_up"]) if head["warm_up"] else None,
        summary=head["summary"],
        use=head["use"],
    )


@cache
def _read_measured() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found
