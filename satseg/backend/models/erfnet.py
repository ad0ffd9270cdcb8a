"""ERFNet: a real-time network of residual blocks whose convolutions are split into 3x1 and 1x3.

Romera, Alvarez, Bergasa, Arroyo: "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic
Segmentation", IEEE Transactions on Intelligent Transportation Systems 19(1), 2018 (online 2017). Layers,
widths, dilations and dropout follow its Table I and section III-B; the residual block is its Figure 2c.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.factorised import FactorisedResidual, PooledDownsampler, factorised_decoder
from satseg.backend.nn.padding import pad_to_multiple


class ERFNet(nn.Module):
    """The network of Table I: encoder to stride 8, decoder back to the input's size.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            PooledDownsampler(in_channels, 16, act=nn.ReLU(inplace=True)),
            PooledDownsampler(16, 64, act=nn.ReLU(inplace=True)),
            *(FactorisedResidual(64, dropout=0.03) for _ in range(5)),
            PooledDownsampler(64, 128, act=nn.ReLU(inplace=True)),
            *(FactorisedResidual(128, dilation=d, dropout=0.3) for d in (2, 4, 8, 16) * 2),
        )
        self.decoder = factorised_decoder(kernel=3)
        self.head = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        features = self.encoder(pad_to_multiple(images, 8))  # (N, 128, H/8, W/8)
        features = self.decoder(features)  # (N, 16, H/2, W/2)
        return self.head(features)[..., :height, :width]  # (N, num_classes, H, W)


def erfnet(*, in_channels: int, num_classes: int) -> ERFNet:
    """Build ERFNet: residual blocks of 3x1 and 1x3 convolutions, accurate for its size and fast on a processor.

    Paper: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-time Semantic Segmentation", T-ITS
    Year: 2017
    Encoder: own
    Parameters: 2,064,191
    Multiply-adds: 13.3 G
    Output stride: 8
    Rate: 3e-3
    Use: a first try, on processors too: best of five compared

    Convolutions are initialised as torch does by default, as the authors trained it. Deviations: the classifier on
    the encoder (2,451 parameters), which the paper uses to pre-train the encoder alone, is left out; with more
    than eight bands the first layer pools only the first eight of them beside its filters, which see all.
    Sizes that 8 does not divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return ERFNet(in_channels, num_classes)
