"""Choose the network of a training run that names none.

The rules follow measurements on ground that training had not seen: in nine minutes of two cores without bf16, a U-Net
on a pretrained ``tf_efficientnet_lite0`` reached a building IoU of 0.750, and ERFNet one of 0.663. A light decoder gave
worse maps in equal time (``docs/recipes.md``). Without pretrained weights, ERFNet led among five networks on a GPU, too
(``docs/results.md``).
"""

from __future__ import annotations

import logging

import torch

from satseg.backend import is_custom_file, packaged_weights
from satseg.backend.settings import AUTO_ARCH
from satseg.backend.weight_packages import EXTRA
from satseg.checkpoint import Checkpoint
from satseg.errors import CheckpointError
from satseg.training.settings import TrainSettings

log = logging.getLogger("satseg")

PLAIN = "erfnet"
"""Network without pretrained weights."""

ON_ENCODER = "unet"
"""Network that takes an encoder."""

_CPU_ENCODERS = ("tf_efficientnet_lite0",)
_GPU_ENCODERS = ("tf_efficientnet_lite2", "tf_efficientnet_lite1", "tf_efficientnet_lite0")


def choose_network(settings: TrainSettings, device: torch.device) -> TrainSettings:
    """Return settings with the name and options of a network in place of ``auto``, and log which and why.

    A checkpoint to start from decides first, then options such as ``encoder``, which are those of a U-Net. Else it is a
    U-Net on a pretrained encoder if an installed package has its weights, on a GPU the largest, and ERFNet otherwise.

    Args:
        settings: Settings of a new run.
        device: Device to train on.

    Raises:
        CheckpointError: The checkpoint cannot be read, or its network is defined in a Python file.
    """
    if settings.arch != AUTO_ARCH:
        return settings
    given = settings.network_options
    if settings.init_from is not None:
        arch, options = _of_checkpoint(str(settings.init_from))
        why = f"the network of {settings.init_from}"
    elif given:
        needs_encoder = "pretrained" in given and "encoder" not in given
        arch, options = ON_ENCODER, {"encoder": _encoders(device)[0]} if needs_encoder else {}
        why = f"it takes {', '.join(f'`{name}`' for name in given)}"
    else:
        arch, options, why = _for_device(device)
    encoder = (options | given).get("encoder")
    log.info("Network: %s%s (%s)", arch, f" on {encoder}" if encoder else "", why)
    return settings.changed(arch=arch, arch_options={**options, **(settings.arch_options or {})})


def _encoders(device: torch.device) -> tuple[str, ...]:
    """Return encoders for a device, best first."""
    return _CPU_ENCODERS if device.type == "cpu" else _GPU_ENCODERS


def _of_checkpoint(path: str) -> tuple[str, dict[str, object]]:
    card = Checkpoint.load(path).card
    if is_custom_file(card.arch):
        raise CheckpointError(
            f"{path} contains {card.arch}, a custom architecture, whose file runs only if it is named.",
            hint=f"Name the file: `arch='path/to/{card.arch}'`",
        )
    return card.arch, dict(card.arch_options)


def _for_device(device: torch.device) -> tuple[str, dict[str, object], str]:
    """Return name, options and reason of the network that gives the best map in equal time."""
    for encoder in _encoders(device):
        if found := packaged_weights(encoder):
            why = f"weights trained on {found.trained_on}, from {found.package}; the best maps in few minutes"
            return ON_ENCODER, {"encoder": encoder, "pretrained": True}, why
    return PLAIN, {}, f"without a pretrained encoder; better maps in less time: pip install '{EXTRA}'"
