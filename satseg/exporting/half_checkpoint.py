"""Checkpoints with weights in half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from satseg.checkpoint import Checkpoint, save_checkpoint
from satseg.exporting.subject import Subject
from satseg.inference.network import Network


def write_half_checkpoint(path: Path, subject: Subject) -> None:
    """Write a checkpoint with the same card, whose weights are in half precision; it takes half the bytes.

    Raises:
        CheckpointError: Its weights cannot be read.
    """
    weights = subject.checkpoint.read_weights()
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    save_checkpoint(path, halved, subject.checkpoint.card)


def open_half_checkpoint(path: Path, subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a checkpoint as ``predict`` does, in float32."""
    network = Network.from_checkpoint(
        Checkpoint.load(path), device=torch.device("cpu"), precision="32-true", builder=subject.builder
    )

    def run(images: np.ndarray) -> np.ndarray:
        valid = np.ones((len(images), *images.shape[2:]), dtype=bool)
        found: np.ndarray = network.probabilities(images, valid).numpy()
        return found

    return run
