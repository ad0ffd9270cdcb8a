"""Networks as programs of ``torch.export``, for any batch and any size of images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config

from satseg.errors import ArchitectureError, one_line
from satseg.exporting.subject import SMALLEST, Subject

_MOST = 2**20  # pixels along a side, up to which there has to be no limit
_BATCH, _HEIGHT, _WIDTH = 2, 331, 459
"""Images that the network is traced with. Sides that are multiples of no stride take no shortcut for sizes that fit."""


def trace(subject: Subject) -> ExportedProgram:
    """Trace a network from raw pixels, without running it.

    Returns:
        A program for any batch and for images of :data:`SMALLEST` px a side and more; of a single size where the
        network has a ``window``.

    Raises:
        CheckpointError: The network cannot be built.
        ArchitectureError: It cannot be traced.
    """
    network = subject.network()
    window = network.window
    height, width = (window, window) if window else (_HEIGHT, _WIDTH)
    pixels = torch.zeros(_BATCH, subject.channels, height, width, dtype=subject.dtype)
    sides = {} if window else {2: Dim.AUTO(min=SMALLEST), 3: Dim.AUTO(min=SMALLEST)}
    # Sizes that depend on those of the images could be 1: without the patch, each would be assumed not to be.
    patched = _config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # torch adds it when imported
    with warnings.catch_warnings(), torch.no_grad(), patched:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(network, (pixels,), dynamic_shapes=({0: Dim.AUTO(min=1), **sides},))
        except Exception as error:
            raise untraceable(subject, error) from error
    # Where only the layout in memory depends on it, torch takes a batch of two for the smallest; one is checked, too.
    _check_open(program, subject, (_BATCH,) if window else (_BATCH, None, SMALLEST, SMALLEST))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names of files of this machine
    return program


def _check_open(program: ExportedProgram, subject: Subject, least: tuple[int | None, ...]) -> None:
    """Refuse a program that holds for some sizes of images only, since its network treats others otherwise.

    Args:
        program: The program.
        subject: What it was made of.
        least: Smallest size along each axis that is to be open; None where it is fixed.
    """
    (name,) = program.graph_signature.user_inputs
    (given,) = (node.meta["val"] for node in program.graph.nodes if node.name == name)
    for side, smallest in zip(given.shape, least, strict=False):
        if smallest is None:
            continue
        limits = None if isinstance(side, int) else program.range_constraints.get(side.node.expr)
        if limits is None or limits.lower > smallest or limits.upper < _MOST:
            found = side if limits is None else f"{limits.lower} to {limits.upper}"
            raise untraceable(subject, ValueError(f"it holds for sizes of {found} px alone"))


def untraceable(subject: Subject, error: Exception) -> ArchitectureError:
    """Return the error of a network that has no such form."""
    return ArchitectureError(
        f"The network {subject.checkpoint.card.arch} cannot be exported to this format: {one_line(error)}.",
        hint="The suffix .safetensors with `half` needs no graph of the network.",
    )


def write_program(path: Path, subject: Subject) -> None:
    """Write a network as ``.pt2``, which ``torch.export.load`` reads; its metadata are extra files of that name."""
    torch.export.save(trace(subject), path, extra_files=subject.metadata())


def open_program(path: Path, subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a ``.pt2`` file."""
    module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        found: np.ndarray = module(torch.from_numpy(images)).numpy()
        return found

    return run
