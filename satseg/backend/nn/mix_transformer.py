"""Mix Transformer (MiT): the encoder of SegFormer, a transformer with stages, for images of any size.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo: "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, arXiv 2105.15203, section 3.1 and Table 6. It has no positions: convolutions inside the
blocks and overlapping patches tell it where things are. timm does not have it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple

DEPTHS = {
    "mit_b0": (2, 2, 2, 2),
    "mit_b1": (2, 2, 2, 2),
    "mit_b2": (3, 4, 6, 3),
    "mit_b3": (3, 4, 18, 3),
    "mit_b4": (3, 8, 27, 3),
    "mit_b5": (3, 6, 40, 3),
}
"""Blocks of each stage, by the name of the encoder."""

_WIDTHS, _WIDTHS_B0 = (64, 128, 320, 512), (32, 64, 160, 256)
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)  # sides of the squares that keys and values are reduced by
_EXPANSION = 4
_DROP_PATH = 0.1  # of the last block; it grows from 0
_EPS = 1e-6  # of the norms in and behind the blocks; those of patches and of reduced keys have torch's


class _Attention(nn.Module):
    """Efficient self-attention (equation 2): all pixels attend to squares of pixels that a convolution summarises."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, stride=reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width) if reduction > 1 else None

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, C)
        context = x.flatten(1, 2)
        if self.reduce is not None and self.norm is not None:
            context = self.norm(self.reduce(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
        query = self.q(x).flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, HW, C / heads)
        key, value = self.kv(context).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.proj(mixed.unflatten(1, x.shape[1:3]))


class _MixFFN(nn.Module):
    """A perceptron for each pixel with a depthwise 3x3 convolution inside, which shows it its place (equation 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = _EXPANSION * width
        self.fc1 = nn.Linear(width, inner)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, C)
        x = self.conv(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.attn = _Attention(width, heads, reduction)
        self.mlp = _MixFFN(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:  # (N, H, W, C)
        x = x + self._or_nothing(self.attn(self.norm1(x)))
        return x + self._or_nothing(self.mlp(self.norm2(x)))

    def _or_nothing(self, x: Tensor) -> Tensor:
        """Leave the branch out for some images while training, and scale it up for the others (stochastic depth)."""
        if not self.training or self.drop_path == 0:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.drop_path)
        return x * kept / (1 - self.drop_path)


class _Patches(nn.Module):
    """Overlapping patches: a convolution with a stride, and a norm over channels."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) to (N, H / stride, W / stride, width)
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class _Stage(nn.Module):
    def __init__(self, patches: _Patches, blocks: list[_Block], width: int) -> None:
        super().__init__()
        self.patches = patches
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) to (N, width, H / stride, W / stride)
        return self.norm(self.blocks(self.patches(x))).permute(0, 3, 1, 2).contiguous()


class MixTransformer(nn.Module):
    """The hierarchical encoder of Figure 2.

    Parameters of ``mit_b0`` to ``mit_b5`` (Table 6 gives millions): 3,319,392, 13,151,424, 24,196,288, 44,072,128,
    60,842,688 and 81,443,008. The authors' weights are loaded under their names by :mod:`.key_layouts`.

    Args:
        name: One of :data:`DEPTHS`.
        in_channels: Bands of the input.

    Attributes:
        channels: Channels of each level, finest first.
        strides: Input pixels per pixel of each level: 4, 8, 16 and 32.
    """

    strides = (4, 8, 16, 32)
    global_context = True  # each token attends to the whole window

    def __init__(self, name: str, *, in_channels: int) -> None:
        super().__init__()
        depths = DEPTHS[name]
        self.channels = _WIDTHS_B0 if name == "mit_b0" else _WIDTHS
        rates = iter(torch.linspace(0, _DROP_PATH, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList()
        above = in_channels
        for depth, width, heads, reduction in zip(depths, self.channels, _HEADS, _REDUCTIONS, strict=True):
            patches = _Patches(above, width, *((3, 2) if self.stages else (7, 4)))
            self.stages.append(
                _Stage(patches, [_Block(width, heads, reduction, next(rates)) for _ in range(depth)], width)
            )
            above = width
        _initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[i], H / strides[i], W / strides[i]) for each level i, sizes rounded up."""
        height, width = images.shape[-2:]
        x, levels = pad_to_multiple(images, self.strides[-1]), []
        for stage, stride in zip(self.stages, self.strides, strict=True):
            x = stage(x)
            levels.append(x[..., : (height + stride - 1) // stride, : (width + stride - 1) // stride])
        return levels


def _initialise(net: nn.Module) -> None:
    """Draw convolutions by the outputs that each input reaches, and projections with a deviation of 0.02."""
    he_normal(net, mode="fan_out")
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
            # Each output reaches one channel alone, which torch's fan-out does not know.
            nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
