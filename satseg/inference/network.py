"""A network ready for inference: on its device, in its precision, with its normalisation, in all its views."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from satseg.backend import Builder, custom_code_errors, find_architecture
from satseg.backend.device import autocast
from satseg.checkpoint import Checkpoint, shared_outputs
from satseg.classes import ClassTable
from satseg.errors import ArchitectureError, CheckpointError, UsageError, one_line
from satseg.exported.model import OnnxModel
from satseg.inference.views import Orientation, Views, mean, resize
from satseg.objects import ObjectOutputs
from satseg.raster.bands import Normaliser, upload
from satseg.raster.scales import Conversion
from satseg.raster.values import ValueRange
from satseg.records import BandStatistics, Clipping

_MOST_STRIDE = 32  # some networks pool further, for context that has no fine grain

GSD_TOLERANCE = 1.1
"""Factor by which pixels may be larger or smaller than in training."""


@dataclass(frozen=True, eq=False)
class Member:
    """One of the models that are averaged.

    Args:
        model: Normalised images (N, C, H, W) float32 to logits (N, K, H, W), on the network's device; those of objects
            follow if it has learnt them.
        forward: The model, or what a compiler made of it.
        normalise: Raw values to what this model was trained on.
        channels: Bands of its images.
    """

    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    normalise: Normaliser
    channels: int


class Network:
    """Turn raw windows into class probabilities. Several threads may do so at once.

    Args:
        model: Any module that obeys the model contract: (N, C, H, W) float32 to logits (N, K, H, W).
        classes: Class table of its logits; those of objects, which may follow, are left out unless they are asked for.
        statistics: What its images are normalised with.
        clipping: What normalises bands with heavy tails, or None.
        device: Where it runs.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        views: Orientations and scales in which it sees each window.
        compile: Whether torch compiles it, at the first window of each size.
        objects: What it says of objects behind the probabilities: boundary and distance, or heat of centres, all in
            0..1; offsets to centres follow in pixels of the window. None leaves it out.

    Attributes:
        outputs: Planes of its result: one for each class, and those of objects.
        shares: How many of these, the first ones, are shares in 0..1, which are averaged over views, and cross-faded
            where windows overlap; offsets are not.
        window: Side of the windows it must be given, or None where any size will do.
        stride: Pixels per cell of its coarsest features, at most 32. Windows that begin at multiples of it cut the
            scene into the same cells, and agree.
        global_context: Whether each pixel sees its whole window, so that windows should be as large as training tiles.
        conversion: What raw values are converted by before they are normalised, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: ClassTable,
        statistics: BandStatistics,
        clipping: Clipping | None = None,
        device: torch.device,
        precision: str = "32-true",
        views: Views | None = None,
        compile: bool = False,
        objects: ObjectOutputs | None = None,
    ) -> None:
        self.classes = classes
        self.objects = objects
        self.outputs = len(classes) + (objects.planes if objects else 0)
        self.shares = len(classes) + (objects.shares if objects else 0)
        self.device = device
        self.precision = precision
        self.views = views or Views()
        self.window: int | None = None
        self.stride = _MOST_STRIDE
        self.global_context = False
        self.conversion: Conversion | None = None
        self._compile = compile
        self._members: list[Member] = []
        self.add(model, statistics, clipping)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *others: Checkpoint,
        device: torch.device,
        precision: str,
        views: Views | None = None,
        compile: bool = False,
        objects: bool = False,
        builder: Builder | None = None,
    ) -> Self:
        """Build the network of a checkpoint, or of several that are averaged.

        Args:
            checkpoint: What to build.
            others: More of the same bands and classes.
            device: Where it runs.
            precision: As for the class, like all that is not listed here.
            views: As for the class.
            compile: As for the class.
            objects: Whether it says something of objects, too.
            builder: Function that builds the networks that were trained from an own file.

        Raises:
            CheckpointError: Their bands, class tables, pixel sizes or fixed windows differ, one cannot be built, or
                they have not all learnt the same about objects that are asked for.
        """
        for other in others:
            _check_agree(checkpoint, other)
        network = cls(
            checkpoint.build_model(builder if not others or checkpoint.needs_builder else None),
            classes=checkpoint.card.classes,
            statistics=checkpoint.card.statistics,
            clipping=checkpoint.card.clipping,
            device=device,
            precision=precision,
            views=views,
            compile=compile,
            objects=shared_outputs((checkpoint, *others)) if objects else None,
        )
        for other in others:
            model = other.build_model(builder if other.needs_builder else None)
            network.add(model, other.card.statistics, other.card.clipping)
        network.stride = max(_stride(one.card.arch) for one in (checkpoint, *others))
        return network

    def add(self, model: nn.Module, statistics: BandStatistics, clipping: Clipping | None = None) -> None:
        """Average with another model from now on; it has the same bands and classes, and a normalisation of its own.

        Raises:
            CheckpointError: It needs windows of another size.
        """
        window: int | None = getattr(model, "window", None)
        if self.window and window and self.window != window:
            raise CheckpointError(
                f"The networks cannot be averaged: they need windows of {self.window} and {window} px."
            )
        self.window = self.window or window
        self.global_context |= has_global_context(model)
        model = model.eval().to(self.device).to(memory_format=torch.channels_last)
        forward = _compiled(model) if self._compile else model
        self._members.append(
            Member(model, forward, Normaliser(statistics, self.device, clipping), len(statistics.mean))
        )

    def resampled(self, rows: float, columns: float) -> Self:
        """Return the same network for a scene of other pixels: their size over that in training, along each axis."""
        return self._with(views=replace(self.views, resample=(rows, columns)))

    def converted(self, conversion: Conversion) -> Self:
        """Return the same network for a scene whose raw values have another scale or offset than in training."""
        if conversion.changes_nothing:
            return self
        members = [replace(m, normalise=m.normalise.after(conversion)) for m in self._members]
        return self._with(_members=members, conversion=conversion)

    def on_other_machine(self, device: torch.device) -> Self:
        """Return a stand-in for the same network on a device of another machine, not to be run here."""
        return self._with(device=device)

    def eager(self) -> Self:
        """Return the same network without compilation."""
        return self._with(_members=[replace(member, forward=member.model) for member in self._members])

    @property
    def members(self) -> tuple[Member, ...]:
        """The models that are averaged."""
        return tuple(self._members)

    @property
    def values(self) -> ValueRange:
        """Raw values of a scene that count as measured, for all models."""
        return ValueRange.shared(member.normalise.values for member in self._members)

    @property
    def channels(self) -> int:
        """Bands of the images."""
        return self._members[0].channels

    @property
    def uses_onnx(self) -> bool:
        """Whether onnxruntime computes one of the models, in memory that torch does not see."""
        return any(isinstance(member.model, OnnxModel) for member in self._members)

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that compute it, by name."""
        if not self.uses_onnx:
            return {"torch": torch.__version__}
        import onnxruntime

        return {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}

    def probabilities(self, images: np.ndarray, valid: np.ndarray) -> Tensor:
        """Upload a batch of windows and classify it, as the two methods below do.

        Args:
            images: (N, C, H, W) raw values in the dtype of the scene.
            valid: (N, H, W) bool; what is not valid is given the training mean.

        Returns:
            As :meth:`classify`.
        """
        return self.classify(*self.upload(images, valid))

    @torch.inference_mode()
    def upload(self, images: np.ndarray, valid: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Copy a batch of windows to the device as it is; on a GPU, in the current stream and without waiting.

        Args:
            images: (N, C, H, W) raw values in the dtype of the scene.
            valid: (N, H, W) bool; what is not valid is given the training mean.

        Returns:
            Raw values, and valid pixels or None where all are.
        """
        return self._upload(images), None if valid.all() else self._upload(valid)

    @torch.inference_mode()
    def classify(self, raw: Tensor, mask: Tensor | None) -> Tensor:
        """Run the network on a batch of windows: the mean over all models, scales and orientations.

        Args:
            raw: (N, C, H, W) raw values on the device.
            mask: (N, H, W) bool on the device, None where all pixels are valid.

        Returns:
            (N, K, H, W) float32 on the network's device, in 0..1, summing to 1 over K; what it says of objects follows,
            offsets as the first model sees them in the first scale and orientation. The caller's to overwrite. NaN in
            the first class, at least, where the output of a model is not finite.
        """
        return mean(self._members_views(raw, mask), self.shares)

    def _members_views(self, raw: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
        """Yield the probabilities of each model at each scale, over all orientations, in the size of the windows."""
        height, width = raw.shape[-2:]
        for member in self._members:
            inputs = member.normalise(raw, mask)
            for size in self.views.sizes(height, width):
                seen = resize(inputs, size)
                turned = (self._oriented(member, seen, orientation) for orientation in self.views.orientations)
                found = resize(mean(turned, self.shares), (height, width))
                if self.shares < self.outputs:  # offsets are lengths: they grow with the window
                    growth = [new / old for new, old in zip((height, width), size, strict=True)]
                    found[:, self.shares :] *= found.new_tensor(growth).view(1, 2, 1, 1)
                yield found

    def _oriented(self, member: Member, images: Tensor, orientation: Orientation) -> Tensor:
        turned = orientation.turn(images).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.precision), custom_code_errors():
            logits = member.forward(turned)
        # Rows together first: in half precision that moves half the bytes, and softmax would do it anyway.
        logits = logits[:, : self.outputs].contiguous().float()
        classes = len(self.classes)
        shares = logits[:, :classes].softmax(dim=1)
        if self.objects is ObjectOutputs.EDGES:
            shares = torch.cat([shares, logits[:, classes:].sigmoid()], dim=1)
        elif self.objects is ObjectOutputs.CENTRES:
            # Offsets stay as they are: those of the first orientation count, which turns nothing.
            shares = torch.cat([shares, logits[:, classes : self.shares].clamp(0, 1), logits[:, self.shares :]], dim=1)
        # Softmax turns -inf into a plain 0: what is not finite anywhere is NaN in the first class from here on.
        shares[:, 0] += logits.sum(dim=1) * 0
        return orientation.turn_back(shares)

    def _upload(self, array: np.ndarray) -> Tensor:
        """Copy to the device in the array's own dtype; the processor does not wait for a GPU to take it."""
        if self.device.type == "cuda":
            return torch.from_numpy(array).pin_memory().to(self.device, non_blocking=True)
        return upload(array, self.device)

    def _with(self, **changes: object) -> Self:
        changed = copy.copy(self)
        vars(changed).update(changes)
        return changed


