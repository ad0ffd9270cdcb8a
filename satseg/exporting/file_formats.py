"""Formats of exported networks, by the suffixes of their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.errors import UsageError
from satseg.exporting.settings import ExportSettings

if TYPE_CHECKING:
    import numpy as np

    from satseg.exporting.subject import Subject

EXTRA = "satseg-cli[export]"


@dataclass(frozen=True)
class Format:
    """A format of exported networks.

    Args:
        suffix: Suffix of its files.
        module: Module of this room that has the next two.
        writer: Function that writes a file.
        opener: Function that returns a function that runs a file.
        packages: What these need besides torch.
    """

    suffix: str
    module: str
    writer: str
    opener: str
    packages: tuple[str, ...] = ()

    def require_packages(self) -> None:
        """Check that what writes and runs such files is installed.

        Raises:
            UsageError: It is not.
        """
        if missing := [name for name in self.packages if find_spec(name) is None]:
            verb = "is" if len(missing) == 1 else "are"
            raise UsageError(
                f"{self.suffix} files need {', '.join(missing)}, which {verb} not installed.",
                hint=f"Install what exports need: pip install '{EXTRA}'",
            )

    def write(self, path: Path, subject: Subject) -> None:
        """Write a network.

        Raises:
            CheckpointError: It cannot be built.
            ArchitectureError: It has no such form.
        """
        self._function(self.writer)(path, subject)

    def open(self, path: Path, subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function that runs a file that :meth:`write` wrote.

        It takes (N, C, H, W) raw values, and returns (N, K, H, W) float32 probabilities or (N, H, W) uint8 classes.
        """
        run: Callable[[np.ndarray], np.ndarray] = self._function(self.opener)(path, subject)
        return run

    def _function(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(import_module(f"{__package__}.{self.module}"), name)
        return found


FORMATS = {
    one.suffix: one
    for one in (
        Format(".onnx", "onnx_file", "write_onnx", "open_onnx", ("onnx", "onnxscript", "onnxruntime")),
        Format(".pt2", "program", "write_program", "open_program"),
        Format(".safetensors", "half_checkpoint", "write_half_checkpoint", "open_half_checkpoint"),
    )
}


def format_of(path: Path, settings: ExportSettings) -> Format:
    """Return the format of a file that is to be written.

    Raises:
        UsageError: There is none of its suffix, or the settings make no sense for it.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"The suffix of {path} names no format of networks.",
            hint=f"Formats are {', '.join(FORMATS)}.",
        )
    _check_int8(path, found, settings)
    if settings.deepness and found.suffix != ".onnx":
        raise UsageError(
            f"`deepness` has no effect on {path}: the plugin reads .onnx files alone.",
            hint="Choose an `output` such as roofs.onnx.",
        )
    if found.suffix != ".safetensors":
        return found
    if not settings.half:
        raise UsageError(
            f"{path} would be the checkpoint as it is.",
            hint="With `half`, it is a copy with half the bytes; .onnx and .pt2 are for other programs.",
        )
    for name in ("argmax", "nodata"):
        if name in settings.given and getattr(settings, name) not in (False, None):
            raise UsageError(
                f"`{name}` has no effect on a checkpoint, which `predict` reads as any other.",
                hint=f"Leave out `{name}`, or export to .onnx or .pt2.",
            )
    return found


def _check_int8(path: Path, form: Format, settings: ExportSettings) -> None:
    """Refuse settings of int8 networks that make no sense.

    Raises:
        UsageError: They do not fit the format, or each other.
    """
    if not settings.quantize:
        if "max_loss" in settings.given:
            raise UsageError("`max_loss` is a limit for int8 networks alone.", hint="Add `quantize`.")
        return
    if form.suffix != ".onnx":
        raise UsageError(f"{path} cannot hold an int8 network.", hint="With `quantize`, write an .onnx file.")
    if settings.half:
        raise UsageError(
            "A network computes in int8 or in half precision.", hint="Leave out `quantize`, or leave out `half`."
        )
