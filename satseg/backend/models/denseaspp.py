"""DenseASPP: a dilated DenseNet under atrous convolutions of growing dilation, each fed with all before it.

Yang, Yu, Zhang, Li, Yang: "DenseASPP for Semantic Segmentation in Street Scenes", CVPR 2018. Layers follow its
Figure 3 and section 3; the encoder is DenseNet (Huang et al., arXiv 1608.06993, Table 1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.encoders import build_classifier
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.padding import pad_to_multiple
from satseg.errors import ArchitectureError

_RATES = (3, 6, 12, 18, 24)
_WIDTHS = {  # of the 1x1 and of the 3x3 convolution in each branch
    "densenet121": (128, 64),
    "densenet161": (512, 128),
    "densenet169": (336, 168),
    "densenet201": (480, 240),
}


class _Rectified(nn.ReLU):
    """The activation behind the trunk."""

    acts = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.acts else x

    def as_in_format_1(self) -> None:
        """Hand on what comes, as networks of checkpoints of format 1 do."""
        self.acts = False


class _Trunk(nn.Sequential):
    """Layers of a DenseNet that end at stride 8. It pools by halves, and would drop pixels that fill no cell."""

    stride = 8

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, C, H/8, W/8), sizes rounded up."""
        return super().forward(pad_to_multiple(images, self.stride))

    def as_in_format_1(self) -> None:
        """Drop such pixels, as networks of checkpoints of format 1 do."""
        self.stride = 1


class DenseASPP(nn.Module):
    """The network of Figure 3.

    Args:
        features: Dilated DenseNet without its classifier.
        channels: Channels of its output.
        widths: Channels of the 1x1 and of the 3x3 convolution in each branch.
        num_classes: Classes of the output.
    """

    def __init__(self, features: _Trunk, channels: int, widths: tuple[int, int], num_classes: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            # The trunk ends in a normalisation and ReLU, so the first branch needs none of its own.
            _branch(channels + i * widths[1], *widths, dilation=rate, normalise=i > 0)
            for i, rate in enumerate(_RATES)
        )
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels + len(_RATES) * widths[1], num_classes, 1))
        self.aligned = AlignedInput(8)
        he_normal(self.branches, self.head)
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        x = self.features(padded)  # (N, 1104, H/8, W/8)
        for branch in self.branches:
            x = torch.cat([branch(x), x], dim=1)
        return self.aligned.enlarge(self.head(x), padded, images)


def denseaspp(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "densenet161",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DenseASPP:
    """Build DenseASPP: a dilated DenseNet-161 under densely connected atrous convolutions.

    Paper: Yang et al., "DenseASPP for Semantic Segmentation in Street Scenes", CVPR
    Year: 2018
    Family: dilated
    Encoder: densenet161
    Parameters: 35,395,427
    Multiply-adds: 159.8 G
    Output stride: 8
    Rate: 3e-3
    Use: wide context at stride 8 with a pretrained encoder; large GPU

    Dilations of the branches are 3, 6, 12, 18 and 24, dropout of channels is 0.1 in each and before the classifier; the
    last two blocks of the encoder have dilations 2 and 4. The branches are concatenated with the trunk's features
    behind its ReLU, as in the authors' network, where the first one rectifies them in place. Interpolation aligns
    corners, as it did in the version of torch that the authors used. Images are mirrored at the right and bottom edge
    up to 8 k + 1 px, and logits cut back; the features then reach as far, where the authors' pooling drops the last one
    and stretches the others. Convolutions outside of the encoder start as He et al. (2015) propose. Deviation: running
    statistics follow with momentum 0.1, where the authors have 3e-4, which takes tens of thousands of steps. With
    encoder ``densenet121`` it has 8,280,851 parameters.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: ``densenet121``, ``densenet161``, ``densenet169`` or ``densenet201``.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: The encoder is no such DenseNet, or its weights cannot be had.
    """
    if encoder not in _WIDTHS:
        raise ArchitectureError(
            f"DenseASPP cannot use the encoder {encoder!r}.", hint=f"It takes {', '.join(_WIDTHS)}."
        )
    net = build_classifier(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    features, channels = _dilated_trunk(net.features)
    return DenseASPP(features, channels, _WIDTHS[encoder], num_classes)


def _dilated_trunk(features: Any) -> tuple[_Trunk, int]:
    """Keep a DenseNet at stride 8: dilate its last two blocks, and halve their channels without pooling."""
    for name, dilation in (("denseblock3", 2), ("denseblock4", 4)):
        for layer in features.get_submodule(name).modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
                layer.dilation, layer.padding = (dilation, dilation), (dilation, dilation)
    for name in ("transition2", "transition3"):
        features.get_submodule(name).pool = nn.Identity()
    channels: int = features.norm5.num_features
    # The encoder's own last normalisation and ReLU begin a fourth transition; the trunk ends in a fresh one.
    transition = nn.Sequential(features.norm5, nn.Conv2d(channels, channels // 2, 1, bias=False))
    layers = [layer for name, layer in features.named_children() if name != "norm5"]
    return _Trunk(*layers, transition, BatchNorm2d(channels // 2), _Rectified()), channels // 2


def _branch(in_channels: int, width: int, out_channels: int, *, dilation: int, normalise: bool) -> nn.Sequential:
    first = [BatchNorm2d(in_channels)] if normalise else []
    return nn.Sequential(
        *first,
        nn.ReLU(),
        nn.Conv2d(in_channels, width, 1),
        BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, out_channels, 3, padding=dilation, dilation=dilation),
        nn.Dropout2d(0.1),
    )
