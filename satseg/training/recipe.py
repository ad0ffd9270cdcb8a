"""Training recipe: the settings that the weights of a network depend on, in addition to tiles and budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal

from satseg.arguments import Given, PathLike, path, whole_or_auto
from satseg.backend.settings import Arch, Precision, Seed
from satseg.errors import UsageError
from satseg.settings import LOSS, OPTIMIZATION, WEIGHTS, Option, Settings
from satseg.training.augmentation import Augmentation, as_augmentation
from satseg.training.schedule import SCHEDULES

PEAK_RATES = {"adamw": 3e-3, "sgd": 1e-2}
"""Default peak learning rate of each optimiser."""


class Recipe(Settings):
    """Settings that the weights of a network depend on. Runs and checkpoints record them; a resumed run keeps them."""

    arch: Arch = "erfnet"
    arch_options: Annotated[
        Mapping[str, Any] | None, Option("Further options of the network, by name.", python_only=True)
    ] = None
    init_from: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Start from the weights of this checkpoint or run, as far as they fit: classes and bands may differ.",
            metavar="MODEL",
            panel=WEIGHTS,
        ),
    ] = Given(path)
    batch_size: Annotated[
        Given[int | str, int | Literal["auto"]],
        Option(
            "Tiles per batch, on each device. auto chooses the largest batch that fits into memory, at most 64.",
            metavar="N|auto",
            minimum=1,
        ),
    ] = Given(whole_or_auto, 8)
    accumulate: Annotated[
        int, Option("Batches whose gradients are accumulated per step.", panel=OPTIMIZATION, minimum=1)
    ] = 1
    loss: Annotated[
        str,
        Option(
            "Loss, a weighted sum such as ce + 0.5*dice. Losses: ce, dice, focal, jaccard, lovasz, ohem, relaxed, "
            "tversky.",
            metavar="SUM",
            panel=LOSS,
        ),
    ] = "ce + dice"
    class_weights: Annotated[
        Literal["none", "inverse", "median"],
        Option(
            "Weights of classes in pixel losses: none, inverse (inverse class frequency) or median (median frequency "
            "balancing).",
            panel=LOSS,
        ),
    ] = "none"
    augment: Annotated[
        Given[str | Mapping[str, Any] | Augmentation, Augmentation],
        Option(
            "Augmentation: none, light (rotations by 90 degrees, flips, brightness, contrast) or strong (free rotation "
            "and scale, gamma, noise, blur, dropped bands and CutMix as well).",
            metavar="none|light|strong",
        ),
    ] = Given(as_augmentation, Augmentation())
    balance: Annotated[
        bool,
        Option("Sample tiles so that all classes occur equally often, by the pixel counts in the index.", panel=LOSS),
    ] = False
    optimizer: Annotated[
        Literal["adamw", "sgd"], Option("Optimizer; sgd uses Nesterov momentum.", panel=OPTIMIZATION)
    ] = "adamw"
    lr: Annotated[
        float | None,
        Option("Peak learning rate. Default: 0.003 for adamw, 0.01 for sgd.", metavar="RATE", panel=OPTIMIZATION),
    ] = None
    weight_decay: Annotated[
        float,
        Option("Weight decay; biases and norms have none.", metavar="DECAY", panel=OPTIMIZATION, minimum=0),
    ] = 1e-2
    schedule: Annotated[
        Literal["poly", "cosine", "one-cycle", "constant"],
        Option(
            "Schedule of the learning rate: poly, cosine, one-cycle or constant.", metavar="NAME", panel=OPTIMIZATION
        ),
    ] = "poly"
    warm_up: Annotated[
        float | None,
        Option(
            "Fraction of the run in which the learning rate rises. Default: 0.05, or 0.3 for one-cycle.",
            metavar="FRACTION",
            panel=OPTIMIZATION,
        ),
    ] = None
    encoder_rate: Annotated[
        float,
        Option(
            "Factor on the learning rate of the encoder, such as 0.1 for a pretrained one.",
            metavar="FACTOR",
            panel=OPTIMIZATION,
            minimum=0,
        ),
    ] = 1.0
    freeze_encoder: Annotated[
        float,
        Option("Epochs during which the encoder is frozen.", metavar="EPOCHS", panel=OPTIMIZATION, minimum=0),
    ] = 0.0
    freeze_norm: Annotated[bool, Option("Freeze the running statistics of batch norms.", panel=OPTIMIZATION)] = False
    clip: Annotated[
        float,
        Option("Maximum norm of the gradient; 0 turns clipping off.", metavar="NORM", panel=OPTIMIZATION, minimum=0),
    ] = 5.0
    ema: Annotated[
        float,
        Option(
            "Decay of an exponential moving average of the weights, such as 0.999, which is validated and saved as the "
            "best checkpoint; 0 turns it off.",
            metavar="DECAY",
            panel=OPTIMIZATION,
        ),
    ] = 0.0
    patience: Annotated[
        int,
        Option("Stop after N validations without a better score; 0 turns this off.", panel=OPTIMIZATION, minimum=0),
    ] = 0
    val_split: Annotated[
        Literal["val", "train", "test"],
        Option(
            "Split that selects the best checkpoint. train and test give optimistic scores: use them only if there is "
            "no other split.",
            panel=LOSS,
        ),
    ] = "val"
    seed: Seed = 0
    precision: Precision = "auto"
    compile: Annotated[
        bool, Option("Compile the network with torch.compile, for long runs on a GPU.", panel=OPTIMIZATION)
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("weight_decay", "encoder_rate", "freeze_encoder", "clip"):
            if math.isinf(getattr(self, name)):
                raise UsageError(f"`{name}` is infinite.")
        for name, fraction in (("ema", self.ema), ("warm_up", self.warm_up_fraction)):
            if not 0 <= fraction < 1:
                raise UsageError(f"`{name}` is {fraction:g}; it must be at least 0 and below 1.")
        if not 0 < self.peak_lr < math.inf:
            raise UsageError(f"`lr` is {self.peak_lr:g}; it must be above 0 and finite.")
        if self.loss != type(self).loss:
            from satseg.training.loss import parse_loss  # imports torch, which the default does without

            parse_loss(self.loss)

    @property
    def network_options(self) -> dict[str, Any]:
        """All options of the network, by name."""
        return dict(self.arch_options or {})

    @property
    def peak_lr(self) -> float:
        """Peak learning rate."""
        return PEAK_RATES[self.optimizer] if self.lr is None else self.lr

    @property
    def warm_up_fraction(self) -> float:
        """Fraction of the run in which the learning rate rises."""
        return SCHEDULES[self.schedule] if self.warm_up is None else self.warm_up

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe, without settings of subclasses, ready for JSON."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(Recipe)}
        resolved = {"arch_options": self.network_options, "lr": self.peak_lr, "warm_up": self.warm_up_fraction}
        return values | resolved | {"augment": asdict(self.augment)}
