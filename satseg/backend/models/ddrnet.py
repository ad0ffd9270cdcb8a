"""DDRNet: a fine and a coarse residual branch that exchange features, and a pyramid of poolings on the coarse one.

Hong, Pan, Sun, Jia: "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road
Scenes", arXiv 2101.06085, 2021. Layers follow its Table 1, the pyramid its Figure 5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import BatchNorm2d
from satseg.backend.nn.resize import resize_like

_AUX_WEIGHT = 0.4  # of what the paper calls deep supervision
_TWO_BRANCHES = {
    # Coarse branch: channels (in those of the stem) and stride; times that fine features are halved to meet it.
    "conv4_1": (4, 2, 1),
    "conv4_2": (4, 1, 1),
    "conv5_1": (8, 2, 2),
}
"""Stages of Table 1 that both branches have, each ending in an exchange; only DDRNet-39 has two parts of conv4."""


class _Residual(nn.Module):
    """Residual block: ``branch`` plus the input, projected where their shapes differ.

    Args:
        branch: Convolutions with normalisation, without a last activation.
        project: What brings the input to the branch's shape, or None.
        act: Whether ReLU follows the sum; the last block of a stage hands on the sum itself.
    """

    def __init__(self, branch: nn.Module, project: nn.Module | None, *, act: bool) -> None:
        super().__init__()
        self.branch = branch
        self.project = project or nn.Identity()
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + self.project(x))


class _Pyramid(nn.Module):
    """DAPPM: poolings of growing windows, each refined on top of the one before (Figure 5, equation 2)."""

    global_context = True  # its last pooling is of the whole window

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        windows = (nn.AvgPool2d(kernel, stride, kernel // 2) for kernel, stride in ((5, 2), (9, 4), (17, 8)))
        pools = (nn.Identity(), *windows, nn.AdaptiveAvgPool2d(1))
        self.scales = nn.ModuleList(nn.Sequential(pool, *_norm_act_conv(in_channels, width, 1)) for pool in pools)
        self.refine = nn.ModuleList(nn.Sequential(*_norm_act_conv(width, width, 3)) for _ in range(4))
        self.compress = nn.Sequential(*_norm_act_conv(5 * width, out_channels, 1))
        self.shortcut = nn.Sequential(*_norm_act_conv(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.scales[0](x)]
        for scale, refine in zip(list(self.scales)[1:], self.refine, strict=True):
            parts.append(refine(resize_like(scale(x), x) + parts[-1]))
        return self.compress(torch.cat(parts, dim=1)) + self.shortcut(x)  # (N, out, H/64, W/64)


class _Exchange(nn.Module):
    """Bilateral fusion: each branch gets the other's features at its own resolution and width."""

    def __init__(self, fine: int, coarse: int, *, halvings: int) -> None:
        super().__init__()
        self.lift = _conv_norm(coarse, fine, 1)
        steps: list[nn.Module] = []
        width = fine
        for i in range(halvings):
            out = coarse // 2 ** (halvings - 1 - i)
            steps += [*([nn.ReLU(inplace=True)] if i else []), _conv_norm(width, out, 3, stride=2)]
            width = out
        self.lower = nn.Sequential(*steps)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        lifted = resize_like(self.lift(torch.relu(coarse)), fine)
        return fine + lifted, coarse + self.lower(torch.relu(fine))


class DDRNet(nn.Module):
    """The network of Table 1.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        width: Channels of the stem.
        head_width: Channels inside the classifiers.
        depths: Residual blocks of conv2 and of each stage in the order of Table 1, the same in both branches.
        pyramid_width: Channels of each part of the pyramid.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int,
        head_width: int,
        depths: dict[str, int],
        pyramid_width: int = 128,
    ) -> None:
        super().__init__()
        fine = 2 * width
        self.stem = nn.Sequential(_stem_conv(in_channels, width), _stem_conv(width, width))
        self.stage2 = _stage(width, width, depths["conv2"])
        self.stage3 = _stage(width, fine, depths["conv3"], stride=2)
        self.coarse, self.fine, self.exchange = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = fine
        for name, (factor, stride, halvings) in _TWO_BRANCHES.items():
            if name in depths:
                self.coarse.append(_stage(before, factor * width, depths[name], stride=stride))
                self.fine.append(_stage(fine, fine, depths[name]))
                self.exchange.append(_Exchange(fine, factor * width, halvings=halvings))
                before = factor * width
        self.fine_last = _bottleneck(fine, fine)
        self.coarse_last = _bottleneck(8 * width, 8 * width, stride=2)
        self.pyramid = _Pyramid(16 * width, pyramid_width, 4 * width)
        self.head = _head(4 * width, head_width, num_classes)
        self.aux_head = _head(fine, head_width, num_classes)
        self.aligned = AlignedInput(64, corners=False)
        he_normal(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        features, _ = self._features(padded)
        return self.aligned.enlarge(self.head(features), padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of the fine branch behind conv4: ``fine`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        features, fine = self._features(padded)
        logits = self.aligned.enlarge(self.head(features), padded, images)
        return logits, {"fine": self.aligned.enlarge(self.aux_head(fine), padded, images)}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return 0.4 times the cross-entropy of the side output; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=_AUX_WEIGHT)

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stage2(self.stem(images))  # (N, width, H/4, W/4)
        fine = coarse = self.stage3(torch.relu(x))  # (N, 2 width, H/8, W/8)
        for coarse_stage, fine_stage, exchange in zip(self.coarse, self.fine, self.exchange, strict=True):
            side = fine  # in the end: the output of conv4
            coarse, fine = coarse_stage(torch.relu(coarse)), fine_stage(torch.relu(fine))
            fine, coarse = exchange(fine, coarse)
        fine = self.fine_last(torch.relu(fine))  # (N, 4 width, H/8, W/8)
        coarse = self.pyramid(self.coarse_last(torch.relu(coarse)))  # (N, 4 width, H/64, W/64)
        return fine + resize_like(coarse, fine), side


def ddrnet23slim(*, in_channels: int, num_classes: int) -> DDRNet:
    """Build DDRNet-23-slim: two residual branches that exchange features, in half width.

    Paper: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic ...", arXiv 2101.06085
    Year: 2021
    Family: real-time
    Encoder: own
    Parameters: 5,695,987
    Multiply-adds: 4.5 G
    Output stride: 64
    Rate: 3e-3
    Use: large scenes on processors: a third of erfnet's MACs

    Convolutions start from a normal distribution of variance 2 / fan-out, as in the authors' network. A classifier on
    the fine branch behind conv4 serves training alone, with weight 0.4. Scores are at stride 8; interpolation does not
    align corners, as in the authors' network. Sizes that 64 does not divide are mirrored at the right and bottom edge
    and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return _ddrnet23(in_channels, num_classes, width=32, head_width=64)


