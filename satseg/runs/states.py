"""State of a run between two steps: tensors and JSON values in one safetensors file, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.errors import TrainingError
from satseg.fields import Fields, parse_json
from satseg.files.atomic_write import save_tensors

if TYPE_CHECKING:
    from torch import Tensor


def save_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and JSON-ready values atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    # A single entry: safetensors does not keep the order of several, and equal states must give equal files.
    save_tensors(path, tensors, {"satseg": json.dumps(values, sort_keys=True)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_state` wrote; tensors are on the CPU.

    Raises:
        TrainingError: The file is missing or broken.
    """
    from safetensors import SafetensorError, safe_open

    from satseg.files.names import text_name

    try:
        with text_name(path) as plain, safe_open(plain, framework="pt") as file:
            values = Fields(parse_json((file.metadata() or {}).get("satseg", ""))).entries()
            # Copies: views would keep the file mapped, and Windows deletes no such file when the next state is there.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, values  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(
            f"The training state {path} cannot be read: {error}.",
            hint="Start the run again without `resume`, in another folder.",
        ) from error
