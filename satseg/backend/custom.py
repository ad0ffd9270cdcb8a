"""Custom architectures from a file of the user: ``path/to/file.py:function``.

Such a file is code. It runs only if the user names it: a checkpoint records the name of the file, but no function of
this module is called with a name from a checkpoint.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.arguments import file_and_name
from satseg.errors import ArchitectureError, SatsegError, one_line

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

Builder = Callable[..., "nn.Module"]
"""Builds a network from ``in_channels``, ``num_classes`` and its own options, all by keyword."""

_ODD, _EVEN = 33, 64  # pixels; the odd number detects networks that only accept multiples of their stride
_HINT = "`debug=True` shows the traceback."
_MODULE = "satseg_own_"  # and the file's name: what such a file is called among the modules


def is_custom_file(arch: str) -> bool:
    """Return whether ``arch`` is a function in a file, and not a network of the catalogue."""
    return arch.endswith(".py") or file_and_name(arch)[0].endswith(".py")


def recorded_name(arch: str) -> str:
    """Return the name of a network in checkpoints and runs: without folders, if it is from a file."""
    return re.split(r"[/\\]", arch)[-1] if is_custom_file(arch) else arch


def run_custom_file(arch: str) -> Builder:
    """Run a file and return the function in it that builds a network.

    Output of the file goes to stderr, because stdout is for results.

    Args:
        arch: ``path/to/file.py:function``, as the user named it; never a name from a checkpoint.

    Raises:
        ArchitectureError: The file or the function does not exist, or the file fails.
    """
    path, function = _split(arch)
    module = _run(path)
    builder: Builder | None = getattr(module, function, None)
    if not callable(builder):
        near = difflib.get_close_matches(function, [name for name in vars(module) if callable(getattr(module, name))])
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise ArchitectureError(f"{path} has no function named {function!r}.", hint=hint)
    return builder


def build_custom(
    builder: Builder, *, in_channels: int, num_classes: int, options: Mapping[str, Any], outputs: int | None = None
) -> nn.Module:
    """Build a network with a function of the user, and check the model contract on small images.

    Args:
        builder: The function; the names of its options are checked already.
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        options: Options of the function.
        outputs: Logits of the network, with those of objects; None if it has those of classes alone.

    Raises:
        ArchitectureError: The function takes other arguments or fails; or the network breaks the model contract.
    """
    given = {"in_channels": in_channels, "num_classes": num_classes, **options}
    name = getattr(builder, "__name__", type(builder).__name__)
    try:
        inspect.signature(builder).bind(**given)
    except TypeError as error:
        raise ArchitectureError(
            f"The function {name} cannot be called with {', '.join(given)}: {one_line(error)}.",
            hint=f"It takes them by keyword: def {name}(*, in_channels, num_classes), others with defaults.",
        ) from error
    except ValueError:
        pass  # written in C: the call will show
    with _told(f"The function {name} fails"), redirect_stdout(sys.stderr):
        model = builder(**given)
    check_contract(model, in_channels=in_channels, num_classes=outputs or num_classes)
    return model


def check_contract(model: Any, *, in_channels: int, num_classes: int) -> None:
    """Check the model contract by running a network on small images.

    Raises:
        ArchitectureError: The network is not a module of torch, it fails, or it does not return one tensor of finite
            logits at the size of the images, reproducibly.
    """
    import torch

    name = type(model).__name__
    if not isinstance(model, torch.nn.Module):
        raise ArchitectureError(f"The function returns {name}, not a module of torch.")
    where = next(iter(model.parameters()), torch.empty(0)).device
    model.eval()
    answers = []
    for height, width in ((_ODD, _ODD), (_ODD, _ODD), (_ODD, _EVEN)):
        values = torch.arange(in_channels * height * width, device=where, dtype=torch.float32)
        images = (values % 7 - 3).div(2).view(1, in_channels, height, width)
        shown = f"images of shape {(1, in_channels, height, width)}"
        with _told(f"The network {name} fails on {shown}"), redirect_stdout(sys.stderr), torch.no_grad():
            logits = model(images)
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if found != (expected := (1, num_classes, height, width)):
            raise ArchitectureError(
                f"The network {name} returns {found} for {shown}, not one tensor of logits {expected}."
            )
        if not logits.is_floating_point():
            kind = str(logits.dtype).removeprefix("torch.")
            raise ArchitectureError(f"The network {name} returns {kind} for {shown}, not logits.")
        if not logits.is_meta and not bool(logits.isfinite().all()):
            raise ArchitectureError(f"The network {name} returns NaN or infinity for {shown}, not finite logits.")
        answers.append(logits)
    if not answers[0].is_meta and not torch.equal(answers[0], answers[1]):
        raise ArchitectureError(
            f"The network {name} returns different logits for the same image in eval mode.",
            hint="Functional dropout needs training=self.training.",
        )
    model.train()


def _split(arch: str) -> tuple[Path, str]:
    path, function = file_and_name(arch)
    if not path or not function.isidentifier():
        raise ArchitectureError(f"{arch} names no function.", hint="Name it after a colon: path/to/file.py:function")
    if not Path(path).is_file():
        raise ArchitectureError(f"The file {path} does not exist.")
    return Path(path), function


def _run(path: Path) -> ModuleType:
    name = f"{_MODULE}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    vars(module)["print"] = _print_aside  # also in forward(), while a map goes to stdout
    try:
        with _told(f"{path} cannot be run"), redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except ArchitectureError:
        del sys.modules[name]
        raise
    return module


def _print_aside(*values: object, file: Any = None, **options: Any) -> None:
    print(*values, file=file or sys.stderr, **options)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise an error with the line of the user's code for any exception in it, including sys.exit()."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, SatsegError):
            raise
        raise ArchitectureError(f"{what}: {_named(error)}.", hint=_HINT) from error


def custom_code_failure(error: BaseException) -> str | None:
    """Return a message for an exception in a custom architecture; None for any other exception."""
    if isinstance(error, SatsegError | SyntaxError) or not _place(error):
        return None
    return f"The custom architecture failed: {_named(error)}."


@contextmanager
def custom_code_errors() -> Iterator[None]:
    """Turn exceptions in a custom architecture into errors of satseg; other exceptions pass.

    Raises:
        ArchitectureError: The custom architecture failed, or ended the program.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        told = custom_code_failure(error)
        if told is None:
            raise
        raise ArchitectureError(told, hint=_HINT) from error


def _named(error: BaseException) -> str:
    """Return the exception, and the line of the user's file."""
    if isinstance(error, SystemExit):
        return f"it ends the program (sys.exit){_place(error)}"
    text = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"{type(error).__name__}{_place(error)}" + (f": {text}" if text else "")


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if str(frame.f_globals.get("__name__")).startswith(_MODULE):
            return f" in line {line} of {Path(frame.f_code.co_filename).name}"
    return ""
