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
            help="Networks to list, by (part of) their name, family or encoder: deeplab, real-time, resnet. A single "
            "match is shown in detail.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY", help="Sort key, ascending: name, family, year, parameters, multiply-adds, stride or field."
        ),
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
        for line in LEGEND:
            out.say(line)
        out.say("satseg models NAME shows the details of a network.")


COLUMNS = ("name", "family", "year", "params", "MACs", "stride", "field", "encoder", "objects", "export", "use")
"""Headings of :func:`row`."""

LEGEND = (
    "params: with 3 bands and 19 classes; MACs: multiply-adds for 512 x 512 px; stride: output stride in px.",
    "field: px of a row that can change a pixel of the map, measured by the gradient; all: those of the whole window.",
    "encoder +: another one of timm, too; objects: by their centres, in a branch of its own, or by edges.",
    "export: to ONNX, with the same probabilities; the details of a network say what hinders it.",
)
"""What the columns mean."""


def row(entry: Architecture) -> tuple[object, ...]:
    """Return what the table says of a network, here and in the documentation."""
    return (
        entry.name,
        entry.family,
        str(entry.year),
        _millions(entry.parameters),
        _billions(entry.multiply_adds),
        entry.output_stride,
        _field(entry),
        f"{entry.encoder} +" if entry.takes_encoder else entry.encoder,
        "centres" if entry.instance_branch else "edges",
        entry.exportable,
        entry.use,
    )


def _table(networks: list[Architecture]) -> Table:
    return _details(networks[0]) if len(networks) == 1 else console.table(COLUMNS, [row(entry) for entry in networks])


def _details(entry: Architecture) -> Table:
    from satseg.backend.catalogue import FAMILIES

    encoder = f"{entry.encoder}; --encoder selects another one of timm" if entry.takes_encoder else entry.encoder
    rows = [
        (entry.name, f"{entry.title}, {entry.year}: {entry.summary}"),
        ("use", entry.use),
        ("family", f"{entry.family}: {FAMILIES[entry.family]}"),
        ("parameters", f"{entry.parameters:,} with 3 bands and 19 classes"),
        ("multiply-adds", f"{_billions(entry.multiply_adds)} for 512 x 512 px"),
        ("output stride", f"{entry.output_stride} px"),
        ("receptive field", _long_field(entry)),
        ("learning rate", _rate(entry)),
        ("encoder", encoder),
        ("objects", "by their centres, in a branch of its own" if entry.instance_branch else "by their inner edges"),
        ("export", _export(entry)),
        ("paper", entry.paper),
    ]
    return console.table(("", ""), rows)


def _field(entry: Architecture) -> int | str | None:
    if entry.exportable is None:  # neither has been measured
        return None
    return entry.receptive_field or "all"


def _long_field(entry: Architecture) -> str | None:
    if entry.receptive_field is None:
        return None if entry.exportable is None else "the whole window"
    return f"{entry.receptive_field:,} px, measured by the gradient"


def _export(entry: Architecture) -> str | None:
    return "to ONNX, with the same probabilities" if entry.exportable else entry.hindrance and f"not: {entry.hindrance}"


def _rate(entry: Architecture) -> str:
    warm_up = f", with a warm-up of {entry.warm_up:g} of the run" if entry.warm_up else ""
    return f"{entry.rate:g} for adamw and steps of 8 tiles{warm_up}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.1f} G"
