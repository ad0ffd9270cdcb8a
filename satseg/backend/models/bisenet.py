"""BiSeNet: a shallow path that keeps detail, a deep one for context, and a fusion of both.

Yu, Wang, Peng, Gao, Yu, Sang: "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
ECCV 2018, arXiv 1808.00897. Layers follow its Figure 2 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.resize import resize_like

_WIDTH = 128
_AUX_WEIGHT = 1.0  # section 3.3


class AttentionRefinement(nn.Module):
    """ARM: a convolution whose channels are weighed by their global means (Figure 2b)."""

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv_norm_act(in_channels, out_channels, 3)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv_norm_act(out_channels, out_channels, 1, act=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for (N, in_channels, H, W)."""
        x = self.conv(x)
        return x * self.attention(x)


class FeatureFusion(nn.Module):
    """FFM: concatenation, 1x1 convolution, and channels weighed by their global means (Figure 2c)."""

    global_context = True  # its means are of the whole window

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv_norm_act(in_channels, out_channels, 1)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Return (N, out_channels, H, W) for two maps of that size with in_channels in sum."""
        x = self.conv(torch.cat([detail, context], dim=1))
        return x + x * self.attention(x)


class BiSeNet(nn.Module):
    """The network of Figure 2(a).

    Args:
        encoder: Context path; its last three levels are used.
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        head_width: Channels inside the classifier.
    """

    def __init__(self, encoder: Encoder, in_channels: int, num_classes: int, *, head_width: int) -> None:
        super().__init__()
        self.detail = nn.Sequential(
            conv_norm_act(in_channels, 64, 7, stride=2),
            conv_norm_act(64, 64, 3, stride=2),
            conv_norm_act(64, 64, 3, stride=2),
            conv_norm_act(64, _WIDTH, 1),
        )
        deepest, deep = encoder.channels[-1], encoder.channels[-2]
        self.tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_norm_act(deepest, _WIDTH, 1))
        self.attend = nn.ModuleList([AttentionRefinement(deepest, _WIDTH), AttentionRefinement(deep, _WIDTH)])
        self.refine = nn.ModuleList(conv_norm_act(_WIDTH, _WIDTH, 3) for _ in range(2))
        self.fuse = FeatureFusion(2 * _WIDTH, 2 * _WIDTH)
        self.head = _head(2 * _WIDTH, head_width, num_classes)
        self.aux_heads = nn.ModuleList(_head(_WIDTH, 256, num_classes) for _ in range(2))
        self.aligned = AlignedInput(32)
        he_normal(self.detail, self.tail, self.attend, self.refine, self.fuse, self.head, self.aux_heads)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        fused, _ = self._features(padded)
        return self.aligned.enlarge(self.head(fused), padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits and those of the context path: ``context16`` and ``context8`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        fused, context = self._features(padded)
        scores = [self.head(fused), *(head(x) for head, x in zip(self.aux_heads, context, strict=True))]
        logits, context16, context8 = (self.aligned.enlarge(part, padded, images) for part in scores)
        return logits, {"context16": context16, "context8": context8}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the cross-entropies of the side outputs, weight 1 each; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        detail = self.detail(images)  # (N, 128, H/8, W/8)
        fine, *deep = self.encoder(images)[-3:]
        levels = [*reversed(deep), fine]  # strides 32, 16, 8
        x = resize_like(self.tail(levels[0]), levels[0], align_corners=True)
        context = []
        for i, (attend, refine) in enumerate(zip(self.attend, self.refine, strict=True)):
            x = refine(resize_like(attend(levels[i]) + x, levels[i + 1], align_corners=True))
            context.append(x)
        return self.fuse(detail, resize_like(x, detail, align_corners=True)), context  # (N, 256, H/8, W/8)


def bisenet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet18",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> BiSeNet:
    """Build BiSeNet: a path for detail beside one for context, fused by attention over channels.

    Paper: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", arXiv 1808.00897
    Year: 2018
    Family: real-time
    Encoder: resnet18
    Parameters: 12,894,163
    Multiply-adds: 13.6 G
    Output stride: 32
    Rate: 3e-3
    Use: many scenes on a GPU, with a pretrained encoder

    Two classifiers on the context path serve training alone, with weight 1 each (section 3.3). Convolutions outside of
    the encoder start as He et al. (2015) propose. Features and scores are interpolated with aligned corners, as the
    authors have it; images are mirrored at the right and bottom edge up to 32 k + 1 px, and logits cut back. Deviation:
    those two learn by plain cross-entropy whatever the loss of the logits is, where the authors' code has that of the
    hard pixels (probability below 0.7) for all three. The paper's 49.0 M for this network are most likely megabytes of
    weights. With encoder ``resnet101s`` it has 47,638,803 parameters.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Context path: a backbone of timm with features at strides 8, 16 and 32.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    context = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    # The classifier is four times as wide on the deep encoders, whose features have 2048 channels.
    head_width = 64 if context.channels[-1] <= 512 else 256
    return BiSeNet(context, in_channels, num_classes, head_width=head_width)


def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_act(in_channels, width, 3), nn.Conv2d(width, num_classes, 1))
