"""What networks run on: options that commands with networks share."""

from __future__ import annotations

from typing import Annotated

from satseg.settings import PERFORMANCE, Option


def _architectures(incomplete: str) -> list[tuple[str, str]]:
    from satseg.backend import list_architectures

    return [(entry.name, str(entry.year)) for entry in list_architectures() if entry.name.startswith(incomplete)]


Arch = Annotated[
    str,
    Option(
        "Network: one that `satseg models` lists, or path/to/file.py:function, which runs that file.",
        metavar="NAME",
        complete=_architectures,
    ),
]

Seed = Annotated[int, Option("Seed of all random choices.", panel=PERFORMANCE, minimum=0)]

Device = Annotated[
    str,
    Option(
        "Device of the network: auto, cpu, cuda, cuda:1 or mps. auto takes a GPU if there is one.", metavar="DEVICE"
    ),
]

Precision = Annotated[
    str,
    Option(
        "Number format of the network: auto, fp32, bf16 or fp16. auto takes bf16 where the device supports it.",
        metavar="NAME",
        panel=PERFORMANCE,
    ),
]

Threads = Annotated[
    int | None,
    Option(
        "Processor threads in all. Default: all cores that this process may use.",
        metavar="N",
        panel=PERFORMANCE,
        minimum=1,
    ),
]
