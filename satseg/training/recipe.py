"""How a network is trained: all choices that change its weights, apart from the tiles, the budget and the machine."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from satseg.errors import UsageError
from satseg.signatures import check_fields
from satseg.training.augment import Augmentation, find_augmentation
from satseg.training.class_weights import CLASS_WEIGHTS
from satseg.training.loss import parse_loss
from satseg.training.optimizers import OPTIMIZERS
from satseg.training.schedule import SCHEDULES

_NAMES: Mapping[str, Sequence[str]] = {
    "class_weights": CLASS_WEIGHTS,
    "optimizer": tuple(OPTIMIZERS),
    "schedule": tuple(SCHEDULES),
    "val_split": ("val", "train", "test"),
}
_LEAST = {
    "batch_size": 1,
    "accumulate": 1,
    "weight_decay": 0,
    "encoder_rate": 0,
    "freeze_encoder": 0,
    "clip": 0,
    "patience": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class Recipe:
    """The choices of a run: what ``satseg train`` takes as options, its record and its checkpoints tell.

    Args:
        arch: Network.
        arch_options: Its options.
        init_from: Checkpoint whose weights the network starts from, so far as they fit; None starts afresh.
        batch_size: Tiles at a time on each device.
        accumulate: Batches whose gradients are averaged for one step.
        loss: What is minimised, as :func:`satseg.training.loss.parse_loss` reads it.
        class_weights: ``none``, ``inverse`` or ``median`` (median frequency), in the losses of single pixels.
        augment: How far samples may be changed.
        balance: Draw tiles so that every class comes alike, by the pixels that the index tells of each tile.
        optimizer: ``adamw`` or ``sgd``, with Nesterov's momentum.
        lr: Peak learning rate; None takes that of the optimiser.
        weight_decay: Of weights; norms and biases are not decayed.
        schedule: ``poly``, ``cosine``, ``one-cycle`` or ``constant``.
        warm_up: Share of the run in which the learning rate rises to its peak; None takes that of the schedule.
        encoder_rate: Factor on the learning rate of the encoder.
        freeze_encoder: Epochs in which the encoder is left as it is, running statistics included.
        freeze_norm: Leave the running statistics of batch norms as they are, and normalise by them.
        clip: Largest norm of the gradient; 0 does not clip.
        ema: Decay of the moving average of the weights, which is validated and saved as the best; 0 takes none.
        patience: Validations without a better score after which the run ends; 0 never ends it.
        val_split: Split whose tiles tell which weights are best: ``val``; ``train`` where there are no others.
        seed: Number that all random choices follow from.
        precision: As Lightning Fabric spells it.
        compile: Compile the network by ``torch.compile``.

    Raises:
        UsageError: A number is out of its range, or a name is not known.
    """

    arch: str = "erfnet"
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    init_from: str | None = None
    batch_size: int = 8
    accumulate: int = 1
    loss: str = "ce + dice"
    class_weights: str = "none"
    augment: Augmentation = field(default_factory=Augmentation)
    balance: bool = False
    optimizer: str = "adamw"
    lr: float | None = None
    weight_decay: float = 1e-2
    schedule: str = "poly"
    warm_up: float | None = None
    encoder_rate: float = 1.0
    freeze_encoder: float = 0.0
    freeze_norm: bool = False
    clip: float = 5.0
    ema: float = 0.0
    patience: int = 0
    val_split: str = "val"
    seed: int = 0
    precision: str = "32-true"
    compile: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name, known in _NAMES.items():
            _check_name(name, getattr(self, name), known)
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < math.inf:
                raise UsageError(f"The {_words(name)} {getattr(self, name):g} is below {least}, or infinite.")
        for name, share in (("ema", self.ema), ("warm_up", self.warm_up_fraction)):
            if not 0 <= share < 1:
                raise UsageError(f"The {_words(name)} {share:g} is not in 0..1, 1 excluded.")
        parse_loss(self.loss)
        if not 0 < self.peak_lr < math.inf:
            raise UsageError(f"The learning rate {self.peak_lr:g} is not above zero.")

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Recipe:
        """Make a recipe of choices by name; ``augment`` may be the name of a preset, or what differs from ``light``.

        Raises:
            UsageError: There is no such choice, or its value is not one.
        """
        for name in choices:
            _check_name("option", name, [part.name for part in fields(cls)])
        augment = choices.get("augment")
        if isinstance(augment, str):
            choices = {**choices, "augment": find_augmentation(augment)}
        elif isinstance(augment, Mapping):
            choices = {**choices, "augment": _augmentation(augment)}
        return cls(**choices)

    @property
    def peak_lr(self) -> float:
        """Highest learning rate."""
        return OPTIMIZERS[self.optimizer] if self.lr is None else self.lr

    @property
    def warm_up_fraction(self) -> float:
        """Share of the run in which the learning rate rises."""
        return SCHEDULES[self.schedule] if self.warm_up is None else self.warm_up

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {"lr": self.peak_lr, "warm_up": self.warm_up_fraction}


def _augmentation(changes: Mapping[str, Any]) -> Augmentation:
    for name in changes:
        _check_name("augmentation", name, [part.name for part in fields(Augmentation)])
    return Augmentation(**changes)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(known)}."
    raise UsageError(f"There is no {_words(what)} {name!r}.", hint=hint)
