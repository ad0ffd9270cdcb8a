"""OCRNet: each pixel attends to the regions of all classes, which a coarse map outlines.

Yuan, Chen, Wang: "Object-Contextual Representations for Semantic Segmentation", ECCV 2020, arXiv 1909.11065. Layers
follow its Figure 3 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.attention import attend
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.high_resolution import COARSEST, build_high_resolution_encoder, is_high_resolution
from satseg.backend.nn.initialise import he_normal

_WIDTH, _KEYS = 512, 256  # section 3.3
_DROPOUT = 0.05  # in the authors' code
_REGION_WEIGHT = 0.4  # in the authors' configurations
_DILATED_STRIDE = 8  # of backbones that are no HRNet


class ObjectContext(nn.Module):
    """Pixels beside the mean of the regions, weighted by likeness to them (section 3.2).

    Args:
        bias: Whether convolutions before norms have a bias.
    """

    global_context = True  # regions lie anywhere in the window

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.query = nn.Sequential(_point(_WIDTH, _KEYS, bias), _point(_KEYS, _KEYS, bias))
        self.key = nn.Sequential(_point(_WIDTH, _KEYS, bias), _point(_KEYS, _KEYS, bias))
        self.value = _point(_WIDTH, _KEYS, bias)
        self.context = _point(_KEYS, _WIDTH, bias)
        self.fuse = nn.Sequential(_point(2 * _WIDTH, _WIDTH, bias), nn.Dropout2d(_DROPOUT))

    def forward(self, pixels: Tensor, scores: Tensor) -> Tensor:
        """Return (N, 512, H, W) for features (N, 512, H, W) and scores of the soft regions (N, K, H, W)."""
        shares = scores.flatten(2).softmax(dim=2).transpose(1, 2)  # (N, H * W, K), 1 in sum over the pixels
        regions = (pixels.flatten(2) @ shares).unsqueeze(3)  # (N, 512, K, 1)
        mixed = attend(self.query(pixels), self.key(regions), self.value(regions), scale=_KEYS**-0.5)
        return self.fuse(torch.cat([self.context(mixed), pixels], dim=1))


class OCRNet(nn.Module):
    """The network of Figure 3.

    Args:
        encoder: HRNet whose maps come as one, or a backbone at output stride 8.
        aligned: What extends the images.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, aligned: AlignedInput, num_classes: int) -> None:
        super().__init__()
        joined = len(encoder.channels) == 1
        deep, deepest = (encoder.channels * 2)[-2:] if joined else encoder.channels[-2:]
        self.pixels = conv_norm_act(deepest, _WIDTH, 3, bias=True)
        if joined:
            self.regions = nn.Sequential(_point(deep, deep, True), nn.Conv2d(deep, num_classes, 1))
        else:
            self.regions = nn.Sequential(
                conv_norm_act(deep, _WIDTH, 3, bias=True), nn.Dropout2d(_DROPOUT), nn.Conv2d(_WIDTH, num_classes, 1)
            )
        self.objects = ObjectContext(bias=not joined)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.aligned = aligned
        he_normal(self.pixels, self.regions, self.objects, self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        scores, _ = self._scores(padded)
        return self.aligned.enlarge(scores, padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the soft regions: ``regions`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        scores, regions = (self.aligned.enlarge(found, padded, images) for found in self._scores(padded))
        return scores, {"regions": regions}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the regions; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_REGION_WEIGHT)

    def _scores(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(padded)[-2:]  # one map (N, 720, H/4, W/4), or (N, 1024 and 2048, H/8, W/8)
        regions = self.regions(features[0])
        return self.head(self.objects(self.pixels(features[-1]), regions)), regions


def ocrnet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "hrnet_w48",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> OCRNet:
    """Build OCRNet: HRNet whose pixels attend to the regions of all classes, as a first coarse map outlines them.

    Paper: Yuan et al., "Object-Contextual Representations for Semantic Segmentation", ECCV, arXiv 1909.11065
    Year: 2020
    Family: attention
    Encoder: hrnet_w48
    Parameters: 70,372,678
    Multiply-adds: 167.3 G
    Output stride: 32
    Rate: 3e-3
    Use: fine outlines with context of whole windows, pretrained encoder; large GPU

    The first map is one of soft regions: for each class, the mean of the features over all pixels, weighted by the
    softmax of its scores over them, stands for its region (section 3.2). It is part of the result, and trained with
    weight 0.4 as well. Regions count pixels by which the image was extended, at most 31 along a side. Convolutions of
    the attention have no bias above HRNet and one above other encoders, as in the authors' two codes, which changes
    nothing before a norm but the count; dropout of channels is 0.05. Activations are ReLUs, as in the paper and the
    code for HRNet; that for ResNets has slope 0.01 below zero where it normalises in place. Interpolation aligns
    corners; images are mirrored at the right and bottom edge up to 32 k + 1 px, or 8 k + 1, and logits cut back.
    Deviation: convolutions start as He et al. (2015) propose. With encoder ``hrnet_w18`` it has 12,080,818 parameters,
    with ``resnet101s``, whose regions come from its last stage but one, 57,988,838.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: HRNet of timm, or another backbone that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    high = is_high_resolution(encoder)
    aligned = AlignedInput(COARSEST if high else _DILATED_STRIDE)
    if high:
        backbone: Encoder = build_high_resolution_encoder(
            encoder, aligned=aligned, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights
        )
    else:
        backbone = build_encoder(
            encoder,
            in_channels=in_channels,
            output_stride=_DILATED_STRIDE,
            gradual=True,
            pretrained=pretrained,
            weights=encoder_weights,
        )
    return OCRNet(backbone, aligned, num_classes)


def _point(in_channels: int, out_channels: int, bias: bool) -> nn.Sequential:
    return conv_norm_act(in_channels, out_channels, 1, bias=bias)
