"""DeepLab v2: ResNet-101 at stride 8 and a sum of classifiers with different dilations.

Chen, Papandreou, Kokkinos, Murphy, Yuille: "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
Atrous Convolution, and Fully Connected CRFs", TPAMI 2018, arXiv 1606.00915. The variant is DeepLab-ASPP-L of its
section 4.1.2 on ResNet-101.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import normal
from satseg.backend.nn.resize import resize_like

_RATES = (6, 12, 18, 24)
_SCALES = (0.5, 0.75)  # beside the full one


class DeepLabV2(nn.Module):
    """DeepLab-ASPP-L.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(
            nn.Conv2d(encoder.channels[-1], num_classes, 3, padding=rate, dilation=rate) for rate in _RATES
        )
        self.aligned = AlignedInput(8, corners=False)
        normal(self.heads, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        return self.aligned.enlarge(self.scores(padded), padded, images)

    def scores(self, images: Tensor) -> Tensor:
        """Return the scores (N, num_classes, H/8, W/8) of extended images before they are enlarged."""
        features = self.encoder(images)[-1]  # (N, 2048, H/8, W/8)
        return torch.stack([head(features) for head in self.heads]).sum(dim=0)


class MultiScaleDeepLabV2(nn.Module):
    """The same network on the image at three scales, fused by the maximum of their scores (section 4.1.2).

    Args:
        net: The network, shared by all scales.
    """

    def __init__(self, net: DeepLabV2) -> None:
        super().__init__()
        self.net = net
        self.aligned = AlignedInput(32, corners=False)  # 8 divides every scale of it

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        logits, _ = self.forward_with_aux(images)
        return logits

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the fused logits, and the scores of every scale: ``scale0.5``, ``scale0.75`` and ``scale1``."""
        padded = self.aligned(images)
        outputs = {"scale1": self.net.scores(padded)}
        for scale in _SCALES:
            small = F.interpolate(padded, scale_factor=scale, mode="bilinear", align_corners=False)
            outputs[f"scale{scale}"] = self.net.scores(small)
        full = outputs["scale1"]
        fused = torch.stack([resize_like(scores, full) for scores in outputs.values()]).amax(dim=0)
        logits = self.aligned.enlarge(fused, padded, images)
        return logits, {name: self.aligned.enlarge(scores, padded, images) for name, scores in outputs.items()}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the cross-entropies of every scale, weight 1 each; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=1.0)


def deeplabv2(
    *,
    in_channels: int,
    num_classes: int,
    multi_scale: bool = False,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DeepLabV2 | MultiScaleDeepLabV2:
    """Build DeepLab v2: a dilated ResNet-101 under a sum of classifiers with dilations 6, 12, 18 and 24.

    Paper: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets ...", arXiv 1606.00915
    Year: 2016
    Family: dilated
    Encoder: resnet101
    Parameters: 43,901,068
    Multiply-adds: 183.0 G
    Output stride: 8
    Rate: 3e-3
    Use: comparison with its paper, with CRF

    The classifiers start from a normal distribution of standard deviation 0.01; there is no dropout. Deviations:
    downsampling blocks stride in their 3x3 convolution, as timm's weights have it, not in the first 1x1; the first
    pooling rounds sizes down, so that 8 k px have k features, not k + 1; scores are interpolated between the centres of
    cells, where the authors align corners: all of them lie 3.5 px to the lower right of the centres of their features;
    batch normalisation is trained, where the authors kept that of the pretrained network. Sizes that 8 does not divide
    (32 with several scales) are mirrored at the right and bottom edge and cut back. The fully connected CRF is
    post-processing (``crf`` of ``satseg.predict``) and not part of the network.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        multi_scale: Run at scales 0.5, 0.75 and 1 and keep the maximum of the scores; each scale has a loss.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder, in_channels=in_channels, output_stride=8, pretrained=pretrained, weights=encoder_weights
    )
    net = DeepLabV2(backbone, num_classes)
    return MultiScaleDeepLabV2(net) if multi_scale else net
