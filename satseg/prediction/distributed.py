"""Spread the mapping of scenes over workers: the network that is sent to them, and the engine that has them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from satseg.arguments import file_and_name
from satseg.backend import run_custom_file
from satseg.checkpoint import Checkpoint
from satseg.inference.network import Network
from satseg.inference.ray_engine import RayEngine
from satseg.inference.views import Views
from satseg.prediction.settings import PredictionSettings


@dataclass(frozen=True)
class SentNetwork:
    """A network on its way to other machines, with all it is built from; it can be pickled.

    Args:
        checkpoints: Names and bytes of the files.
        own: Name and bytes of the file that builds its network, if that is not one of satseg's, and the function.
        views: How it looks at a window.
        compile: Whether torch compiles it.
    """

    checkpoints: tuple[tuple[str, bytes], ...]
    own: tuple[str, bytes, str] | None
    views: Views
    compile: bool

    @classmethod
    def pack(cls, checkpoints: Sequence[Checkpoint], arch: str | None, settings: PredictionSettings) -> SentNetwork:
        """Read what the network is built from.

        Args:
            checkpoints: One, or several that are averaged.
            arch: ``path/to/file.py:function`` for a network from a file.
            settings: How it looks.
        """
        own = None
        if arch is not None:
            path, function = file_and_name(arch)
            own = (Path(path).name, Path(path).read_bytes(), function)
        files = tuple((checkpoint.path.name, checkpoint.path.read_bytes()) for checkpoint in checkpoints)
        return cls(files, own, Views(settings.tta, settings.scales), settings.compile)

    def __call__(self, device: torch.device, precision: str) -> Network:
        """Build the network."""
        with tempfile.TemporaryDirectory(prefix="satseg-") as folder:
            checkpoints = []
            for number, (name, data) in enumerate(self.checkpoints):
                path = Path(folder) / str(number) / name
                path.parent.mkdir()
                path.write_bytes(data)
                checkpoints.append(Checkpoint.load(path))
            builder = None
            if self.own is not None:
                name, data, function = self.own
                (Path(folder) / name).write_bytes(data)
                builder = run_custom_file(f"{Path(folder) / name}:{function}")
            return Network.from_checkpoint(
                *checkpoints,
                device=device,
                precision=precision,
                views=self.views,
                compile=self.compile,
                builder=builder,
            )


def open_engine(settings: PredictionSettings) -> RayEngine | None:
    """Return an engine with the workers that the settings ask for, or None where this process does the work.

    Raises:
        SatsegError: As :class:`~satseg.inference.ray_engine.RayEngine`.
    """
    if not settings.spreads:
        return None
    return RayEngine(
        devices=settings.devices,
        alone=settings.engine == "local",
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )


def send(
    checkpoints: Sequence[Checkpoint], arch: str | None, settings: PredictionSettings, engine: RayEngine
) -> Network:
    """Give the workers their network; return what stands for it here, not to be run.

    Raises:
        CheckpointError: The network cannot be built.
        ArchitectureError: The file that ``arch`` names does not build a network.
    """
    sent = SentNetwork.pack(checkpoints, arch, settings)
    network = sent(torch.device("cpu"), engine.precision)  # what cannot be built is told before anything is sent
    engine.load(sent)
    return network.elsewhere(torch.device(engine.device))
