"""``satseg models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from satseg.cli import console, options

if TYPE_CHECKING:
    from satseg.backend import Architecture
    from satseg.cli.table import Table


def models(
    ctx: typer.Context,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the networks that --arch takes."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.workflows.models import models

    talk.answer(models(), _table)


def _table(networks: list[Architecture]) -> Table:
    rows = [
        (entry.name, str(entry.year), entry.parameters, entry.output_stride, entry.encoder, entry.paper)
        for entry in networks
    ]
    return console.table(("name", "year", "parameters", "output stride", "encoder", "paper"), rows)
