"""Send a network to the workers that run it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from satseg.arguments import file_and_name
from satseg.backend import run_custom_file
from satseg.checkpoint import Checkpoint
from satseg.exported.onnx_checkpoint import load_checkpoint
from satseg.inference.network import Network
from satseg.inference.ray_engine import RayEngine
from satseg.inference.views import Views


@dataclass(frozen=True)
class SentNetwork:
    """A network on its way to other machines, with all it is built from; it can be pickled.

    Args:
        checkpoints: Names and bytes of the files.
        custom: Name and bytes of the file of a custom architecture, and its function; None for one of satseg's.
        views: Orientations and scales of each window.
        compile: Whether torch compiles it.
        objects: Whether it says something of objects, too.
    """

    checkpoints: tuple[tuple[str, bytes], ...]
    custom: tuple[str, bytes, str] | None
    views: Views
    compile: bool
    objects: bool

    @classmethod
    def pack(
        cls, checkpoints: Sequence[Checkpoint], arch: str | None, *, views: Views, compile: bool, objects: bool
    ) -> SentNetwork:
        """Read all files that the network is built from."""
        custom = None
        if arch is not None:
            path, function = file_and_name(arch)
            custom = (Path(path).name, Path(path).read_bytes(), function)
        files = tuple((checkpoint.path.name, checkpoint.path.read_bytes()) for checkpoint in checkpoints)
        return cls(files, custom, views, compile, objects)

    def __call__(self, device: torch.device, precision: str) -> Network:
        """Build the network."""
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            checkpoints = []
            for number, (name, data) in enumerate(self.checkpoints):
                path = Path(folder) / str(number) / name
                path.parent.mkdir()
                path.write_bytes(data)
                checkpoints.append(load_checkpoint(path))
            builder = None
            if self.custom is not None:
                name, data, function = self.custom
                (Path(folder) / name).write_bytes(data)
                builder = run_custom_file(f"{Path(folder) / name}:{function}")
            return Network.from_checkpoint(
                *checkpoints,
                device=device,
                precision=precision,
                views=self.views,
                compile=self.compile,
                objects=self.objects,
                builder=builder,
            )


def send(
    checkpoints: Sequence[Checkpoint],
    arch: str | None,
    engine: RayEngine,
    *,
    views: Views,
    compile: bool,
    objects: bool = False,
) -> Network:
    """Give the workers of an engine their network; return a stand-in for it, not to be run here.

    Args:
        checkpoints: One, or several that are averaged.
        arch: ``path/to/file.py:function`` of a custom architecture.
        engine: The workers.
        views: Orientations and scales of each window.
        compile: Whether torch compiles the network.
        objects: Whether it says something of objects, too.

    Raises:
        CheckpointError: The network cannot be built.
        ArchitectureError: The file that ``arch`` names does not build a network.
    """
    sent = SentNetwork.pack(checkpoints, arch, views=views, compile=compile, objects=objects)
    network = sent(torch.device("cpu"), engine.precision)  # raises here what would fail on every worker
    engine.load(sent)
    return network.on_other_machine(torch.device(engine.device))
