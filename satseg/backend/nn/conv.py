"""Convolution, normalisation and activation as one layer."""

from __future__ import annotations

from torch import nn

from satseg.backend.nn.norm import BatchNorm2d


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    eps: float = 1e-5,
    momentum: float = 0.1,
    act: bool = True,
    slope: float = 0.0,
    bias: bool = False,
) -> nn.Sequential:
    """Return a convolution that keeps the size (over its stride), batch normalisation and ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel, odd.
        stride: Stride of the convolution.
        dilation: Dilation of the convolution.
        eps: Added to the variance in the normalisation.
        momentum: Share of a batch in the running statistics.
        act: Whether ReLU follows.
        slope: Of the ReLU below zero: 0.01 where authors use in-place activated normalisation.
        bias: Whether the convolution has a bias, which changes nothing before a normalisation, but is counted.
    """
    pad = kernel // 2 * dilation
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=pad, dilation=dilation, bias=bias)
    norm = BatchNorm2d(out_channels, eps=eps, momentum=momentum)
    relu = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
    return nn.Sequential(conv, norm, *([relu] if act else []))


def separable_conv(in_channels: int, out_channels: int, kernel: int = 3, *, dilation: int = 1) -> nn.Sequential:
    """Return a depthwise and a pointwise convolution, each with batch normalisation and ReLU; the size stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the depthwise kernel, odd.
        dilation: Dilation of the depthwise convolution.
    """
    pad = kernel // 2 * dilation
    depthwise = nn.Conv2d(
        in_channels, in_channels, kernel, padding=pad, dilation=dilation, groups=in_channels, bias=False
    )
    return nn.Sequential(
        depthwise, BatchNorm2d(in_channels), nn.ReLU(inplace=True), conv_norm_act(in_channels, out_channels, 1)
    )
