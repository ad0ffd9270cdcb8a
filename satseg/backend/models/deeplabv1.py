"""DeepLab v1: VGG-16 at stride 8, its first fully connected layer a 3x3 convolution with a large field of view.

Chen, Papandreou, Kokkinos, Murphy, Yuille: "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", ICLR 2015, arXiv 1412.7062. The variant is DeepLab-LargeFOV of its section 5.2 and Table 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.initialise import looks_linear, normal
from satseg.backend.nn.vgg import load_vgg, vgg_stages


class DeepLabV1(nn.Module):
    """DeepLab-LargeFOV.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of activations dropped behind both converted layers.
        encoder: A VGG without batch normalisation.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float, encoder: str) -> None:
        super().__init__()
        self.encoder = vgg_stages(encoder, in_channels=in_channels, norm=False, last_dilation=2)
        self.pools = nn.ModuleList(nn.MaxPool2d(3, stride=stride, padding=1) for stride in (2, 2, 2, 1, 1))
        self.top = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=12, dilation=12),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.head = nn.Conv2d(1024, num_classes, 1)
        self.aligned = AlignedInput(8)
        looks_linear(self.top, paired=True)
        normal(self.head, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        x = padded = self.aligned(images)
        for stage, pool in zip(self.encoder, self.pools, strict=True):
            x = pool(stage(x))
        scores = self.head(self.top(x))  # (N, num_classes, H/8, W/8)
        return self.aligned.enlarge(scores, padded, images)


def deeplabv1(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.5,
    encoder: str = "vgg16",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DeepLabV1:
    """Build DeepLab v1: VGG-16 with dilated convolutions and a large field of view.

    Paper: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", 1412.7062
    Year: 2014
    Family: dilated
    Encoder: vgg16
    Parameters: 20,503,379
    Multiply-adds: 128.6 G
    Output stride: 8
    Rate: 1e-4
    Warm-up: 0.1
    Use: comparison with its paper, with CRF

    Dropout of 0.5 follows both converted layers, the classifier starts from a normal distribution of standard deviation
    0.01, and scores are interpolated with aligned corners; images are mirrored at the right and bottom edge up to 8 k +
    1 px, and logits cut back. The paper starts from VGG-16 trained on ImageNet; without it the convolutions start as a
    linear map (Balduzzi et al., 2017). The fully connected CRF is post-processing (``crf`` of ``satseg.predict``) and
    not part of the network.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of activations dropped behind both converted layers, 0 to below 1.
        encoder: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    net = DeepLabV1(in_channels, num_classes, dropout=dropout, encoder=encoder)
    load_vgg(net.encoder, encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return net
