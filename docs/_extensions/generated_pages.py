"""Directives for what the code already states: commands, options, networks, error messages, measured results.

Each directive writes Markdown, which then goes through the same parser as the page that it stands on.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import satseg
from satseg.backend.catalogue import FAMILIES
from satseg.cli import models
from satseg.cli.app import app
from satseg.cli.table import cell

ROOT = Path(__file__).resolve().parents[2]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


class GeneratedDirective(SphinxDirective):
    """A directive whose content is Markdown that a function returns."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the generated Markdown."""
        return self.parse_text_to_nodes("\n".join(self.markdown()), allow_section_headings=True)

    def markdown(self) -> Iterator[str]:
        """Yield the lines to parse."""
        raise NotImplementedError


class CommandTable(GeneratedDirective):
    """One row per command: its name and the first line of its help."""

    def markdown(self) -> Iterator[str]:
        """Yield the rows."""
        yield from table(
            ("command", "what it does"),
            ((f"[`satseg {name}`]({name}.md)", command.help.splitlines()[0]) for name, command in COMMANDS.items()),
        )


class OptionReference(GeneratedDirective):
    """The arguments and options of one command, panel by panel as ``--help`` shows them."""

    def markdown(self) -> Iterator[str]:
        """Yield a heading per panel and a definition per option."""
        name = self.arguments[0]
        command = COMMANDS[name]
        shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
        yield from (f"```{{program}} satseg {name}", "```", "", "```text", usage(name, shown), "```", "")
        arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
        if arguments:
            yield from ("## Arguments", "")
        for argument in arguments:
            yield from (f"`{argument.metavar or argument.name.upper()}`", f": {text_of(argument)}", "")
        options = [parameter for parameter in shown if parameter.param_type_name == "option"]
        panels = list(dict.fromkeys(panel_of(option) for option in options))
        for panel, entries in groupby(sorted(options, key=lambda option: panels.index(panel_of(option))), panel_of):
            yield from (f"## {panel}", "")
            for option in entries:
                yield from (f":::{{option}} {signature(option)}", text_of(option), ":::", "")


class NetworkTable(GeneratedDirective):
    """One row per network, as ``satseg models`` prints it, with full name and learning rate; then the families."""

    def markdown(self) -> Iterator[str]:
        """Yield the rows, and a definition per family."""
        yield from table(
            ("`--arch`", "network", *models.COLUMNS[1:-1], "rate", models.COLUMNS[-1]),
            (network_row(entry) for entry in satseg.list_architectures()),
        )
        for family, meaning in FAMILIES.items():
            yield from (family, f": {meaning}.", "")


class CostTable(GeneratedDirective):
    """One row per network: its paper, and what ``tests/benchmarks/measure_costs.py`` has measured."""

    def markdown(self) -> Iterator[str]:
        """Yield the rows; of what has not been measured, cells are empty."""
        costs = {row["arch"]: row for row in json.loads((ROOT / "docs" / "costs.json").read_text(encoding="utf-8"))}
        kinds = {"inference_ms": ",.0f", "inference_mib": ",", "training_ms": ",.0f", "training_mib": ","}
        yield from table(
            ("`--arch`", "inference ms", "MiB", "training step ms", "MiB", "paper"),
            (
                (
                    f"`{entry.name}`",
                    *(
                        format(costs[entry.name][key], kind) if entry.name in costs else ""
                        for key, kind in kinds.items()
                    ),
                    escape(entry.paper),
                )
                for entry in satseg.list_architectures()
            ),
        )


class ResultTable(GeneratedDirective):
    """One row per network that ``tests/benchmarks/train_networks.py`` has trained, best first."""

    def markdown(self) -> Iterator[str]:
        """Yield the rows."""
        results = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
        yield from table(
            ("`--arch`", "mean IoU", "background / buildings", "steps", "parameters", "multiply-adds", "inference",
             "training step"),
            (
                (
                    f"`{row['arch']}`", f"{row['mean_iou']:.3f}",
                    " / ".join(f"{iou:.3f}" for iou in row["iou"].values()), f"{row['steps']:,}",
                    f"{row['parameters'] / 1e6:.2f} M", f"{row['multiply_adds'] / 1e9:.1f} G",
                    f"{row['inference_ms']:.1f} ms", f"{row['training_ms']:.0f} ms",
                )
                for row in sorted(results, key=lambda row: -row["mean_iou"])
            ),
        )  # fmt: skip


class RoomTable(GeneratedDirective):
    """One row per room, in the order in which imports point: from each to those below it."""

    def markdown(self) -> Iterator[str]:
        """Yield the rows, from the import contract and the first lines of docstrings."""
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
        layers = contracts["contracts"][0]["layers"]
        rows = []
        for layer in layers:
            for name in re.findall(r"satseg\.(\w+)", layer):
                folder = ROOT / "satseg" / name
                source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
                docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
                shown = f"`{name}/`" if folder.is_dir() else f"`{name}.py`"
                rows.append((layers.index(layer) + 1, shown, escape(docstring.splitlines()[0]).replace("``", "`")))
        yield from table(("layer", "room", "content"), iter(rows))


class ErrorIndex(GeneratedDirective):
    """Every error message in the source with its hint, by the kind of error."""

    def markdown(self) -> Iterator[str]:
        """Yield a heading per kind and a list of messages."""
        messages = sorted(set(error_messages()))
        for kind, entries in groupby(messages, lambda entry: entry[0]):
            yield from (f"## {kind}", "", f"{{py:class}}`satseg.{kind}`", "")
            for _, message, hint in entries:
                yield f"- **{escape(message)}**" + (f" Hint: {escape(hint)}" if hint else "")
            yield ""


