"""``satseg models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, options

if TYPE_CHECKING:
    from satseg.backend import Architecture
    from satseg.cli.table import Table


def models(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Networks to list, by (part of) their name or encoder: deeplab, resnet. A single match is shown in "
            "detail.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(metavar="KEY", help="Sort key, ascending: name, year, parameters, multiply-adds or stride."),
    ] = "name",
    encoders: Annotated[
        bool,
        typer.Option(
            "--encoders",
            help="List encoders for --encoder instead, by parts of their names or families: swin tiny. Up to 40 are "
            "shown with parameters, strides, sizes, and why some cannot serve.",
        ),
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the networks for --arch with their size, compute cost and recommended use."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if encoders:
        from satseg.backend.encoder_list import list_encoders
        from satseg.cli.encoder_table import encoder_table

        return out.answer(list_encoders(names or ()), encoder_table)
    from satseg.workflows.models import models

    networks = models(names or (), sort=sort)
    out.answer(networks, _table)
    if not json and len(networks) > 1:
        out.say("params: with 3 bands and 19 classes; MACs: multiply-adds for 512 x 512 px; stride: output stride.")
        out.say("satseg models NAME shows the details of a network.")


def _table(networks: list[Architecture]) -> Table:
    if len(networks) == 1:
        return _details(networks[0])
    rows = [
        (entry.name, _millions(entry.parameters), _billions(entry.multiply_adds), entry.output_stride, entry.use)
        for entry in networks
    ]
    return console.table(("name", "params", "MACs", "stride", "use"), rows)


def _details(entry: Architecture) -> Table:
    encoder = entry.encoder if entry.encoder == "own" else f"{entry.encoder}; --encoder selects another one of timm"
    rows = [
        (entry.name, f"{entry.title}, {entry.year}: {entry.summary}"),
        ("use", entry.use),
        ("parameters", f"{entry.parameters:,} with 3 bands and 19 classes"),
        ("multiply-adds", f"{_billions(entry.multiply_adds)} for 512 x 512 px"),
        ("output stride", f"{entry.output_stride} px"),
        ("learning rate", _rate(entry)),
        ("encoder", encoder),
        ("paper", entry.paper),
    ]
    return console.table(("", ""), rows)


def _rate(entry: Architecture) -> str:
    warm_up = f", with a warm-up of {entry.warm_up:g} of the run" if entry.warm_up else ""
    return f"{entry.rate:g} for adamw and steps of 8 tiles{warm_up}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f} G"
