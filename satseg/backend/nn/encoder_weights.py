"""Initial weights of an encoder: downloaded by timm, or read from a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from satseg.errors import ArchitectureError, one_line

log = logging.getLogger("satseg")


def load_weights(name: str, make: Callable[..., nn.Module], plain: nn.Module, path: str | None) -> nn.Module:
    """Build an encoder with weights; those of the first layer are adapted to its bands.

    Args:
        name: Name of the encoder in timm, for messages.
        make: ``timm.create_model`` with all but the arguments that concern weights.
        plain: The encoder without weights, on any device.
        path: File with weights as timm names them; None downloads those of timm.

    Raises:
        ArchitectureError: The weights cannot be loaded, or are not those of this encoder.
    """
    if path is None:
        log.info("Downloading the weights of the encoder %s, unless they are in the cache", name)
        source = f"The weights of the encoder {name}"
        options = {}
    else:
        source = f"The weights in {path}"
        options = {"pretrained_cfg_overlay": {"state_dict": _read(path, name, plain)}}
    try:
        with _quiet("timm"), _quiet("huggingface_hub"):  # they repeat the message on stderr
            return make(pretrained=True, **options)
    except OSError as error:
        raise ArchitectureError(
            f"{source} cannot be loaded: {one_line(error)}.",
            hint="Pass a file with weights of this encoder as `encoder_weights`, or train without `pretrained`.",
        ) from error
    except RuntimeError as error:
        first = " ".join(line.strip() for line in str(error).splitlines()[:2]).rstrip(".")  # of one line per tensor
        raise ArchitectureError(f"{source} cannot be used: {first}.") from error


def _read(path: str, name: str, plain: nn.Module) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    if not Path(path).is_file():
        raise ArchitectureError(f"The file {path} does not exist.")
    try:
        state: dict[str, Tensor] = load_state_dict(path, weights_only=True)
        finite = {key: bool(tensor.float().isfinite().all()) for key, tensor in state.items()}
    except Exception as error:  # readers of pickles, archives and tensors raise all kinds
        raise ArchitectureError(
            f"{path} contains no readable weights.", hint="Use .safetensors, or .pth that contains only tensors."
        ) from error
    if not all(finite.values()):
        wrong = next(key for key, fine in finite.items() if not fine)
        raise ArchitectureError(f"The weights in {path} are not finite: {wrong} contains NaN or infinite values.")
    # timm loads the weights whose names match and ignores the rest: a file of another network would go unnoticed.
    held = {_flat(key) for key in state}
    odd = [key for key, tensor in state.items() if not tensor.is_floating_point() and "num_batches" not in key]
    if odd:
        raise ArchitectureError(
            f"The weights in {path} are not floating-point numbers: {odd[0]} is {state[odd[0]].dtype}."
        )
    lacking = [key for key in plain.state_dict() if _flat(key) not in held and "num_batches" not in key]
    if lacking:
        raise ArchitectureError(f"{path} does not contain the weights of {name}: it lacks {lacking[0]}.")
    return state


def _flat(key: str) -> str:
    """Return a name that is the same in a network of timm and in the extractor of its features."""
    return key.removeprefix("model.").replace(".", "_")


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
