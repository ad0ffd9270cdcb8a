"""Hierarchical multi-scale attention: a network looks at several scales, and learns where to trust which of them.

Tao, Sapra, Catanzaro: "Hierarchical Multi-Scale Attention for Semantic Segmentation", arXiv 2005.10821, 2020. Layers
follow its section 3.1 and Figure 2; the authors' network is OCRNet on HRNet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.resize import resize_like
from satseg.classes import IGNORE_INDEX
from satseg.errors import ArchitectureError

_LEARNT = (Fraction(1), Fraction(1, 2))  # scales that training looks at, section 3.1
_SCALE_WEIGHT = 0.05  # of each scale's own cross-entropy, in the authors' configurations
_SMALLEST = 32  # pixels a side that every network takes
_PARTS = 8  # scales are multiples of one part of so many


class AttendedClassifier(nn.Module):
    """A classifier, beside it the attention of its scale, from the same features: two 3x3 convolutions and one of 1x1.

    Args:
        classifier: Convolution of the last features.
    """

    def __init__(self, classifier: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        width = max(classifier.in_channels // 2, 1)
        self.classifier = classifier
        self.attention = nn.Sequential(
            conv_norm_act(classifier.in_channels, width),
            conv_norm_act(width, width),
            nn.Conv2d(width, 1, 1, bias=False),
        )
        he_normal(self.attention)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores and attention in 0..1 of features, (N, K + 1, h, w)."""
        scores = self.classifier(x)
        return torch.cat([scores, resize_like(self.attention(x).sigmoid(), scores)], dim=1)


