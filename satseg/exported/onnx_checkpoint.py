"""ONNX files as checkpoints: those that satseg exports, and those of other programs with metadata of Deepness."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from satseg.backend import Builder
from satseg.checkpoint import Checkpoint, ModelCard
from satseg.errors import CheckpointError, SatsegError, UsageError, one_line
from satseg.exported.graph import Graph
from satseg.fields import FieldError, Fields, parse_json
from satseg.presence import is_onnx, require_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from satseg.exported.model import OnnxModel

_CARD, _EXPORT = "satseg", "satseg_export"
_REAL = ("float32", "float64")
_PLANES = 4  # axes: images, bands or classes, rows, columns
_NEEDED = "`satseg.export` writes files that have all that is needed; so do those for the QGIS plugin Deepness."


def load_checkpoint(name: str | Path) -> Checkpoint:
    """Read the header of a checkpoint, or of an ONNX file in the place of one.

    Args:
        name: The file, the folder of a training run, or ``sample``.

    Raises:
        CheckpointError: It does not exist, or cannot be used.
        UsageError: A package that ONNX files need is missing.
    """
    path = require_checkpoint(name)
    return OnnxCheckpoint.load(path) if is_onnx(path) else Checkpoint.load(path)


@dataclass(frozen=True)
class Exported:
    """What satseg wrote into a file about its export.

    Args:
        nodata: Raw value that the file takes for missing, or None.
        smallest: Side of the smallest images that it takes, in pixels.
        receptive_field: Pixels that the network sees around a pixel; None where that is unknown.
        global_context: Whether each pixel sees its whole window.
    """

    nodata: float | None = None
    smallest: int = 1
    receptive_field: int | None = None
    global_context: bool = False

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it; files of earlier versions lack some of it.

        Raises:
            FieldError: An entry is invalid.
        """
        said = Fields(parse_json(text), _EXPORT)
        settings = said.part("settings") if said.holds("settings") else Fields({})
        return cls(
            nodata=settings.number("nodata") if settings.holds("nodata") else None,
            smallest=said.whole("smallest", least=1) if said.holds("smallest") else 1,
            receptive_field=said.whole("receptive_field", least=1) if said.holds("receptive_field") else None,
            global_context=said.holds("global_context") and said.flag("global_context"),
        )


@dataclass(frozen=True)
class OnnxCheckpoint(Checkpoint):
    """An ONNX file in the place of a checkpoint.

    Args:
        path: The file.
        card: Card of the network that it was made from, without what it says of objects, which files leave out; of a
            foreign file, what its metadata say.
        graph: Its graph.
        exported: What satseg wrote of the export; None for foreign files.
    """

    graph: Graph = field(kw_only=True)
    exported: Exported | None = field(default=None, kw_only=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the metadata of an ONNX file.

        Raises:
            CheckpointError: It is none, or says neither by the card of satseg nor as Deepness has it what it does.
            UsageError: A package is missing.
        """
        from satseg.exported.deepness import card_of, is_for_deepness

        graph = Graph.read(path := require_checkpoint(path))
        try:
            if _CARD in graph.metadata:
                card = ModelCard.from_json(graph.metadata[_CARD])
                _check_agrees(graph, card)
                exported = Exported.from_json(graph.metadata.get(_EXPORT, "{}"))
                return cls(path, replace(card, objects=False, division={}), graph=graph, exported=exported)
            if is_for_deepness(graph):
                return cls(path, card_of(graph), graph=graph)
        except (SatsegError, FieldError) as error:
            reason = error.message if isinstance(error, SatsegError) else f"Invalid metadata: {one_line(error)}."
            raise CheckpointError(f"{path} cannot be used. {reason}") from error
        raise CheckpointError(
            f"{path} does not say which bands it takes and which classes it gives: it has neither metadata of satseg "
            "nor of Deepness.",
            hint=_NEEDED,
        )

    @property
    def kind(self) -> str:
        """What it is, in a few words."""
        given = "classes" if self.classes_alone else "probabilities"
        return f"ONNX, {given}" if self.exported else "ONNX, with metadata for Deepness"

    @property
    def classes_alone(self) -> bool:
        """Whether it gives classes without their probabilities."""
        return self.graph.output.dtype.startswith(("int", "uint"))

    @property
    def needs_builder(self) -> bool:
        """False: it contains its network."""
        return False

    def read_weights(self) -> dict[str, Tensor]:
        """Refuse to: weights of files are part of their graph.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(
            f"{self.path} runs as it is: its weights cannot be taken out of it.",
            hint="Name the checkpoint that it was exported from.",
        )

    def require_objects(self) -> None:
        """Refuse to map objects.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(
            f"{self.path} maps classes alone: ONNX files leave out what a network says of objects.",
            hint="Name the checkpoint that it was exported from, or ask for no objects.",
        )

    def build_model(self, builder: Builder | None = None) -> nn.Module:
        """Open it in onnxruntime.

        Args:
            builder: None: it contains its network.

        Raises:
            CheckpointError: It cannot be run, or gives something else than a value for each class and pixel.
            NetworkError: It does not run on images of its size.
            UsageError: ``builder`` is given.
        """
        if builder is not None:
            raise UsageError(f"{self.path} contains its network.", hint="Leave out `arch`.")
        return self._foreign() if self.exported is None else self._own(self.exported)

    def _own(self, exported: Exported) -> OnnxModel:
        """Open a file of satseg, which normalises by itself: normalised images are turned into raw values again."""
        import torch

        from satseg.exported.model import Gives, OnnxModel, Taken
        from satseg.exported.sessions import Sessions
        from satseg.raster.bands import Normaliser, exact_dtype

        raw = Normaliser(self.card.statistics, torch.device("cpu"), self.card.clipping)
        taken = self.graph.input.dtype
        dtype = taken if taken in _REAL else exact_dtype(self.card.bands.dtype)
        content = None if dtype == taken else self.graph.taking(dtype)
        return OnnxModel(
            Sessions(self.graph, content),
            Taken(getattr(torch, dtype), raw, exported.nodata, self.graph.input.shape[0]),
            Gives.CLASSES if self.classes_alone else Gives.PROBABILITIES,
            len(self.card.classes),
            window=self.graph.input.shape[2],
            smallest=exported.smallest,
            receptive_field=exported.receptive_field,
            global_context=exported.global_context,
        )

    def _foreign(self) -> OnnxModel:
        """Open a foreign file, in windows of the size that it names, and find out by a trial what it gives."""
        import torch

        from satseg.exported.deepness import window_of
        from satseg.exported.model import OnnxModel, Taken
        from satseg.exported.sessions import Sessions
        from satseg.exported.trial import what_comes_out

        sessions, window, classes = Sessions(self.graph), window_of(self.graph), len(self.card.classes)
        gives = what_comes_out(self.graph, sessions, self.card, window)
        taken = Taken(torch.float32, batch=self.graph.input.shape[0])
        return OnnxModel(sessions, taken, gives, classes, window=window)


def _check_agrees(graph: Graph, card: ModelCard) -> None:
    """Refuse a graph whose bands or classes are not as many as those of its card.

    Raises:
        CheckpointError: They are not.
    """
    ends = {"bands": (graph.input, len(card.bands)), "classes": (graph.output, len(card.classes))}
    for what, (port, count) in ends.items():
        if len(port.shape) == _PLANES and port.shape[1] not in (None, count):
            raise CheckpointError(f"Its graph has {port.shape[1]} {what}, but its card names {count}.")
