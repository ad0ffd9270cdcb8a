"""DeconvNet: VGG-16 with its fully connected layers, and a mirrored network of unpooling and deconvolution.

Noh, Hong, Han: "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, arXiv 1505.04366. Layers
follow its Figure 2 and section 3.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.initialise import normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.unpool import unpool
from satseg.backend.nn.vgg import load_vgg, vgg_stages

_SIDE = 7  # of the first fully connected layer, and of the deconvolution that mirrors it
_DECODER = ((512, 512, 512, 512), (512, 512, 512, 256), (256, 256, 256, 128), (128, 128, 64), (64, 64, 64))


class DeconvNet(nn.Module):
    """The network of Figure 2.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: A VGG with batch normalisation.
    """

    def __init__(self, in_channels: int, num_classes: int, *, encoder: str) -> None:
        super().__init__()
        self.encoder = vgg_stages(encoder, in_channels=in_channels, norm=True)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.waist = nn.Sequential(
            *_norm_act(nn.Conv2d(512, 4096, _SIDE)),
            *_norm_act(nn.Conv2d(4096, 4096, 1)),
            *_norm_act(nn.ConvTranspose2d(4096, 512, _SIDE)),
        )
        self.decoder = nn.ModuleList(_deconv_stage(widths) for widths in _DECODER)
        self.head = nn.Conv2d(64, num_classes, 1)
        normal(self.waist, std=0.01)
        normal(self.decoder, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        x, places = pad_to_multiple(images, 32), []
        for stage in self.encoder:
            x, indices = self.pool(stage(x))
            places.append(indices)
        rows, columns = x.shape[-2:]
        x = F.pad(x, (0, max(_SIDE - columns, 0), 0, max(_SIDE - rows, 0)))
        x = self.waist(x)[..., :rows, :columns]  # (N, 512, H/32, W/32)
        for stage in self.decoder:
            x = stage(unpool(x, places.pop()))
        return self.head(x)[..., :height, :width]  # (N, num_classes, H, W)


def deconvnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "vgg16_bn",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DeconvNet:
    """Build DeconvNet: VGG-16 with fully connected layers and a mirrored deconvolution network, the largest of all.

    Paper: Noh et al., "Learning Deconvolution Network for Semantic Segmentation", ICCV, arXiv 1505.04366
    Year: 2015
    Family: encoder-decoder
    Encoder: vgg16_bn
    Parameters: 251,805,523
    Multiply-adds: 192.1 G
    Output stride: 32
    Rate: 3e-4
    Use: comparison with its paper; most parameters of all

    Batch normalisation follows every convolution but the classifier (section 4.1); deconvolutions start from a
    zero-mean normal distribution (section 4.2), of standard deviation 0.01. Deviations: images below 224 px, for which
    the paper's 7x7 layer has no room, get zeros to the right of and below their coarsest features, cut away behind it;
    larger ones are untouched; it learns whole tiles at once and maps whole windows, where the paper trains in two
    stages, on centred objects first and then on proposals of boxes, and maps such proposals. Sizes that 32 does not
    divide are mirrored at the right and bottom edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: ``vgg11_bn``, ``vgg13_bn``, ``vgg16_bn`` or ``vgg19_bn``; the decoder stays.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    net = DeconvNet(in_channels, num_classes, encoder=encoder)
    load_vgg(net.encoder, encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return net


def _norm_act(conv: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return conv, BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)


def _deconv_stage(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += _norm_act(nn.ConvTranspose2d(before, after, 3, padding=1))
    return nn.Sequential(*layers)
