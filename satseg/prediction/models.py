"""The trained networks of a prediction: checkpoints, and the file that builds a custom architecture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from satseg.arguments import Paths, file_and_name, paths
from satseg.backend import run_custom_file
from satseg.backend.device import select_device, select_precision
from satseg.checkpoint import Checkpoint
from satseg.errors import UsageError
from satseg.exported.onnx_checkpoint import load_checkpoint
from satseg.inference.network import Network
from satseg.inference.views import Views
from satseg.prediction.onnx_limits import of_onnx, refuse_what_onnx_lacks
from satseg.prediction.settings import PredictionSettings
from satseg.runs import Run, newest_model
from satseg.sample import named_network

if TYPE_CHECKING:
    from satseg.inference.ray_engine import RayEngine


@dataclass(frozen=True)
class Models:
    """Checkpoints whose probabilities are averaged.

    Args:
        names: Checkpoints, at least one; the folder of a training run stands for its best one.
        arch: ``path/to/file.py:function`` of a custom architecture.
    """

    names: tuple[str, ...]
    arch: str | None = None

    @classmethod
    def named(cls, model: Paths | None, arch: str | None) -> Models:
        """Return the named checkpoints, or that of the newest finished run.

        Raises:
            CheckpointError: There is none.
            UsageError: ``model`` is empty.
        """
        names = (str(newest_model()),) if model is None else paths(model, "model")
        if not names:
            raise UsageError(
                "`model` names no checkpoint.",
                hint="Name one, or leave it out to take that of the newest finished run.",
            )
        return cls(names, arch)

    @property
    def files(self) -> list[str | Path]:
        """All files that are read."""
        named = map(named_network, self.names)
        weights: list[str | Path] = [Run(path).best if path.is_dir() else path for path in named]
        return weights if self._arch_file is None else [*weights, self._arch_file]

    @property
    def words(self) -> tuple[str, ...]:
        """The models as words of the command line."""
        named = [("-m", name) for name in self.names] + ([("--arch", self.arch)] if self.arch is not None else [])
        return tuple(word for pair in named for word in pair)

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints, with their headers read; scenes have to fit the first one.

        Raises:
            CheckpointError: One cannot be used.
        UsageError: A package that ONNX files need is missing.
        """
        return tuple(load_checkpoint(name) for name in self.names)

    @cached_property
    def origin(self) -> str:
        """Names and contents of all files, as maps store them."""
        origins = [f"{checkpoint.path.name} sha256:{checkpoint.digest}" for checkpoint in self.checkpoints]
        if self._arch_file is not None:
            digest = hashlib.sha256(self._arch_file.read_bytes()).hexdigest()
            origins.append(f"{self._arch_file.name} sha256:{digest}")
        return ", ".join(origins)

    def network(
        self, settings: PredictionSettings, engine: RayEngine | None = None, *, objects: bool = False
    ) -> Network:
        """Build the network, averaged over all checkpoints.

        Args:
            settings: Device, precision, views and compilation.
            engine: Gives the network to its workers, and what stands for it here is not to be run; None builds it in
                this process.
            objects: Whether it says something of objects, too.

        Raises:
            CheckpointError: A checkpoint cannot be used, or they do not fit each other.
            UsageError: A setting makes no sense for ONNX files.
            ArchitectureError: The file does not build a network.
        """
        refuse_what_onnx_lacks(self.checkpoints, settings)
        views = Views(settings.tta, settings.scales)
        if engine is not None:
            from satseg.inference.distributed import send

            return send(self.checkpoints, self.arch, engine, views=views, compile=settings.compile, objects=objects)
        device = select_device(settings.device)
        return Network.from_checkpoint(
            *self.checkpoints,
            device=device,
            precision="32-true" if of_onnx(self.checkpoints) else select_precision(settings.precision, device),
            views=views,
            compile=settings.compile,
            objects=objects,
            builder=run_custom_file(self.arch) if self.arch else None,
        )

    @property
    def _arch_file(self) -> Path | None:
        return Path(file_and_name(self.arch)[0]) if self.arch else None
