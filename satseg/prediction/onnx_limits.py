"""What ONNX files in the place of checkpoints cannot do, said before work starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from satseg.checkpoint import Checkpoint
from satseg.errors import UsageError
from satseg.exported.onnx_checkpoint import OnnxCheckpoint
from satseg.prediction.settings import PredictionSettings
from satseg.vectorization.settings import CONFIDENCE

_OF_FILES = {
    "compile": "onnxruntime has optimised the graph already",
    "precision": "its precision was chosen when it was exported (`half`)",
}
_CERTAINTY = ("confidence", "probabilities")  # rasters


def of_onnx(checkpoints: Sequence[Checkpoint]) -> bool:
    """Tell whether all networks are ONNX files."""
    return all(isinstance(checkpoint, OnnxCheckpoint) for checkpoint in checkpoints)


def refuse_what_onnx_lacks(checkpoints: Sequence[Checkpoint], settings: PredictionSettings) -> None:
    """Refuse settings that are about how torch runs a network.

    Raises:
        UsageError: There are any, and an ONNX file among the networks.
    """
    file = next((checkpoint for checkpoint in checkpoints if isinstance(checkpoint, OnnxCheckpoint)), None)
    if file is None:
        return
    if settings.device not in ("auto", "cpu"):
        raise UsageError(
            f"`device={settings.device!r}` has no effect on {file.path}: onnxruntime runs it on the processor.",
            hint="Leave it out, or name the checkpoint that it was exported from.",
        )
    for name, reason in _OF_FILES.items():
        if name in settings.given and getattr(settings, name) not in (False, "auto", "fp32"):
            if name == "precision" and not of_onnx(checkpoints):
                continue
            raise UsageError(f"`{name}` has no effect on {file.path}: {reason}.", hint=f"Leave out `{name}`.")


def refuse_certainty(checkpoints: Sequence[Checkpoint], settings: PredictionSettings, rasters: Iterable[str]) -> None:
    """Refuse what needs probabilities where a file gives classes alone: windows then vote, one for each that overlaps.

    Args:
        checkpoints: The networks.
        settings: How scenes are mapped.
        rasters: Layers of the rasters that are to be written, besides the class raster.

    Raises:
        UsageError: Something is wanted that needs probabilities.
    """
    file = next((one for one in checkpoints if isinstance(one, OnnxCheckpoint) and one.classes_alone), None)
    if file is None:
        return
    wanted = [name for name in rasters if name in _CERTAINTY]
    wanted += ["threshold"] * bool(settings.threshold) + ["crf"] * settings.crf
    wanted += ["attributes"] * bool(CONFIDENCE & set(settings.polygons.attributes or ()))
    if wanted:
        raise UsageError(
            f"`{wanted[0]}` needs probabilities, and {file.path} gives classes alone.",
            hint="Export the network without `argmax`.",
        )
