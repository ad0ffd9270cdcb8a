"""BFP: a dilated ResNet, whose features spread over the map line by line, and stop where it finds boundaries.

Ding, Jiang, Liu, Magnenat-Thalmann, Wang: "Boundary-Aware Feature Propagation for Scene Segmentation", ICCV 2019, arXiv
1909.00179. Layers follow its Figures 2 to 4 and section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.boundary_labels import boundaries
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.classes import IGNORE_INDEX

_STRIDE = 8
_DILATION = 12  # this and what follows: in the authors' code
_DIAGONAL = 0.5
_GAIN = 2.0
_REACH = 4  # pixels from another class, within which labels are boundary


class PointLinear(nn.Module):
    """A linear map of channels for each of several stacks of pixels, which runs for all at once.

    Args:
        stacks: Number of stacks.
        in_channels: Channels of their pixels.
        width: Channels of the result.
    """

    def __init__(self, stacks: int, in_channels: int, width: int) -> None:
        super().__init__()
        limit = in_channels**-0.5  # as torch draws convolutions
        self.out_channels = stacks * width
        self.weight = nn.Parameter(torch.empty(stacks, in_channels, width).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(stacks, 1, width).uniform_(-limit, limit))

    def forward(self, x: Tensor) -> Tensor:
        """Return (stacks, pixels, width) for (stacks, pixels, in_channels)."""
        return torch.baddbmm(self.bias, x, self.weight)


class Sweep(nn.Module):
    """A pass over the lines of several maps at once, from the first to the last (equations 4 to 6).

    A line adds to its own features what the line before says of the pixel beside, and of the one beside that, as far as
    the gate there lets it pass.

    Args:
        maps: Number of maps, each with weights of its own.
        channels: Channels of the features.
        diagonal: Whether the second of these pixels says something, too.
    """

    global_context = True

    def __init__(self, maps: int, channels: int, *, diagonal: bool) -> None:
        super().__init__()
        self.own = PointLinear(maps, channels, channels)
        self.said = PointLinear(maps, channels, (1 + diagonal) * channels)
        self.diagonal = nn.Parameter(torch.full((maps, 1, 1, 1), _DIAGONAL)) if diagonal else None

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return (maps, lines, N, pixels, C) for features of this shape, not negative, and gates with one channel."""
        maps, lines, *shape = x.shape
        x, gate = x.flatten(2, 3), gate.flatten(2, 3)
        own = self.own(x.flatten(1, 2)).view_as(x)
        line = x[:, 0]
        found = [line]
        for number in range(1, lines):  # a step is two products of matrices for all maps and images
            said = self.said(line) * gate[:, number - 1]
            if self.diagonal is not None:
                said, beside = said.chunk(2, dim=2)
                shifted = F.pad(beside.view(maps, *shape)[:, :, :-1], (0, 0, 1, 0))
                said = said + (self.diagonal * shifted).flatten(1, 2)
            line = (own[:, number] + said).relu()
            found.append(line)
        return torch.stack(found, dim=1).view(maps, lines, *shape)


class Propagation(nn.Module):
    """Sweeps down and up, and of each of them to the right and to the left: all pixels reach all others (Figure 3).

    Args:
        channels: Channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rows = Sweep(2, channels, diagonal=False)
        self.columns = Sweep(4, channels, diagonal=True)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W), not negative, and gates (N, 1, H, W) in 0..1."""
        down, gates = (_both_ways(part.permute(2, 0, 3, 1)[None]) for part in (x, gate.to(x.dtype)))
        swept = self.rows(down, gates)  # (2, H, N, W, C)
        right, gates = (_both_ways(part.permute(0, 3, 2, 1, 4)) for part in (swept, gates))
        swept = self.columns(right, gates)  # (4, W, N, H, C)
        swept = swept[:2] + swept[2:].flip(1)
        return (swept[0] + swept[1].flip(2)).permute(1, 3, 2, 0)


