"""ICNet: a deep network on a small image, shallow ones on larger images, and fusions of both.

Zhao, Qi, Shen, Shi, Jia: "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018,
arXiv 1704.08545, 2017. Layers follow its Figures 2 and 3 and the authors' published definition: a PSPNet-50 of
half width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.pooling import adaptive_mean
from satseg.backend.nn.resize import resize_like

_WIDTH = 128  # of the fused features
_BINS = (1, 2, 3, 6)
_AUX_WEIGHTS = {"sixteenth": 0.16, "eighth": 0.4}  # section 4.3


class _Bottleneck(nn.Module):
    """Residual bottleneck of a ResNet-50; it strides in its first 1x1 convolution, as the authors have it."""

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out_channels = 4 * width
        self.branch = nn.Sequential(
            conv_norm_act(in_channels, width, 1, stride=stride),
            conv_norm_act(width, width, 3, dilation=dilation),
            conv_norm_act(width, out_channels, 1, act=False),
        )
        same = in_channels == out_channels
        self.project = nn.Identity() if same else conv_norm_act(in_channels, out_channels, 1, stride=stride, act=False)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + self.project(x))


class _PooledSum(nn.Module):
    """Pyramid pooling without parameters: the input plus its means over grids of several sizes."""

    global_context = True  # its means are of shares of the whole window

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.stack(
            [resize_like(adaptive_mean(x, side, side), x, align_corners=True) for side in _BINS]
        ).sum(0)


class _CascadeFusion(nn.Module):
    """CFF: enlarged coarse features through a dilated 3x3, fine ones through a 1x1, summed (Figure 3)."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.coarse = conv_norm_act(coarse, _WIDTH, 3, dilation=2, act=False)
        self.fine = conv_norm_act(fine, _WIDTH, 1, act=False)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        enlarged = resize_like(coarse, fine, align_corners=True)
        return torch.relu(self.coarse(enlarged) + self.fine(fine)), enlarged


class ICNet(nn.Module):
    """The network of Figure 2.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(  # to stride 8, for the images of half and quarter size
            conv_norm_act(in_channels, 32, 3, stride=2),
            conv_norm_act(32, 32, 3),
            conv_norm_act(32, 64, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
            *_stage(64, 32, 3),
            _Bottleneck(128, 64, stride=2),
        )
        self.deep = nn.Sequential(
            *_stage(256, 64, 3),
            *_stage(256, 128, 6, dilation=2),
            *_stage(512, 256, 3, dilation=4),
            _PooledSum(),
            conv_norm_act(1024, 256, 1),
        )
        self.shallow = nn.Sequential(
            conv_norm_act(in_channels, 32, 3, stride=2),
            conv_norm_act(32, 32, 3, stride=2),
            conv_norm_act(32, 64, 3, stride=2),
        )
        self.fuse_deep = _CascadeFusion(256, 256)
        self.fuse_shallow = _CascadeFusion(_WIDTH, 64)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.aux_heads = nn.ModuleDict(
            {"sixteenth": nn.Conv2d(256, num_classes, 1), "eighth": nn.Conv2d(_WIDTH, num_classes, 1)}
        )
        self.aligned = AlignedInput(32, former=32)
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        logits, _ = self._logits(images, self.aligned(images))
        return logits

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the coarser branches: ``sixteenth`` and ``eighth`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        logits, coarser = self._logits(images, padded)
        scores = {name: self.aux_heads[name](features) for name, features in coarser.items()}
        return logits, {name: self.aligned.enlarge(part, padded, images) for name, part in scores.items()}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.16 and 0.4 times the cross-entropies of the branches; targets (N, H, W) int64, 255 ignored."""
        losses = [
            auxiliary_cross_entropy({name: scores}, targets, weight=_AUX_WEIGHTS[name])
            for name, scores in outputs.items()
        ]
        return torch.stack(losses).sum()

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        medium = self.shared(_halve(padded))  # (N, 256, H/16, W/16)
        deep = self.deep(_halve(medium))  # (N, 256, H/32, W/32)
        fused, sixteenth = self.fuse_deep(deep, medium)  # (N, 128, H/16, W/16)
        fused, eighth = self.fuse_shallow(fused, self.shallow(padded))  # (N, 128, H/8, W/8)
        scores = self.head(self.aligned.multiply(fused, 2))  # (N, num_classes, H/4, W/4)
        return self.aligned.enlarge(scores, padded, images), {"sixteenth": sixteenth, "eighth": eighth}


def icnet(*, in_channels: int, num_classes: int) -> ICNet:
    """Build ICNet: a cascade over the image at a quarter, a half and full size, for large images.

    Paper: Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", arXiv 1704.08545
    Year: 2017
    Family: real-time
    Encoder: own
    Parameters: 6,699,987
    Multiply-adds: 3.9 G
    Output stride: 32
    Rate: 3e-3
    Use: large windows with few MACs

    The quarter-size branch is a PSPNet-50 of half width whose pyramid pooling is a sum without parameters; it shares
    its first stages with the half-size branch, as in the authors' definition. Classifiers on the two coarser branches
    serve training alone, with weights 0.16 and 0.4. Interpolation aligns corners. Convolutions start as He et al.
    (2015) propose. Deviations: cells of the pooled grids lie side by side, where the authors' 3 and 6 overlap by a
    fifth to three eighths (on a map of 33 x 65, 13 x 25 at steps of 10 x 20, and 8 x 15 at 5 x 10); side scores are
    enlarged to the labels, where the paper shrinks the labels; the network comes at its trained width and is not pruned
    to half after training. Images are mirrored at the right and bottom edge up to 32 k + 1 px, as those of the authors
    are (1025 x 2049), and logits cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return ICNet(in_channels, num_classes)


def _stage(in_channels: int, width: int, depth: int, *, dilation: int = 1) -> list[nn.Module]:
    first = _Bottleneck(in_channels, width, dilation=dilation)
    return [first, *(_Bottleneck(4 * width, width, dilation=dilation) for _ in range(depth - 1))]


def _halve(x: Tensor) -> Tensor:
    size = [(side + 1) // 2 for side in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
