"""Networks from a file of the user: ``path/to/file.py:function``.

Such a file is code. It runs when the user names it, and only then: a checkpoint records the name of the file, but
nothing here is called with what a checkpoint says.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.errors import ArchitectureError, one_line

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

Builder = Callable[..., "nn.Module"]
"""Builds a network from ``in_channels``, ``num_classes`` and its own options, all by keyword."""

_SMALLEST = 33  # pixels; odd, so that a network which only takes multiples of its stride is found out


def is_own_file(arch: str) -> bool:
    """Tell whether ``arch`` means a function in a file, and not a network of the catalogue."""
    return arch.endswith(".py") or arch.rpartition(":")[0].endswith(".py")


def recorded_name(arch: str) -> str:
    """Return what checkpoints and runs call a network: without the folders, for one from a file."""
    return re.split(r"[/\\]", arch)[-1] if is_own_file(arch) else arch


def run_own_file(arch: str) -> Builder:
    """Run a file and return the function in it that builds a network.

    Args:
        arch: ``path/to/file.py:function``, as the user named it; never what a file says.

    Raises:
        ArchitectureError: There is no such file or function, or the file fails.
    """
    path, function = _split(arch)
    module = _run(path)
    builder: Builder | None = getattr(module, function, None)
    if not callable(builder):
        near = difflib.get_close_matches(function, [name for name in vars(module) if callable(getattr(module, name))])
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise ArchitectureError(f"{path} has no function named {function!r}.", hint=hint)
    return builder


def check_contract(model: Any, *, in_channels: int, num_classes: int) -> None:
    """Run a network on a small image, and refuse it where it breaks the model contract.

    Raises:
        ArchitectureError: It is no module of torch, or does not return one tensor of logits at the size of the images.
    """
    import torch

    name = type(model).__name__
    if not isinstance(model, torch.nn.Module):
        raise ArchitectureError(f"The function returns {name}, not a module of torch.")
    where = next(iter(model.parameters()), torch.empty(0)).device
    with torch.no_grad():
        logits = model.eval()(torch.zeros(1, in_channels, _SMALLEST, _SMALLEST, device=where))
    model.train()
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (expected := (1, num_classes, _SMALLEST, _SMALLEST)):
        raise ArchitectureError(
            f"The network {name} returns {found} for an image of {in_channels} x {_SMALLEST} x {_SMALLEST}, "
            f"not one tensor of logits {expected}."
        )


def _split(arch: str) -> tuple[Path, str]:
    path, _, function = arch.rpartition(":")
    if not path or not function.isidentifier():
        raise ArchitectureError(f"{arch} names no function.", hint="Name it behind a colon: path/to/file.py:function")
    if not Path(path).is_file():
        raise ArchitectureError(f"The file {path} does not exist.")
    return Path(path), function


def _run(path: Path) -> ModuleType:
    name = f"satseg_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ArchitectureError(
            f"{path} cannot be run: {type(error).__name__}: {one_line(error)}.", hint="--debug shows where it fails."
        ) from error
    return module
