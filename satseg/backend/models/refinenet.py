"""RefineNet: a cascade of blocks that refine a ResNet's features from stride 32 to stride 4.

Lin, Milan, Shen, Reid: "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation",
CVPR 2017, arXiv 1611.06612. Layers follow its Figures 2(c) and 3, the 4-cascaded RefineNet, as it was released.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import normal
from satseg.backend.nn.resize import resize_like

_WIDTHS = (256, 256, 256, 512)  # of the blocks at strides 4, 8, 16 and 32


class _ResidualConvUnit(nn.Module):
    """RCU: ReLU, 3x3, ReLU, 3x3, added to the input (Figure 3b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.ReLU(), _conv3(channels, channels, bias=True), nn.ReLU(inplace=True), _conv3(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # (N, C, H, W)


class _ChainedPooling(nn.Module):
    """CRP: a chain of poolings over 5 pixels, each followed by 3x3, all summed (Figure 3d)."""

    def __init__(self, channels: int, *, length: int = 4) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.convs = nn.ModuleList(_conv3(channels, channels) for _ in range(length))

    def forward(self, x: Tensor) -> Tensor:
        x = link = x.relu()
        for conv in self.convs:
            link = conv(self.pool(link))
            x = x + link
        return x  # (N, C, H, W)


class _RefineBlock(nn.Module):
    """Adapt the encoder's features, fuse them with what comes from below, pool in a chain, convolve (Figure 3a).

    Args:
        in_channels: Channels of the encoder's features.
        width: Channels of the block.
        below: Channels of the coarser block's output, 0 for the coarsest.
    """

    def __init__(self, in_channels: int, width: int, below: int) -> None:
        super().__init__()
        self.reduce = _conv3(in_channels, width)
        self.adapt = nn.Sequential(_ResidualConvUnit(width), _ResidualConvUnit(width))
        self.own = _conv3(width, width) if below else nn.Identity()
        self.lift = _conv3(below, width) if below else nn.Identity()
        self.chain = _ChainedPooling(width)
        self.out = nn.Sequential(*(_ResidualConvUnit(width) for _ in range(3)))

    def forward(self, features: Tensor, below: Tensor | None) -> Tensor:
        x = self.own(self.adapt(self.reduce(features)))
        if below is not None:
            x = x + resize_like(self.lift(below), x, align_corners=True)
        return self.out(self.chain(x))  # (N, width, H, W)


class RefineNet(nn.Module):
    """The network of Figure 2(c).

    Args:
        encoder: Backbone with features at strides 4 to 32.
        num_classes: Classes of the output.
        dropout: Share of activations dropped in the two coarsest features and before the classifier.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        below = (*_WIDTHS[1:], 0)
        self.blocks = nn.ModuleList(
            _RefineBlock(*widths) for widths in zip(encoder.channels[-4:], _WIDTHS, below, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.aligned = AlignedInput(encoder.strides[-1])
        self.head = nn.Conv2d(_WIDTHS[0], num_classes, 3, padding=1)
        normal(self.blocks, self.head, std=0.01)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        levels = self.encoder(padded)[-4:]  # strides 4, 8, 16, 32
        levels[2:] = [self.dropout(level) for level in levels[2:]]
        x = None
        for block, features in zip(reversed(self.blocks), reversed(levels), strict=True):
            x = block(features, x)
        return self.aligned.enlarge(self.head(self.dropout(x)), padded, images)


def refinenet(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.5,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> RefineNet:
    """Build RefineNet: a cascade of residual refinement blocks over all levels of a ResNet-101.

    Paper: Lin et al., "RefineNet: Multi-Path Refinement Networks for High-Resolution ...", CVPR, arXiv 1611.06612
    Year: 2017
    Family: encoder-decoder
    Encoder: resnet101
    Parameters: 118,047,827
    Multiply-adds: 271.3 G
    Output stride: 32
    Rate: 1e-4
    Warm-up: 0.1
    Use: large pretrained encoders; most MACs of all

    The blocks have no normalisation and are 512 wide at stride 32 and 256 above; each has four chained poolings and
    three residual units behind them, as the authors' network, where Figure 3 shows two and one. Dropout of 0.5 acts on
    the two coarsest features and before the classifier, interpolation aligns corners. Images are mirrored at the right
    and bottom edge up to 32 k + 1 px, and logits cut back. Convolutions outside of the encoder start from a normal
    distribution of standard deviation 0.01: without normalisation, larger ones would grow along the chain of residual
    units.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of activations dropped, 0 to below 1.
        encoder: Backbone of timm with features at strides 4, 8, 16 and 32.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return RefineNet(backbone, num_classes, dropout=dropout)


def _conv3(in_channels: int, out_channels: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
