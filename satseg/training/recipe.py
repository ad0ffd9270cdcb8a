"""How a network is trained: all choices that change its weights, apart from the tiles and the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from satseg.errors import UsageError
from satseg.training.augment import Augmentation
from satseg.training.class_weights import CLASS_WEIGHTS
from satseg.training.loss import parse_loss


@dataclass(frozen=True)
class Recipe:
    """The choices of a run.

    Args:
        arch: Network.
        arch_options: Its options.
        batch_size: Tiles of a step.
        lr: Peak learning rate.
        weight_decay: Of AdamW; norms and biases are not decayed.
        loss: What is minimised, as :func:`satseg.training.loss.parse_loss` reads it.
        class_weights: ``none``, ``inverse`` or ``median``, in the losses of single pixels.
        augmentation: How far samples may be changed.
        seed: Number that all random choices follow from.
        precision: As Lightning Fabric spells it.

    Raises:
        UsageError: A number is out of its range, or there is no such class weighting.
    """

    arch: str
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 8
    lr: float = 3e-3
    weight_decay: float = 1e-2
    loss: str = "ce + dice"
    class_weights: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"A batch needs 1 tile or more, not {self.batch_size}.")
        if not self.lr > 0:
            raise UsageError(f"The learning rate {self.lr:g} is not above zero.")
        for name in ("weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"The {name.replace('_', ' ')} {getattr(self, name):g} is below zero.")
        parse_loss(self.loss)
        if self.class_weights not in CLASS_WEIGHTS:
            raise UsageError(
                f"There is no class weighting {self.class_weights!r}.",
                hint=f"Choose from {', '.join(CLASS_WEIGHTS)}.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)
