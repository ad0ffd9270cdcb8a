"""Training recipe: the settings that the weights of a network depend on, in addition to tiles and budget."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Annotated, Any, Literal, Self

from satseg.arguments import Given, PathLike, number_or_auto, path, whole_or_auto
from satseg.backend.settings import AUTO_ARCH, Precision, Seed, architectures
from satseg.errors import UsageError
from satseg.settings import LOSS, OPTIMIZATION, WEIGHTS, Option, Settings
from satseg.training.augmentation import PRESETS, Augmentation, as_augmentation
from satseg.training.rates import RATES, SAMPLES, encoder_factor, peak_rate, warm_up

log = logging.getLogger("satseg")


class Recipe(Settings):
    """Settings that the weights of a network depend on. Runs and checkpoints record them; a resumed run keeps them."""

    arch: Annotated[
        str,
        Option(
            "Network: one that `satseg models` lists, or path/to/file.py:function, which runs that file. auto takes "
            "that of `init_from`; else unet on a pretrained encoder if the extra encoders is installed, and erfnet "
            "otherwise.",
            metavar="NAME",
            complete=architectures,
        ),
    ] = AUTO_ARCH
    arch_options: Annotated[
        Mapping[str, Any] | None, Option("Further options of the network, by name.", python_only=True)
    ] = None
    init_from: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Start from the weights of this checkpoint or run, as far as they fit: classes and bands may differ. "
            "sample is the network that comes with satseg.",
            metavar="MODEL",
            panel=WEIGHTS,
        ),
    ] = Given(path)
    lora: Annotated[
        int,
        Option(
            "Train factors of this rank on top of the attention of a frozen transformer encoder, such as 8; 0 turns "
            "this off.",
            metavar="RANK",
            panel=WEIGHTS,
            minimum=0,
        ),
    ] = 0
    batch_size: Annotated[
        Given[int | str | None, int | Literal["auto"] | None],
        Option(
            "Tiles per batch, on each device. auto chooses the largest batch that fits into memory, at most 64. "
            "Default: 8, or 32 on a GPU if its memory allows.",
            metavar="N|auto",
            minimum=1,
        ),
    ] = Given(whole_or_auto)
    accumulate: Annotated[
        int, Option("Batches whose gradients are accumulated per step.", panel=OPTIMIZATION, minimum=1)
    ] = 1
    loss: Annotated[
        str,
        Option(
            "Loss, a weighted sum such as ce + 0.5*dice. Losses: ce, dice, focal, jaccard, lovasz, ohem, relaxed, rmi, "
            "tversky; and boundary and distance of objects, whose factors are 1 unless they are given, or centre and "
            "offset with panoptic_deeplab (200 and 0.01).",
            metavar="SUM",
            panel=LOSS,
        ),
    ] = "ce + dice"
    objects: Annotated[
        bool | None,
        Option(
            "Learn the boundaries and cores of objects as well, or their centres with panoptic_deeplab, which "
            "`predict` turns into one polygon for each. "
            "Default: if the tile set keeps objects.",
            panel=LOSS,
        ),
    ] = None
    class_weights: Annotated[
        Literal["none", "inverse", "median"],
        Option(
            "Weights of classes in pixel losses: none, inverse (inverse class frequency) or median (median frequency "
            "balancing).",
            panel=LOSS,
        ),
    ] = "none"
    augment: Annotated[
        Given[str | Mapping[str, Any] | Augmentation | None, Augmentation | None],
        Option(
            "Augmentation: none, light (rotations by 90 degrees, flips, brightness, contrast), middle (most samples "
            "also rotated freely, scaled and shifted) or strong (gamma, noise, blur, dropped bands and CutMix as "
            "well). Default: middle if training starts from trained weights, else light.",
            metavar="none|light|middle|strong",
        ),
    ] = Given(as_augmentation)
    clip_values: Annotated[
        float,
        Option(
            "Standard deviations from the mean beyond which the extremes of a band are a heavy tail, such as echoes of "
            "radar or clouds. Such bands are normalised by their median and percentiles, and clipped there; 0 turns "
            "this off.",
            metavar="DEVIATIONS",
            panel=LOSS,
            minimum=0,
        ),
    ] = 8.0
    balance: Annotated[
        bool,
        Option("Sample tiles so that all classes occur equally often, by the pixel counts in the index.", panel=LOSS),
    ] = False
    optimizer: Annotated[
        Literal["adamw", "sgd"], Option("Optimizer; sgd uses Nesterov momentum.", panel=OPTIMIZATION)
    ] = "adamw"
    lr: Annotated[
        float | None,
        Option(
            "Peak learning rate. Default: that of the network (`satseg models`), mostly 0.003 for adamw and 0.01 for "
            "sgd with steps of 8 tiles. It changes with the tiles per step: with their square root for adamw, in "
            "proportion for sgd.",
            metavar="RATE",
            panel=OPTIMIZATION,
        ),
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
            "Fraction of the run in which the learning rate rises. Default: 0.05, 0.3 for one-cycle, or that of the "
            "network if it is larger.",
            metavar="FRACTION",
            panel=OPTIMIZATION,
        ),
    ] = None
    encoder_rate: Annotated[
        float | None,
        Option(
            "Factor on the learning rate of the encoder. Default: 0.1 with `pretrained` or `encoder_weights`, else 1.",
            metavar="FACTOR",
            panel=OPTIMIZATION,
            minimum=0,
        ),
    ] = None
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
        Given[float | str, float | Literal["auto"]],
        Option(
            "Decay of an exponential moving average of the weights, which is scored late in the run and kept if it is "
            "the best: auto averages over a tenth of the run, 0 turns it off.",
            metavar="auto|DECAY",
            panel=OPTIMIZATION,
        ),
    ] = Given(number_or_auto, "auto")
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
        bool | None,
        Option(
            "Compile the network with torch.compile, which takes minutes. Default: in long runs on a GPU of NVIDIA.",
            panel=OPTIMIZATION,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("clip_values", "weight_decay", "encoder_rate", "freeze_encoder", "clip"):
            if math.isinf(getattr(self, name) or 0.0):
                raise UsageError(f"`{name}` is infinite.")
        for name, fraction in (("ema", self.ema), ("warm_up", self.warm_up or 0.0)):
            if fraction != "auto" and not 0 <= fraction < 1:
                raise UsageError(f"`{name}` is {fraction:g}; it must be at least 0 and below 1.")
        if 0 < self.clip_values < 1:
            raise UsageError(f"`clip_values` is {self.clip_values:g}; it must be 0 or at least 1.")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise UsageError(f"`lr` is {self.lr:g}; it must be above 0 and finite.")
        if self.lora and self.freeze_encoder:
            raise UsageError(
                "`lora` freezes the encoder for the whole run; it cannot be combined with `freeze_encoder`.",
                hint="Leave out one of them.",
            )
        for name in ("in_channels", "num_classes", "objects"):
            if name in (self.arch_options or {}):
                raise UsageError(
                    f"`arch_options` has {name}, which follows from the tile set.",
                    hint="To learn no objects, set `objects=False`." if name == "objects" else "Leave it out.",
                )
        if self.loss != type(self).loss:
            from satseg.training.loss import parse_loss  # imports torch, which the default does without

            parse_loss(self.loss)

    @property
    def network_options(self) -> dict[str, Any]:
        """All options of the network, by name."""
        return dict(self.arch_options or {})

    @property
    def peak_lr(self) -> float:
        """Peak learning rate; where none is given, that of the network on one device."""
        samples = SAMPLES if self.batch_size == "auto" else (self.batch_size or SAMPLES) * self.accumulate
        return peak_rate(self.arch, self.optimizer, samples=samples) if self.lr is None else self.lr

    @property
    def warm_up_fraction(self) -> float:
        """Fraction of the run in which the learning rate rises."""
        return warm_up(self.arch, self.schedule) if self.warm_up is None else self.warm_up

    @property
    def encoder_factor(self) -> float:
        """Factor on the learning rate of the encoder."""
        return encoder_factor(self.arch, self.network_options) if self.encoder_rate is None else self.encoder_rate

    @property
    def augmentation(self) -> Augmentation:
        """Augmentation; where none is given, ``middle`` for a network that starts from trained weights, else ``light``.

        Trained weights soon fit the samples as they are; random ones first have to learn what objects look like, and
        samples that differ more slow them down in short runs.
        """
        if self.augment is not None:
            return self.augment
        options = self.network_options
        trained = self.init_from or options.get("pretrained") or options.get("encoder_weights")
        return PRESETS["middle" if trained else "light"]

    def resolved(self, samples: int) -> Self:
        """Return the recipe with the augmentation and the rates that it leaves to the network, and its warm-up.

        Args:
            samples: Samples per step, over all batches and devices.
        """
        lr = peak_rate(self.arch, self.optimizer, samples=samples) if self.lr is None else self.lr
        return self.changed(
            lr=lr, warm_up=self.warm_up_fraction, encoder_rate=self.encoder_factor, augment=self.augmentation
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe, without settings of subclasses, ready for JSON; None is left to the network."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(Recipe)}
        augment = None if self.augment is None else asdict(self.augment)
        return values | {"arch_options": self.network_options, "augment": augment}


def with_rates(recipe: Recipe, samples: int) -> Recipe:
    """Return a recipe with the rates for steps of so many samples, and log those that are not the usual ones."""
    resolved = recipe.resolved(samples)
    if recipe.lr is None and resolved.peak_lr != RATES[recipe.optimizer]:
        log.info(
            "The learning rate is %g: that of %s, for steps of %d samples.", resolved.peak_lr, recipe.arch, samples
        )
    if recipe.encoder_rate is None and resolved.encoder_factor != 1:
        log.info(
            "The encoder, which starts from trained weights, learns at %g of the learning rate.",
            resolved.encoder_factor,
        )
    return resolved