def _stride(arch: str) -> int:
    """Return the output stride of an architecture; the largest common one where nothing is known of it."""
    try:
        return min(find_architecture(arch).output_stride, _MOST_STRIDE)
    except ArchitectureError:  # of a file of one's own, or of another program
        return _MOST_STRIDE


def has_global_context(model: nn.Module) -> bool:
    """Tell whether a part of a network has the attribute ``global_context``: each pixel sees the whole window."""
    return any(getattr(module, "global_context", False) for module in model.modules())


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    compiled = torch.compile(model, dynamic=False)

    def forward(images: Tensor) -> Tensor:
        try:
            logits: Tensor = compiled(images)
        except RuntimeError as error:
            if not _is_of_compiler(error):
                raise
            raise UsageError(
                f"The network cannot be compiled here: {one_line(error).split(' Set TORCHDYNAMO')[0]}",
                hint="Leave out `compile`, or install a C++ compiler (on a processor) or Triton (on a GPU).",
            ) from error
        return logits

    return forward


def _is_of_compiler(error: Exception) -> bool:
    """Tell whether an error comes from torch's compiler, whose exceptions have no public names."""
    return type(error).__module__.startswith(("torch._dynamo.", "torch._inductor."))


def _check_agree(first: Checkpoint, other: Checkpoint) -> None:
    first.check_fits(other.card.bands, other.path)
    if other.card.classes.names != first.card.classes.names:
        raise CheckpointError(
            f"{first.path} and {other.path} cannot be averaged: their classes are "
            f"{', '.join(first.card.classes.names)} and {', '.join(other.card.classes.names)}."
        )
    ratios = [a / b for a, b in zip(first.card.gsd or (), other.card.gsd or ())]  # noqa: B905
    if any(not 1 / GSD_TOLERANCE <= ratio <= GSD_TOLERANCE for ratio in ratios):
        raise CheckpointError(
            f"{first.path} and {other.path} cannot be averaged: they were trained on pixels of "
            f"{first.card.gsd} and {other.card.gsd} m."
        )
