"""FasterSeg: a network of two branches that a search over operations, widths and resolutions found.

Chen, Gong, Liu, Zhang, Li, Wang: "FasterSeg: Searching for Faster Real-time Semantic Segmentation", ICLR 2020,
arXiv 1912.10917, 2019. This is the student network, as the authors published it; its cells are those of
Figures 2 and 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.resize import resize_like

_AUX_WEIGHT = 0.2  # as in the authors' code

# What was searched, cell by cell: number of convolutions, zoomed (run at half resolution) or not, channels, stride.
_SHARED = ((2, False, 32, 1), (2, False, 32, 1), (2, True, 32, 1))
_COARSE = (
    (1, True, 128, 2),
    (2, True, 64, 1),
    (2, True, 64, 1),
    (2, True, 64, 1),
    (2, True, 128, 2),
    (2, True, 128, 1),
    (2, True, 256, 1),
)
_FINE = ((2, True, 32, 1), (2, False, 32, 1), (2, False, 64, 2), (2, True, 64, 1), (2, True, 192, 1), (2, True, 128, 1))


class _Cell(nn.Module):
    """One or two 3x3 convolutions; a zoomed cell runs them at half resolution and, at stride 1, enlarges the result."""

    def __init__(self, in_channels: int, convs: int, zoomed: bool, out_channels: int, stride: int) -> None:
        super().__init__()
        self.zoomed, self.stride = zoomed, stride
        self.extra = 1  # that a side of 2 k + 1 has beyond two halves; the last pixel of its k + 1 is the last one
        layers: list[nn.Module] = []
        for i in range(convs):
            step = stride if i == 0 and not zoomed else 1
            layers.append(
                conv_norm_act(in_channels if i == 0 else out_channels, out_channels, 3, stride=step, act=False)
            )
            layers.append(nn.ReLU(inplace=True))
        self.convs = nn.Sequential(*layers[:-1])  # the last activation waits for the enlargement
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        if not self.zoomed:
            return self.act(self.convs(x))
        size = [max((side + self.extra) // 2, 1) for side in x.shape[-2:]]
        y = self.convs(F.interpolate(x, size=size, mode="bilinear", align_corners=True))
        return self.act(y if self.stride == 2 else resize_like(y, x, align_corners=True))

    def as_in_format_1(self) -> None:
        """Halve as networks of checkpoints of format 1 do."""
        self.extra = 0


class FasterSeg(nn.Module):
    """The student network.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm_act(in_channels, 32, 3, stride=2), _Cell(32, 2, False, 64, 2), _Cell(64, 2, False, 64, 2)
        )
        self.shared = _cells(64, _SHARED)
        self.coarse = _cells(32, _COARSE)
        self.fine = _cells(32, _FINE)
        self.coarse_reduce = nn.ModuleList([conv_norm_act(256, 128, 1), conv_norm_act(128, 64, 1)])
        self.coarse_refine = nn.ModuleList([conv_norm_act(128 + 64, 128, 3), conv_norm_act(64 + 32, 64, 3)])
        self.fine_reduce = conv_norm_act(128, 64, 1)
        self.fine_refine = conv_norm_act(64 + 32, 64, 3)
        self.fuse = conv_norm_act(128, 128, 1)
        self.head = _head(128, num_classes)
        self.aux_heads = nn.ModuleDict({"coarse": _head(256, num_classes), "middle": _head(64 + 128, num_classes)})
        self.aligned = AlignedInput(64, former=32)
        he_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        logits, _ = self._logits(images, self.aligned(images))
        return logits

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of features: ``coarse``, ``middle`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        logits, features = self._logits(images, padded)
        scores = {name: self.aux_heads[name](x) for name, x in features.items()}
        return logits, {name: self.aligned.enlarge(part, padded, images) for name, part in scores.items()}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.2 times the cross-entropies of the side outputs; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _logits(self, images: Tensor, padded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        shared = self.shared(self.stem(padded))  # (N, 32, H/8, W/8)
        coarse16 = self.coarse[:4](shared)  # (N, 64, H/16, W/16)
        coarse32 = self.coarse[4:](coarse16)  # (N, 256, H/32, W/32)
        fine8 = self.fine[:2](shared)  # (N, 32, H/8, W/8)
        fine16 = self.fine[2:](fine8)  # (N, 128, H/16, W/16)
        x = _join(self.coarse_reduce[0](coarse32), coarse16, self.coarse_refine[0])
        coarse = _join(self.coarse_reduce[1](x), shared, self.coarse_refine[1])  # (N, 64, H/8, W/8)
        fine = _join(self.fine_reduce(fine16), fine8, self.fine_refine)  # (N, 64, H/8, W/8)
        scores = self.head(self.fuse(torch.cat([coarse, fine], dim=1)))
        features = {"coarse": coarse32, "middle": torch.cat([coarse16, fine16], dim=1)}
        return self.aligned.enlarge(scores, padded, images), features


def fasterseg(*, in_channels: int, num_classes: int) -> FasterSeg:
    """Build FasterSeg: two branches of searched cells, many of them run at half their resolution.

    Paper: Chen et al., "FasterSeg: Searching for Faster Real-time Semantic Segmentation", ICLR, arXiv 1912.10917
    Year: 2019
    Family: real-time
    Encoder: own
    Parameters: 3,421,875
    Multiply-adds: 3.6 G
    Output stride: 64
    Rate: 3e-3
    Use: few MACs, in a design that a search found

    Classifiers on the features at strides 32 and 16 serve training alone (931,046 parameters), with weight 0.2 each;
    with them the network has the size of the paper's. Interpolation aligns corners; convolutions start as He et al.
    (2015) propose. Deviations: attention layers that the authors define in the fusion and never use (32,768 of their
    3,454,643 parameters) are left out; the student is trained without its teacher; the two classifiers learn by plain
    cross-entropy, where the authors' have that of the hard pixels (probability below 0.7). Images are mirrored at the
    right and bottom edge up to 64 k + 1 px, of which halves have every second pixel, and logits cut back; the authors'
    sizes are even, where their halves and scores slide by up to a pixel of the features.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return FasterSeg(in_channels, num_classes)


def _cells(in_channels: int, cells: tuple[tuple[int, bool, int, int], ...]) -> nn.Sequential:
    layers = []
    for convs, zoomed, out_channels, stride in cells:
        layers.append(_Cell(in_channels, convs, zoomed, out_channels, stride))
        in_channels = out_channels
    return nn.Sequential(*layers)


def _head(in_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, in_channels, 3), nn.Conv2d(in_channels, num_classes, 1))


def _join(coarse: Tensor, fine: Tensor, refine: nn.Module) -> Tensor:
    return refine(torch.cat([resize_like(coarse, fine, align_corners=True), fine], dim=1))
