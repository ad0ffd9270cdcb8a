"""A network with its optimiser and loss: one update, logits for validation, and the state that resuming needs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from satseg.backend import custom_code_errors
from satseg.backend.conv_gradients import fast_conv_gradients
from satseg.backend.nn.lora import add_lora, lora_state, merged_state, remove_lora, restore_lora
from satseg.classes import IGNORE_INDEX
from satseg.errors import TrainingError, UsageError
from satseg.objects import ObjectOutputs
from satseg.raster.bands import Normaliser, upload
from satseg.records import BandStatistics, Clipping
from satseg.training.averages import WeightAverage
from satseg.training.devices import gather, total_over
from satseg.training.loss import Loss
from satseg.training.optimizers import encoder_of, make_optimizer, optimizer_tensors, restore_optimizer, set_rate
from satseg.training.prepare import prepare
from satseg.training.recipe import Recipe
from satseg.training.sampling import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

OWN, EMA, AVERAGE = "weights", "ema", "average"
"""Sets of weights of a learner: those of the last step, their moving average, and the average over validations."""

_EXTREME = 1000.0  # standard deviations: beyond that lie undeclared nodata values, not measurements


class Learner:
    """A network, its optimiser and its loss, on the devices of a run.

    Args:
        model: The network; it is moved to the device.
        recipe: Training recipe.
        statistics: Band statistics of the training tiles.
        fabric: Devices and precision, already launched.
        class_weights: (K,) float32, or None.
        clipping: What normalises bands with heavy tails, or None.
        objects: What the network says of objects, if it learns them.

    Raises:
        UsageError: The recipe sets options of the encoder, but the network has no encoder.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        statistics: BandStatistics,
        fabric: Fabric,
        class_weights: np.ndarray | None = None,
        clipping: Clipping | None = None,
        objects: ObjectOutputs | None = None,
    ) -> None:
        self.recipe = recipe
        if fabric.world_size > 1 and fabric.device.type == "cuda" and not recipe.freeze_norm:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model.to(fabric.device).to(memory_format=torch.channels_last)
        self._encoder = self._find_encoder()
        if recipe.lora and self._encoder is not None:
            add_lora(self._encoder, recipe.lora, seed=recipe.seed)
        self.optimizer = make_optimizer(
            recipe.optimizer,
            self.model,
            lr=recipe.peak_lr,
            weight_decay=recipe.weight_decay,
            encoder_rate=1.0 if recipe.lora else recipe.encoder_factor,  # factors start from nothing
        )
        self._averages = {EMA: WeightAverage(self.model)} if recipe.ema else {}
        self._statistics, self._clipping = statistics, clipping
        self._fabric = fabric
        self._total = total_over(fabric.world_size)
        weights = None if class_weights is None else torch.from_numpy(class_weights)
        self._criterion = Loss(recipe.loss, weights, objects=objects, total=self._total)
        self._object_planes = objects.planes if objects else 0
        self._criterion.to(fabric.device)
        self._with_aux = hasattr(model, "forward_with_aux")
        self._conv_gradients = fast_conv_gradients(fabric.device, compiled=bool(recipe.compile))

    def setup(self) -> None:
        """Wrap the network for its devices and precision. Call it once, after :meth:`restore`."""
        if self.recipe.compile:
            for name in ("forward", "forward_with_aux"):
                if hasattr(self.model, name):
                    setattr(self.model, name, torch.compile(getattr(self.model, name)))
        self._network, self._optimizer = self._fabric.setup(self.model, self.optimizer)
        if self._with_aux:
            self._network.mark_forward_method("forward_with_aux")

    def update(self, batches: Sequence[Batch], *, step: int, epoch: float, lr: float, decay: float = 0.0) -> float:
        """Do one optimiser update with the mean gradient of the batches.

        Args:
            batches: The batches of this process.
            step: Updates done before.
            epoch: Passes over the data done before.
            lr: Learning rate.
            decay: Weight of the previous moving average in the new one.

        Returns:
            The mean loss over all devices.

        Raises:
            TrainingError: The loss is not finite.
        """
        torch.manual_seed(_seed_of(self.recipe.seed, step, self._fabric.global_rank))  # dropout
        set_rate(self._optimizer, lr)
        self._network.train()
        frozen = self._freeze(epoch)
        self._optimizer.zero_grad()
        value = 0.0
        for number, batch in enumerate(batches, start=1):
            synced = self._fabric.no_backward_sync(self._network, enabled=number < len(batches))
            with custom_code_errors(), synced:
                value += self._backward(batch, len(batches), step)
        for parameter in frozen:
            parameter.grad = None
        if self.recipe.clip:
            self._fabric.clip_gradients(
                self._network, self._optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
            )
        self._optimizer.step()
        if EMA in self._averages:
            self._averages[EMA].add(1 - decay)
        return value

    def logits(self, bands: np.ndarray, valid: np.ndarray) -> Tensor:
        """Return the logits (N, K, S, S) of raw values (N, C, S, S) and valid (N, S, S), in the training precision.

        They are those of the classes, whether the network learns objects or not.
        """
        device = self._fabric.device
        normalise = Normaliser(self._statistics, device, self._clipping)
        images = normalise(upload(bands, device), torch.from_numpy(valid).to(device))
        images = images.contiguous(memory_format=torch.channels_last)
        with custom_code_errors(), self._fabric.autocast():
            logits: Tensor = self._of_classes(self.model(images))
        return logits.float()

    @property
    def averages(self) -> tuple[str, ...]:
        """The averages that there are, of `EMA` and `AVERAGE`."""
        return tuple(self._averages)

    def average_validations(self, count: int) -> None:
        """Add the current weights to the average over validations.

        Args:
            count: Validations in that average; with 0, the average is dropped.
        """
        if not count:
            self._averages.pop(AVERAGE, None)
            return
        if AVERAGE not in self._averages:
            self._averages[AVERAGE] = WeightAverage(self.model)
        self._averages[AVERAGE].add(1 / count)

    @contextmanager
    def holding(self, weights: str) -> Iterator[nn.Module]:
        """Yield the network in eval mode with one of its sets of weights, `OWN` or one of :attr:`averages`."""
        self.model.eval()
        with nullcontext() if weights == OWN else self._averages[weights].in_place():
            yield self.model

    def weights(self) -> dict[str, Tensor]:
        """Return the current weights of the network by name, those of LoRA added to the layers that they adapt."""
        return merged_state(self.model)

    def load_final(self, weights: Mapping[str, Tensor]) -> None:
        """Load what :meth:`weights` returned at some step, to draw its tiles; training ends here."""
        remove_lora(self.model)
        self.model.load_state_dict(weights)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that resuming needs in addition to the weights."""
        parts = {"optimizer": optimizer_tensors(self.optimizer), "lora": lora_state(self.model)}
        parts |= {name: average.tensors() for name, average in self._averages.items()}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def values(self) -> dict[str, Any]:
        """Return the values that resuming needs in addition to tensors, ready for JSON."""
        scaler = self._scaler()
        return {} if scaler is None else {"scaler": scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Restore what :meth:`tensors` and :meth:`values` returned; the model has its weights already."""
        parts: dict[str, dict[str, Tensor]] = {"optimizer": {}, "lora": {}, EMA: {}, AVERAGE: {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        restore_lora(self.model, parts["lora"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        if parts[AVERAGE]:
            self._averages[AVERAGE] = WeightAverage(self.model)
        for name, average in self._averages.items():
            average.restore(parts[name])
        if scaler := self._scaler():
            scaler.load_state_dict(copy.deepcopy(dict(values["scaler"])))

    def _backward(self, batch: Batch, parts: int, step: int) -> float:
        """Accumulate the gradient of one batch.

        Args:
            batch: One of the batches of a step.
            parts: Number of batches in the step.
            step: Updates done before.

        Returns:
            The contribution of the batch to the loss of the step.
        """
        images, targets, objects = prepare(batch, self._statistics, self._fabric.device, clipping=self._clipping)
        with self._conv_gradients:
            loss = self._loss(images, targets, objects) / parts
        self._fabric.backward(loss)
        value = float(loss.detach())
        if not math.isfinite(value):  # the same in every process: it is the loss over all of them
            names = gather(_extreme_tiles(batch, images)) or gather(batch.names)
            raise TrainingError(
                f"The loss is {value} at step {step + 1}, on the tiles {', '.join(names)}.",
                hint=f"Lower the learning rate, `lr={self.recipe.peak_lr:g}`, and check the values of these tiles. "
                "Large values overflow with `precision='fp16'`: use 'bf16' or 'fp32' instead.",
            )
        return value

    def _loss(self, images: Tensor, targets: Tensor, objects: Tensor) -> Tensor:
        if not self._with_aux:
            loss: Tensor = self._criterion(self._network(images), targets, objects)
            return loss
        logits, outputs = self._network.forward_with_aux(images)
        outputs = {  # auxiliary classifiers have as many outputs as the network, but learn classes alone
            name: self._of_classes(part) if part.shape[1] == logits.shape[1] else part for name, part in outputs.items()
        }
        aux_loss: Callable[..., Tensor] = getattr(self.model, "aux_loss")  # noqa: B009 - nn.Module types it as Tensor
        # aux_loss is a mean over the labelled pixels of this device; weigh it to get the mean over all devices.
        counted = (targets != IGNORE_INDEX).sum().float()
        aux = self._total(aux_loss(outputs, targets) * counted) / self._total(counted).clamp(min=1)
        return self._criterion(logits, targets, objects) + aux

    def _of_classes(self, logits: Tensor) -> Tensor:
        """Return logits without those of objects."""
        return logits[:, : logits.shape[1] - self._object_planes]

    def _find_encoder(self) -> nn.Module | None:
        recipe = self.recipe
        if not recipe.freeze_encoder and not recipe.lora and recipe.encoder_factor == 1:
            return None
        encoder = encoder_of(self.model)
        if encoder is None:
            raise UsageError(
                f"The network {recipe.arch} has no encoder that could be frozen or have its own learning rate.",
                hint="Leave `encoder_rate`, `freeze_encoder` and `lora` out.",
            )
        return encoder

    def _freeze(self, epoch: float) -> list[nn.Parameter]:
        """Freeze norms and encoder as the recipe says, and return the frozen parameters. Call it after ``train()``."""
        if self.recipe.freeze_norm:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        if self._encoder is not None and self.recipe.lora:
            self._encoder.eval()
        if self._encoder is None or not self.recipe.freeze_encoder:
            return []
        frozen = epoch < self.recipe.freeze_encoder
        if frozen:
            self._encoder.eval()
        if self._fabric.world_size == 1:  # data parallel training waits for the gradients of all parameters
            self._encoder.requires_grad_(not frozen)
        return list(self._encoder.parameters()) if frozen else []

    def _scaler(self) -> torch.amp.GradScaler | None:
        precision = self._fabric.strategy.precision
        scaler: torch.amp.GradScaler | None = getattr(precision, "scaler", None)
        return scaler


def _seed_of(seed: int, step: int, rank: int) -> int:
    entropy = (seed, step, rank) if rank else (seed, step)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1


def _extreme_tiles(batch: Batch, images: Tensor) -> list[str]:
    """Return the tiles with values that are not finite or extremely far from the mean."""
    largest = images.flatten(1).abs().amax(dim=1).cpu()
    return [name for name, value in zip(batch.names, largest.tolist(), strict=True) if not value < _EXTREME]