class PublicNames(GeneratedDirective):
    """The documentation of all public names of one kind, from their docstrings."""

    def markdown(self) -> Iterator[str]:
        """Yield the directives of autodoc."""
        public = {name: getattr(satseg, name) for name in satseg.__all__ if not name.startswith("__")}
        shown = {f"satseg.{name}": found for name, found in public.items() if kind_of(name, found) == self.arguments[0]}
        if self.arguments[0] == "records":
            shown |= records_within(public.values())
        for name, found in shown.items():
            directive = "autoclass" if isinstance(found, type) else "autofunction"
            yield from ("```{eval-rst}", f".. {directive}:: {name}", "```", "")


def network_row(entry: satseg.Architecture) -> tuple[str, ...]:
    """Return the cells of a network."""
    name, *facts, use = map(cell, models.row(entry))
    return f"`{name}`", entry.title, *facts, f"{entry.rate:g}", use


def records_within(public: Iterable[object]) -> dict[str, type]:
    """Return records that are fields of public ones without being public themselves, by their full names."""
    found: dict[str, type] = {}
    seen = {kind for kind in public if isinstance(kind, type) and issubclass(kind, satseg.Result)}
    waiting = [kind for kind in seen if dataclasses.is_dataclass(kind)]
    while waiting:
        try:
            hints = get_type_hints(waiting.pop())
        except NameError:  # a type that only type checkers import
            continue
        for hint in hints.values():
            for kind in (hint, *get_args(hint), *(inner for part in get_args(hint) for inner in get_args(part))):
                if isinstance(kind, type) and issubclass(kind, satseg.Result) and kind not in seen:
                    seen.add(kind)
                    waiting.append(kind)
                    found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return found


def kind_of(name: str, found: object) -> str:
    """Return the page of the API on which a public name is documented."""
    if not isinstance(found, type):
        return "functions" if name in {*COMMANDS, "predict_scenes", "label_values"} else "parts"
    if issubclass(found, Exception):
        return "errors"
    if name.endswith(("Settings", "Options")):
        return "settings"
    return "records" if issubclass(found, satseg.Result) else "parts"


def table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""


def panel_of(option: Any) -> str:
    """Return the heading under which ``--help`` lists an option."""
    return option.rich_help_panel or "Options"


def usage(name: str, parameters: list[Any]) -> str:
    """Return the line that ``--help`` begins with."""
    words = [
        f"{parameter.metavar or parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}"
        for parameter in parameters
        if parameter.param_type_name == "argument"
    ]
    return " ".join(["satseg", name, "[OPTIONS]", *words])


def signature(option: Any) -> str:
    """Return the spellings of an option, each with the placeholder of its value."""
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    names = sorted([*option.opts, *option.secondary_opts], key=len, reverse=True)
    return ", ".join(f"{name}{value}" for name in names)


def text_of(parameter: Any) -> str:
    """Return the help of an option or argument, with its default where the help does not state one."""
    text = escape(parameter.help or "")
    default = parameter.default
    stated = "Default:" in text or default is None or default is False or callable(default) or default in ("", (), [])
    if parameter.required:
        return f"{text} Required."
    if not stated and parameter.param_type_name == "option":
        text += f" Default: `{'on' if default is True else default}`."
    if getattr(parameter, "multiple", False) and not re.search(r"given again|more than once|repeat", text):
        text += " May be repeated."
    return text


def error_messages() -> Iterator[tuple[str, str, str]]:
    """Yield (class, message, hint) of each error that the package raises with a literal message."""
    for path in sorted((ROOT / "satseg").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            kind = node.func.id
            if not (isinstance(getattr(satseg, kind, None), type) and issubclass(getattr(satseg, kind), Exception)):
                continue
            message = literal(node.args[0])
            hint = next((literal(word.value) for word in node.keywords if word.arg == "hint"), None)
            if message and any(letter.isalpha() for letter in message.replace("…", "")):
                yield kind, message, hint or ""


def sentences() -> Iterator[str]:
    """Yield every text of the source, with ``…`` for what is filled in."""
    for path in sorted((ROOT / "satseg").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr) and (text := literal(node)):
                yield text


def literal(node: ast.expr) -> str | None:
    """Return a string or f-string of the source with ``…`` for what is filled in; None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return re.sub("…+", "…", text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (literal(node.left) or "…") + (literal(node.right) or "…")
    if isinstance(node, ast.IfExp):
        return literal(node.body)
    return None


def escape(text: str) -> str:
    """Return text of the program as Markdown that shows it as it is; flags and backticked parts become code."""
    with_code = re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w`-])", r"`\1`", " ".join(text.split()))
    parts = re.split(r"(`[^`]*`)", with_code)
    parts[::2] = [re.sub(r"([\\*_{}\[\]<>#|$~])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def leave_unlinked(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.TextElement | None:
    """Show a name of the package that exists, but is not public, without a link; other names without a target fail."""
    if node.get("refdomain") != "py":
        return None
    try:
        pkgutil.resolve_name(node["reftarget"])
    except (ImportError, AttributeError, ValueError):
        return None
    return content


def spell_factories(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Return a signature that can be parsed: defaults that are made anew have no spelling of their own."""
    return signature and signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives."""
    app.add_directive("satseg-commands", CommandTable)
    app.add_directive("satseg-options", OptionReference)
    app.add_directive("satseg-networks", NetworkTable)
    app.add_directive("satseg-network-costs", CostTable)
    app.add_directive("satseg-results", ResultTable)
    app.connect("autodoc-process-signature", spell_factories)
    app.add_directive("satseg-errors", ErrorIndex)
    app.add_directive("satseg-rooms", RoomTable)
    app.add_directive("satseg-api", PublicNames)
    app.connect("missing-reference", leave_unlinked)
    return {"parallel_read_safe": True}