class HMSA(nn.Module):
    """The networks of Figure 2: one that looks at every scale.

    Args:
        base: Returns the scores of the classes, and attention behind them.
        num_classes: Classes of the output.
        scales: Scales of the image that a prediction looks at, 1 among them.
        gate: What brings the attention of ``base`` to 0..1.
    """

    base: Any  # a network, which may have more methods than nn.Module

    def __init__(self, base: nn.Module, num_classes: int, *, scales: Sequence[Fraction], gate: nn.Module) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scales = tuple(sorted(scales, reverse=True))
        self.gate = gate
        self.base = base
        every = {*self.scales, *_LEARNT}
        whole = math.lcm(*(scale.denominator for scale in every))
        self.aligned = AlignedInput(math.ceil(_SMALLEST / min(every) / whole) * whole, corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        joint: Tensor | None = None
        for scale in self.scales:  # the coarser one decides what it leaves to the finer ones
            scores, attention = self._look(_scaled(padded, scale))
            like = scores if joint is None or scale >= 1 else joint
            joint = scores if joint is None else _joined(joint, scores, attention, like=like)
        assert joint is not None
        return self.aligned.enlarge(joint, padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of scales 1 and 0.5, each of them alone, and what the network has for its auxiliary loss.

        Returns:
            Logits (N, num_classes, H, W); and by name those of the scales, ``scale_1`` and ``scale_0.5``, of that size,
            and the outputs of the network, which stay those of the extended image: joined like logits where they are
            scores of the classes, else of scale 1.
        """
        padded = self.aligned(images)
        (fine, _, outputs), (coarse, attention, coarser) = (
            self._look_with_aux(_scaled(padded, scale)) for scale in _LEARNT
        )
        scores = {"joint": _joined(fine, coarse, attention, like=fine), "scale_1": fine, "scale_0.5": coarse}
        scores = {name: self.aligned.enlarge(part, padded, images) for name, part in scores.items()}
        for name, output in outputs.items():
            of_classes = _are_maps(output) and output.shape[1] == self.num_classes
            scores[name] = _joined(output, coarser[name], attention, like=output) if of_classes else output
        return scores.pop("joint"), scores

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.05 times the cross-entropy of each scale, and the auxiliary loss of the network.

        Args:
            outputs: What :meth:`forward_with_aux` returned.
            targets: (N, H, W) int64, 255 ignored.
        """
        own = dict(outputs)
        scales = {name: own.pop(name) for name in ("scale_1", "scale_0.5")}
        loss = auxiliary_cross_entropy(scales, targets, weight=_SCALE_WEIGHT)
        if not own:
            return loss
        room = [part for side in targets.shape[:0:-1] for part in (0, -side % self.aligned.stride)]
        return loss + self.base.aux_loss(own, F.pad(targets, room, value=IGNORE_INDEX))

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and attention of an image."""
        return self._split(self.base(images))

    def _look_with_aux(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return scores and attention of an image, and the other outputs of the network, without attention."""
        if not hasattr(self.base, "forward_with_aux"):
            return *self._look(images), {}
        found, outputs = self.base.forward_with_aux(images)
        attended = self.num_classes + 1
        plain = {name: part[:, :-1] if part.shape[1] == attended else part for name, part in outputs.items()}
        return *self._split(found), plain

    def _split(self, found: Tensor) -> tuple[Tensor, Tensor]:
        scores, attention = found.split([self.num_classes, 1], dim=1)
        return scores, self.gate(attention)


def hmsa(
    *,
    in_channels: int,
    num_classes: int,
    build: Callable[..., nn.Module],
    edges: bool = False,
    base: str = "ocrnet",
    scales: str = "0.5 1",
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: str | None = None,
    **options: Any,
) -> HMSA:
    """Build HMSA: a network, OCRNet or another, on several scales of the image, with attention between them.

    Paper: Tao et al., "Hierarchical Multi-Scale Attention for Semantic Segmentation", arXiv 2005.10821
    Year: 2020
    Family: attention
    Encoder: own
    Parameters: 72,143,430
    Multiply-adds: 247.3 G
    Output stride: 64
    Rate: 3e-3
    Use: objects of very different sizes, on top of any network; large GPU

    Beside the last layer of the network stands the attention of section 3.1: two 3x3 convolutions, half as wide as the
    features (256 for OCRNet), and one of 1x1 without bias. Training looks at the image and at half its size; the scores
    of the latter count by its attention, those of the former by what is left. A prediction goes on like this from one
    scale to the next coarser one, whatever the scales are; in Python, ``model.scales`` of a trained network may be
    changed. Losses are those of the authors' configurations: each scale alone with weight 0.05, the auxiliary loss of
    the network (0.4 for OCRNet) on joined scores. They train the joint logits with ``loss="rmi"``, and auxiliary ones
    with binary cross-entropy, in whose place stands that of softmax here.

    Networks whose scores come from no single last layer (FCN, DeepLab v2, ESPNetv2) get one output more instead, which
    becomes attention behind their interpolation. Images are mirrored at the right and bottom edge up to whole pixels
    in all scales and 32 of them in the smallest one (64 k px), and logits cut back, and resized between centres of
    pixels, as in the authors' code; what the network aligns within a scale it aligns as it does alone.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        build: Builds a network by its name, as :func:`satseg.create_model` does, which passes itself.
        edges: Whether the last two outputs are no classes but those of objects.
        base: Network that looks at the scales.
        scales: Scales of the image that a prediction looks at, such as ``0.5 1 2``: 1, and others of 0.25 to 4 in
            steps of an eighth.
        encoder: Encoder of the network, if it takes one.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
        options: Further options of the network.

    Raises:
        ArchitectureError: The network cannot be built with these options, or there are no such scales.
    """
    if base == "hmsa":
        raise ArchitectureError("HMSA looks at a network, not at itself.", hint="Name another network as base.")
    if edges and base == "pointrend":
        raise ArchitectureError("HMSA with PointRend learns no objects: it would refine what is said of them.")
    given = {"encoder": encoder, "pretrained": pretrained, "encoder_weights": encoder_weights}
    made = options | {"in_channels": in_channels} | {name: value for name, value in given.items() if value}
    found = _read_scales(scales)
    network = build(base, num_classes=num_classes, **made)
    if _attend(network, num_classes):
        return HMSA(network, num_classes, scales=found, gate=nn.Identity())
    return HMSA(build(base, num_classes=num_classes + 1, **made), num_classes, scales=found, gate=nn.Sigmoid())


def _read_scales(text: str) -> list[Fraction]:
    try:
        scales = [Fraction(scale) for scale in text.replace(",", " ").split()]
    except (ValueError, ZeroDivisionError):
        scales = []
    if 1 not in scales or any(not Fraction(1, 4) <= s <= 4 or _PARTS % s.denominator for s in scales):
        raise ArchitectureError(
            f"The scales of HMSA are {text!r}; they must be 1, and others of 0.25 to 4 in steps of 0.125.",
            hint="For example: '0.5 1 2'.",
        )
    return scales


def _attend(network: nn.Module, num_classes: int) -> bool:
    """Put the attention beside the last layer of a network; return False if its head does not end in one."""
    holder, name, last = network, "head", getattr(network, "head", None)
    while isinstance(last, nn.Sequential):
        holder, name, last = last, str(len(last) - 1), last[-1]
    if not isinstance(last, nn.Conv2d | nn.ConvTranspose2d) or last.out_channels != num_classes:
        return False
    setattr(holder, name, AttendedClassifier(last))
    return True


def _are_maps(output: Tensor) -> bool:
    return output.ndim == 4 and output.shape[2] > 1


def _scaled(images: Tensor, scale: Fraction) -> Tensor:
    """Return images in another size; their sides are whole pixels in it."""
    if scale == 1:
        return images
    size = [side * scale.numerator // scale.denominator for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _joined(finer: Tensor, scores: Tensor, attention: Tensor, *, like: Tensor) -> Tensor:
    """Return what a scale and finer ones say together, in the size of ``like`` (..., H, W).

    Args:
        finer: (N, K, h, w) what the finer scales say.
        scores: (N, K, h', w') of the scale.
        attention: (N, 1, h'', w'') of the scale, in 0..1.
        like: Anything of the wanted size.
    """
    own = resize_like(resize_like(attention, scores) * scores, like)
    return own + (1 - resize_like(attention, like)) * resize_like(finer, like)
