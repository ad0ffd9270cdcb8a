"""Options that commands with networks share."""

from __future__ import annotations

from typing import Annotated, Literal

from satseg.arguments import Given
from satseg.settings import INPUTS, PERFORMANCE, WINDOWS, Option


def architectures(incomplete: str) -> list[tuple[str, str]]:
    """Return the networks whose names begin with what was typed, with their years."""
    from satseg.backend import list_architectures

    return [(entry.name, str(entry.year)) for entry in list_architectures() if entry.name.startswith(incomplete)]


AUTO_ARCH = "auto"
"""In place of the name of a network: training chooses one."""

Arch = Annotated[
    str,
    Option(
        "Network: one that `satseg models` lists, or path/to/file.py:function, which runs that file.",
        metavar="NAME",
        complete=architectures,
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
        "Processor threads in all. Default: all cores that this process may use; training takes the free ones of them.",
        metavar="N",
        panel=PERFORMANCE,
        minimum=1,
    ),
]

CustomArch = Annotated[
    str | None,
    Option(
        "File and function of the custom architecture of a checkpoint, path/to/file.py:function. This runs the file.",
        metavar="FILE:FUNCTION",
        panel=INPUTS,
    ),
]

Window = Annotated[
    Given[str | int | None, int | Literal["auto"] | None],
    Option(
        "Side of the windows that the network sees, in pixels of its training. auto tries several sizes and takes the "
        "fastest. Default: 512, or the size of the training tiles for networks with global context.",
        metavar="PX|auto",
        panel=WINDOWS,
        minimum=32,
    ),
]

Overlap = Annotated[
    Given[str | int, int | Literal["auto"]],
    Option(
        "Overlap of neighbouring windows, in pixels of the scene, over which they are blended. auto takes what "
        "the network sees around a pixel, at most about a seventh of the window, and fits the windows to the scene.",
        metavar="PX|auto",
        panel=WINDOWS,
        minimum=0,
    ),
]
