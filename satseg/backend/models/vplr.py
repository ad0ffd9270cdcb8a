"""VPLR's network: DeepLab v3+ on a wide residual network, which its authors train with relaxed labels at boundaries.

Zhu, Sapra, Reda, Shih, Newsam, Tao, Catanzaro: "Improving Semantic Segmentation via Video Propagation and Label
Relaxation", CVPR 2019, arXiv 1812.01593; section 4.1 names its parts. The encoder is that of Wu, Shen, van den Hengel:
"Wider or Deeper: Revisiting the ResNet Model for Visual Recognition", arXiv 1611.10080, network A with 38 layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.pyramid import ASPP
from satseg.backend.nn.resize import resize_like
from satseg.errors import ArchitectureError

_STRIDE = 8
_RATES = (12, 24, 36)  # those of output stride 16, doubled
_WIDTH, _DETAIL_WIDTH = 256, 48

_STEM_WIDTH = 64
_STAGES = (  # blocks, widths of their convolutions, stride of the first one, dilation, dropout
    (3, (128, 128), 1, 1, 0.0),
    (3, (256, 256), 1, 1, 0.0),
    (6, (512, 512), 2, 1, 0.0),
    (3, (512, 1024), 1, 2, 0.0),
    (1, (512, 1024, 2048), 1, 4, 0.3),
    (1, (1024, 2048, 4096), 1, 4, 0.5),
)


class WideBlock(nn.Module):
    """A residual block whose activations come first: two 3x3 convolutions, or 1x1, 3x3 and 1x1.

    Args:
        in_channels: Channels of the input.
        widths: Channels of each convolution.
        stride: Of the first convolution.
        dilation: Of the 3x3 convolutions.
        dropout: Share of channels dropped before the last convolution.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], *, stride: int = 1, dilation: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        self.first = _norm_act(in_channels)
        layers: list[nn.Module] = []
        for number, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            before = widths[number - 1] if number else in_channels
            if number:
                layers.append(_norm_act(before))
            if dropout and number == len(widths) - 1:
                layers.append(nn.Dropout2d(dropout))
            step = 1 if number else stride
            pad = kernel // 2 * dilation
            layers.append(nn.Conv2d(before, width, kernel, stride=step, padding=pad, dilation=dilation, bias=False))
        self.convs = nn.Sequential(*layers)
        same = stride == 1 and in_channels == widths[-1]
        self.shortcut = None if same else nn.Conv2d(in_channels, widths[-1], 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, widths[-1], H / stride, W / stride), sizes rounded up, for (N, in_channels, H, W)."""
        activated = self.first(x)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return self.convs(activated) + shortcut


class WideResNet38(nn.Module):
    """The wide residual network of 38 layers, with stages of 128 to 4096 channels, at output stride 8.

    Args:
        in_channels: Bands of the input.

    Attributes:
        channels: Channels of the features it returns.
        strides: Their strides.
    """

    channels = (128, 4096)
    strides = (2, _STRIDE)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, _STEM_WIDTH, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages, below = [], _STEM_WIDTH
        for blocks, widths, stride, dilation, dropout in _STAGES:
            stage = [WideBlock(below, widths, stride=stride, dilation=dilation, dropout=dropout)]
            below = widths[-1]
            stage += [WideBlock(below, widths, dilation=dilation, dropout=dropout) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*stage))
        self.fine, self.middle, self.deep = stages[0], stages[1], nn.Sequential(*stages[2:])
        he_normal(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, 128, H/2, W/2) and (N, 4096, H/8, W/8), sizes rounded up, for (N, in_channels, H, W)."""
        fine = self.fine(self.pool(self.stem(images)))
        return [fine, self.deep(self.middle(self.pool(fine)))]


class VPLR(nn.Module):
    """An atrous pyramid over the encoder, and a decoder with its fine features.

    Args:
        encoder: Backbone at output stride 8.
        detail: Index of the encoder's level of fine features.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, detail: int) -> None:
        super().__init__()
        self.level = detail
        self.pyramid = ASPP(encoder.channels[-1], _WIDTH, rates=_RATES, plain_output=True)
        self.detail = nn.Conv2d(encoder.channels[detail], _DETAIL_WIDTH, 1, bias=False)
        self.decoder = nn.Sequential(conv_norm_act(_WIDTH + _DETAIL_WIDTH, _WIDTH), conv_norm_act(_WIDTH, _WIDTH))
        self.head = nn.Conv2d(_WIDTH, num_classes, 1, bias=False)
        self.aligned = AlignedInput(_STRIDE)
        he_normal(self.pyramid, self.detail, self.decoder, self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features = self.encoder(padded)
        detail = self.detail(features[self.level])  # (N, 48, H/2, W/2), or H/4, W/4
        context = resize_like(self.pyramid(features[-1]), detail, align_corners=True)  # (N, 256, as detail)
        scores = self.head(self.decoder(torch.cat([detail, context], dim=1)))
        return self.aligned.enlarge(scores, padded, images)


def vplr(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str | None = None,
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> VPLR:
    """Build VPLR: DeepLab v3+ on WideResNet-38, to be trained with labels that are relaxed at boundaries.

    Paper: Zhu et al., "Improving Semantic Segmentation via Video Propagation and Label ...", CVPR, arXiv 1812.01593
    Year: 2019
    Family: dilated
    Encoder: own
    Parameters: 137,103,936
    Multiply-adds: 746.9 G
    Output stride: 8
    Rate: 3e-3
    Use: labels that are a pixel or two off, with relaxed loss; large GPU

    The paper's loss is ``loss="relaxed"`` (equation 3): within a pixel of a boundary, the labels are the union of the
    classes in the 3x3 window, and the loss is the negative logarithm of their summed probability. It is a loss of the
    command, for every network. The paper leaves it for plain cross-entropy towards the end, which a second run does
    that starts from the first; of weights of classes, each pixel has that of its own label.

    The encoder has strides 2, 4 and 8, dilations 2 and 4 in place of further ones, and dropout of channels (0.3, 0.5)
    before the last convolutions of its two widest blocks. The pyramid's dilations are 12, 24 and 36; no convolution has
    a bias, and neither a norm nor an activation follows the pyramid or the reduction of the fine features to 48
    channels, which have stride 2 above WideResNet-38 and stride 4 above others. Images are mirrored at the right and
    bottom edge up to 8 k + 1 px, interpolation aligns corners, and logits are cut back. Deviations: convolutions start
    as He et al. (2015) propose; ResNets' first pooling rounds sizes down, where that of the authors' SE-ResNeXt rounds
    them up. Labels carried along videos, the other half of the paper, are no part of a network.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm that can have output stride 8, with features at stride 4 (``seresnext50_32x4d``, that
            of the paper's comparisons: 42,353,904 parameters), in place of WideResNet-38.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: The encoder cannot serve, or weights are asked for that WideResNet-38 does not have.
    """
    if encoder is not None:
        backbone = build_encoder(
            encoder, in_channels=in_channels, output_stride=_STRIDE, pretrained=pretrained, weights=encoder_weights
        )
        return VPLR(backbone, num_classes, detail=-4)
    if pretrained or encoder_weights:
        raise ArchitectureError("VPLR's WideResNet-38 has no pretrained weights.", hint="Name another encoder.")
    wide = WideResNet38(in_channels)
    return VPLR(Encoder(wide, wide.channels, wide.strides), num_classes, detail=0)


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(BatchNorm2d(channels), nn.ReLU(inplace=True))
