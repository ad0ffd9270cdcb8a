"""DPT: maps of four resolutions from four depths of a plain vision transformer, fused from the coarsest up.

Ranftl, Bochkovskiy, Koltun: "Vision Transformers for Dense Prediction", ICCV 2021, arXiv 2103.13413. Blocks follow its
section 3.1 and Figure 1 (reassemble, fusion), widths those of DPT-Large and the semantic segmentation of section 4.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like
from satseg.backend.nn.token_encoder import TokenEncoder, build_token_encoder

_STRIDES = (4, 8, 16, 32)
_WIDTHS = (256, 512, 1024, 1024)  # of the maps at these strides
_WIDTH = 256


def _resample(channels: int, stride: int, wanted: int) -> nn.Module:
    """Return a convolution from one stride to another, both powers of two."""
    if stride > wanted:
        return nn.ConvTranspose2d(channels, channels, stride // wanted, stride=stride // wanted)
    if stride < wanted:
        return nn.Conv2d(channels, channels, 3, stride=wanted // stride, padding=1)
    return nn.Identity()


class Reassemble(nn.Module):
    """A map from tokens: the class token is read into each, and the map brought to a stride (equations 1 to 5).

    Args:
        channels: Channels of the tokens.
        patch: Input pixels per token; the nearest power of two has its place where it is none.
        stride: Input pixels per pixel of the output.
        width: Channels of the map before the last convolution.
        reads_class: Whether there is a class token.
    """

    def __init__(self, channels: int, patch: int, stride: int, width: int, *, reads_class: bool) -> None:
        super().__init__()
        base = 2 ** round(math.log2(patch))
        self.scale = patch / base
        self.read = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU()) if reads_class else None
        self.resample = nn.Sequential(nn.Conv2d(channels, width, 1), _resample(width, base, stride))
        self.out = nn.Conv2d(width, _WIDTH, 3, padding=1, bias=False)

    def forward(self, tokens: Tensor, class_token: Tensor | None) -> Tensor:
        """Return (N, 256, H/stride, W/stride) for tokens (N, C, h, w) and the class token (N, C)."""
        if self.read is not None and class_token is not None:
            rows = tokens.permute(0, 2, 3, 1)
            read = class_token[:, None, None].expand_as(rows)
            tokens = self.read(torch.cat([rows, read], dim=-1)).permute(0, 3, 1, 2)
        if self.scale != 1:  # with the exact factor, so that pixels stay in place
            tokens = F.interpolate(tokens, scale_factor=self.scale, mode="bilinear")
        return self.out(self.resample(tokens))


class _Residual(nn.Module):
    """Two 3x3 convolutions behind their activations, added to their input, as in RefineNet."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            conv = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False)
            layers += [nn.ReLU(), conv, BatchNorm2d(_WIDTH)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Fusion(nn.Module):
    """A map is refined, added to what comes from the coarser ones, refined again and enlarged (Figure 1, right)."""

    def __init__(self) -> None:
        super().__init__()
        self.refine, self.refine_sum = _Residual(), _Residual()
        self.out = nn.Conv2d(_WIDTH, _WIDTH, 1)

    def forward(self, level: Tensor, coarser: Tensor | None) -> Tensor:
        """Return (N, 256, 2h, 2w) for a map (N, 256, h, w) and what the coarser ones gave, of that size."""
        x = self.refine(level)
        if coarser is not None:
            x = x + resize_like(coarser, x)
        return self.out(F.interpolate(self.refine_sum(x), scale_factor=2, mode="bilinear"))


class DPT(nn.Module):
    """The network of Figure 1 with the head for semantic segmentation.

    Args:
        encoder: Plain vision transformer, tapped at four depths.
        num_classes: Classes of the output.
        dropout: Share of activations dropped before the classifier.
    """

    def __init__(self, encoder: TokenEncoder, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.reassemble = nn.ModuleList(
            Reassemble(encoder.width, encoder.patch, stride, width, reads_class=encoder.has_class_token)
            for stride, width in zip(_STRIDES, _WIDTHS, strict=True)
        )
        self.fuse = nn.ModuleList(Fusion() for _ in _STRIDES)
        self.head = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False),
            BatchNorm2d(_WIDTH),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(_WIDTH, num_classes, 1),
        )
        he_normal(self.reassemble, self.fuse, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, _STRIDES[-1])
        maps = [part(*tokens) for part, tokens in zip(self.reassemble, self.encoder(padded), strict=True)]
        x = None
        for fuse, level in zip(self.fuse, reversed(maps), strict=True):
            x = fuse(level, x)  # (N, 256, H/16, W/16), up to H/2, W/2
        assert x is not None
        return resize_like(self.head(x), padded)[..., :height, :width]


def dpt(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.1,
    encoder: str = "vit_small_patch16_dinov3",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DPT:
    """Build DPT: four depths of a plain vision transformer become maps of four resolutions, which are fused.

    Paper: Ranftl et al., "Vision Transformers for Dense Prediction", ICCV, arXiv 2103.13413
    Year: 2021
    Family: transformer
    Encoder: vit_small_patch16_dinov3
    Parameters: 52,179,475
    Multiply-adds: 152.3 G
    Output stride: 32
    Rate: 3e-4
    Use: pretrained plain transformers (DINOv3), on a GPU

    Tokens are tapped behind each quarter of the blocks, 3, 6, 9 and 12 of 12, and the class token is read into each
    ("project"). Maps are 256, 512, 1024 and 1024 wide at strides 4 to 32, and 256 in the fusion. Deviations: the
    default is a small transformer, where the paper has ViT-B and larger ones; of 24 blocks, the sixth is tapped for the
    fifth; the coarsest map is refined twice as well, where the authors' network has that unit and never uses it;
    enlargement keeps pixels in place, where theirs aligns corners. Patches whose side is no power of two are resampled
    to the nearest one, and a transformer without a class token goes without its layer. The norm behind the last block
    has no place here and is left out. Sizes that 32 does not divide are mirrored at the right and lower edge and
    cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of activations dropped before the classifier, 0 to below 1.
        encoder: Plain vision transformer of timm (``vit_base_patch16_dinov3``: 120,854,803 parameters).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.

    Raises:
        ArchitectureError: The encoder is no plain vision transformer, or cannot serve.
    """
    backbone = build_token_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return DPT(backbone, num_classes, dropout=dropout)