class BFP(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.

    Attributes:
        unrolls: A graph of it holds for one size of images, since each line of the features is a part of it.
    """

    unrolls = True

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        width = encoder.channels[-1] // 4
        self.reduce = conv_norm_act(encoder.channels[-1], width, 3)
        self.coarse = conv_norm_act(width, width, 3, dilation=_DILATION)
        self.coarse_head = _head(width, num_classes + 1)
        self.fine = conv_norm_act(width, width, 3, dilation=_DILATION)
        self.gain = nn.Parameter(torch.full((1,), _GAIN))
        self.propagation = Propagation(width)
        self.fine_head = _head(width, num_classes)
        self.aligned = AlignedInput(_STRIDE)
        he_normal(self.reduce, self.coarse, self.coarse_head, self.fine, self.fine_head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        scores, _ = self._scores(padded)
        return self.aligned.enlarge(scores, padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the first classifier.

        Returns:
            Logits (N, num_classes, H, W), and by name: ``coarse``, logits of the classes, of the same shape, and
            ``boundary`` (N, 1, H, W), of the class that boundaries are.
        """
        padded = self.aligned(images)
        scores, coarse = (self.aligned.enlarge(part, padded, images) for part in self._scores(padded))
        return scores, {"coarse": coarse[:, :-1], "boundary": coarse[:, -1:]}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the cross-entropy of the first classifier, for which boundaries of the labels are one more class.

        Args:
            outputs: As :meth:`forward_with_aux` returns them.
            targets: (N, H, W) int64, 255 ignored.
        """
        logits = torch.cat([outputs["coarse"], outputs["boundary"]], dim=1).float()
        labels = targets.masked_fill(boundaries(targets, reach=_REACH), logits.shape[1] - 1)
        counted = (targets != IGNORE_INDEX).sum().clamp(min=1)
        return F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum") / counted

    def _scores(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, K, H/8, W/8), and those of the first classifier, boundaries last, (N, K + 1, H/8, W/8)."""
        features = self.reduce(self.encoder(padded)[-1])  # (N, 512, H/8, W/8)
        coarse = self.coarse_head(self.coarse(features))
        likely = coarse.softmax(dim=1)[:, -1:]
        gate = (self.gain * (likely.amax(dim=(2, 3), keepdim=True) - likely)).clamp(0, 1)
        fine = self.fine(features)
        fine = fine + self.propagation(fine, gate)
        return self.fine_head(fine) + coarse[:, :-1], coarse


def bfp(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> BFP:
    """Build BFP: a dilated ResNet-101 whose features spread line by line as far as learnt boundaries let them pass.

    Paper: Ding et al., "Boundary-Aware Feature Propagation for Scene Segmentation", ICCV, arXiv 1909.00179
    Year: 2019
    Family: dilated
    Encoder: resnet101
    Parameters: 65,602,156
    Multiply-adds: 280.1 G
    Output stride: 8
    Rate: 3e-3
    Use: regions with clear boundaries, pretrained encoder; slow, large GPU

    The first block of a stage has the dilation of the stage before, as in the authors' code. The first classifier knows
    boundaries as one class more: pixels within 4 px of another class, which is learnt with weight 1 and is part of the
    result. Gates are 2 (learnt) times what boundaries are less likely than at the likeliest pixel, up to 1: that is the
    formula of the authors' code, without a mean and a bias that cancel each other there, and so with one parameter less
    than its 65,602,157. Dropout of channels is 0.1, and interpolation aligns corners, as there; images are mirrored at
    the right and bottom edge up to 8 k + 1 px, and logits cut back. Lines follow one another, which leaves a GPU mostly
    waiting: rows and columns of the features are 2 x 65 steps for 512 px. Deviations: boundaries are made of class ids
    that differ, where the authors compare the mean of ids with the id, which may be equal by chance; next to ignored
    pixels there is none; convolutions outside of encoder and sweeps start as He et al. (2015) propose.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder,
        in_channels=in_channels,
        output_stride=_STRIDE,
        gradual=True,
        pretrained=pretrained,
        weights=encoder_weights,
    )
    return BFP(backbone, num_classes)


def _both_ways(x: Tensor) -> Tensor:
    """Return maps (2 * D, lines, ...) for (D, lines, ...): as they are, then with the last line first."""
    return torch.cat([x, x.flip(1)])


def _head(width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(width, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, num_classes, 1))