def ddrnet23(*, in_channels: int, num_classes: int) -> DDRNet:
    """Build DDRNet-23: two residual branches that exchange features and a pyramid of poolings.

    Paper: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic ...", arXiv 2101.06085
    Year: 2021
    Family: real-time
    Encoder: own
    Parameters: 20,148,947
    Multiply-adds: 17.9 G
    Output stride: 64
    Rate: 3e-3
    Use: ddrnet23slim in full width, where there are many tiles

    Initialisation and auxiliary loss are those of ``ddrnet23slim``.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
    """
    return _ddrnet23(in_channels, num_classes, width=64, head_width=128)


def ddrnet39(*, in_channels: int, num_classes: int, width_multiple: float = 1.0) -> DDRNet:
    """Build DDRNet-39: the deeper DDRNet, with conv4 in two parts and a third exchange.

    Paper: Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic ...", arXiv 2101.06085
    Year: 2021
    Family: real-time
    Encoder: own
    Parameters: 32,360,275
    Multiply-adds: 35.1 G
    Output stride: 64
    Rate: 3e-3
    Use: deeper than ddrnet23, where there are many tiles and a GPU

    Initialisation and auxiliary loss are those of ``ddrnet23slim``.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        width_multiple: Factor on the channels of both branches. 1.5 is the paper's DDRNet-39 1.5x (70,971,379
            parameters) as far as it can be inferred: the authors' published code leaves it out.
    """
    return DDRNet(
        in_channels,
        num_classes,
        width=round(64 * width_multiple),
        head_width=256,
        depths={"conv2": 3, "conv3": 4, "conv4_1": 3, "conv4_2": 3, "conv5_1": 3},
    )


def _ddrnet23(in_channels: int, num_classes: int, *, width: int, head_width: int) -> DDRNet:
    depths = {"conv2": 2, "conv3": 2, "conv4_1": 2, "conv5_1": 2}
    return DDRNet(in_channels, num_classes, width=width, head_width=head_width, depths=depths)


def _conv_norm(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, BatchNorm2d(out_channels))


def _norm_act_conv(in_channels: int, out_channels: int, kernel: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return BatchNorm2d(in_channels), nn.ReLU(inplace=True), conv


def _stem_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def _stage(in_channels: int, out_channels: int, depth: int, *, stride: int = 1) -> nn.Sequential:
    blocks = []
    for i in range(depth):
        before, step = (in_channels, stride) if i == 0 else (out_channels, 1)
        branch = nn.Sequential(
            _conv_norm(before, out_channels, 3, stride=step),
            nn.ReLU(inplace=True),
            _conv_norm(out_channels, out_channels, 3),
        )
        project = _conv_norm(before, out_channels, 1, stride=step) if step > 1 or before != out_channels else None
        blocks.append(_Residual(branch, project, act=i < depth - 1))
    return nn.Sequential(*blocks)


def _bottleneck(in_channels: int, width: int, *, stride: int = 1) -> _Residual:
    branch = nn.Sequential(
        _conv_norm(in_channels, width, 1),
        nn.ReLU(inplace=True),
        _conv_norm(width, width, 3, stride=stride),
        nn.ReLU(inplace=True),
        _conv_norm(width, 2 * width, 1),
    )
    return _Residual(branch, _conv_norm(in_channels, 2 * width, 1, stride=stride), act=False)


def _head(in_channels: int, width: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        *_norm_act_conv(in_channels, width, 3),
        *(BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, num_classes, 1)),
    )
