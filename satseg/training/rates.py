"""Learning rates where none are given: those of the network, for the optimiser and the number of samples in a step.

The head of a network's docstring names its peak rate for AdamW and steps of eight samples (``backend/catalogue.py``).
SGD takes it in the proportion of the two defaults in :data:`RATES`. With other steps the rate follows the noise of the
gradient: with the square root of the number of samples for AdamW (Malladi et al., "On the SDEs and Scaling Rules for
Adaptive Gradient Algorithms", NeurIPS 2022, section 4), in proportion to it for SGD (Goyal et al., "Accurate, Large
Minibatch SGD", 2017, section 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from satseg.backend.catalogue import Architecture, read_catalogue
from satseg.training.schedule import SCHEDULES

RATES = {"adamw": 3e-3, "sgd": 1e-2}
"""Peak learning rate of each optimiser for networks that name none, with steps of :data:`SAMPLES` samples."""

SAMPLES = 8
"""Samples per step, over all batches and devices, for which rates are stated."""

PRETRAINED = 0.1
"""Factor on the rate of an encoder that starts from trained weights."""


def peak_rate(arch: str, optimizer: str, *, samples: int = SAMPLES) -> float:
    """Return the peak learning rate of a network, to three digits.

    Args:
        arch: The network; one that is not in the catalogue gets the default of the optimiser.
        optimizer: ``adamw`` or ``sgd``.
        samples: Samples per step, over all batches and devices.
    """
    network = _listed(arch)
    rate = RATES[optimizer] * (network.rate / RATES["adamw"] if network else 1.0)
    growth = samples / SAMPLES
    return float(f"{rate * (growth if optimizer == 'sgd' else math.sqrt(growth)):.3g}")


def warm_up(arch: str, schedule: str) -> float:
    """Return the fraction of a run in which the rate rises: that of the schedule, or of the network if it is larger."""
    network = _listed(arch)
    return max(SCHEDULES[schedule], (network and network.warm_up) or 0.0)


def encoder_factor(arch: str, options: Mapping[str, Any]) -> float:
    """Return the factor on the rate of the encoder: below 1 if it starts from trained weights.

    Args:
        arch: The network; nothing is known of the encoder of one that is not in the catalogue: it learns as the rest.
        options: Options of the network, by name.
    """
    trained = options.get("pretrained") or options.get("encoder_weights")
    return PRETRAINED if trained and _listed(arch) else 1.0


def _listed(arch: str) -> Architecture | None:
    entry = read_catalogue().get(arch)
    return entry.architecture if entry else None
