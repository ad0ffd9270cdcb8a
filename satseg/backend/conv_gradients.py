"""Weight gradients of convolutions by matrix products, on processors where oneDNN computes them slowly.

On processors without AVX-512, oneDNN computes the gradient of a convolution by its weights at a third to a half of the
rate of the convolution itself. As one matrix product per tap of the kernel it runs at the rate of the convolution, and
rounds less: sums over all pixels are accumulated by image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

_MIN_WEIGHTS = 512  # of a tap: products of narrower matrices gain nothing
_WIDE_SHIFT = 8  # a shift beyond the eighth part of the width costs less by copying than by correcting


def fast_conv_gradients(device: torch.device, *, compiled: bool = False) -> AbstractContextManager[object]:
    """Return the context in which convolutions compute their weight gradients in the fastest way.

    Args:
        device: Device of the network.
        compiled: Whether the network is compiled, which has ways of its own.
    """
    is_slow = device.type == "cpu" and not compiled and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return ConvGradients() if is_slow else nullcontext()


class ConvGradients(TorchFunctionMode):
    """Compute the weight gradients of all suitable convolutions by :func:`weight_gradient`.

    Suitable are float32 convolutions in channels_last layout whose output has the size of their input, with stride 1,
    one group, a kernel of several pixels, and enough channels (16 to 32, 32 to 16). All others are left as they are.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or its replacement."""
        if func is torch.conv2d and len(args) == 7 and _is_suitable(*args):
            images, weight, bias, _, padding, dilation, _ = args
            return _Convolution.apply(images, weight, bias, padding, dilation)
        return func(*args, **(kwargs or {}))


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the gradient of a convolution by its weights, if it has stride 1 and keeps the size.

    Args:
        images: (N, C, H, W) float32 in channels_last layout, input of the convolution.
        gradient: (N, K, H, W) float32 in channels_last layout, gradient of its output.
        kernel: Height and width of the kernel.
        padding: Rows and columns of zeros on each side.
        dilation: Distance of the taps in rows and columns.

    Returns:
        (K, C, *kernel) float32.
    """
    out_channels, in_channels = gradient.shape[1], images.shape[1]
    x, y = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # (N, H, W, C), (N, H, W, K)
    taps = images.new_zeros(*kernel, out_channels, in_channels)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            down, right = row * dilation[0] - padding[0], column * dilation[1] - padding[1]
            _correlate(x, y, down, right, out=taps[row, column])
    return taps.permute(2, 3, 0, 1)


def _correlate(x: Tensor, y: Tensor, down: int, right: int, *, out: Tensor) -> None:
    """Sum the products of each pixel of ``y`` with the pixel of ``x`` that lies ``down`` rows and ``right`` columns on.

    Args:
        x: (N, H, W, C).
        y: (N, H, W, K).
        down: Rows, downwards.
        right: Columns, to the right.
        out: (K, C) zeros; gets the sums.
    """
    height, width = x.shape[1:3]
    top, bottom = max(0, -down), height - max(0, down)
    if bottom <= top or abs(right) >= width:
        return  # the tap sees padding alone
    x, y = x[:, top + down : bottom + down], y[:, top:bottom]
    if abs(right) * _WIDE_SHIFT > width:
        x, y = x[:, :, max(0, right) : width + min(0, right)], y[:, :, max(0, -right) : width - max(0, right)]
        _add_products(x.flatten(1, 2), y.flatten(1, 2), out)
        return
    # Pixels of all rows lie in one line, where a shift takes the pixels at the end of a row to the next row.
    pixels = (bottom - top) * width
    x_line = x.flatten(1, 2)[:, max(0, right) : pixels + min(0, right)]
    y_line = y.flatten(1, 2)[:, max(0, -right) : pixels - max(0, right)]
    _add_products(x_line, y_line, out)
    if right > 0:
        _subtract_products(x[:, 1:, :right], y[:, :-1, width - right :], out)
    elif right < 0:
        _subtract_products(x[:, :-1, width + right :], y[:, 1:, :-right], out)


def _add_products(x: Tensor, y: Tensor, out: Tensor) -> None:
    """Set ``out`` (K, C) to the sum over images and pixels of ``y`` (N, P, K) times ``x`` (N, P, C)."""
    torch.sum(torch.bmm(y.transpose(1, 2), x), dim=0, out=out)


def _subtract_products(x: Tensor, y: Tensor, out: Tensor) -> None:
    """Subtract the sum over all pixels of ``y`` (N, H, W, K) times ``x`` (N, H, W, C) from ``out`` (K, C)."""
    out.addmm_(y.flatten(0, 2).t(), x.flatten(0, 2), alpha=-1)


class _Convolution(torch.autograd.Function):
    """A convolution of stride 1 that keeps the size, with its weight gradient by matrix products."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int], dilation: Sequence[int]
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return torch.conv2d(images, weight, bias, 1, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_images, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (
            conv2d_input(images.shape, weight, gradient, 1, ctx.padding, ctx.dilation) if of_images else None,
            weight_gradient(images, gradient, weight.shape[2:], ctx.padding, ctx.dilation) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _is_suitable(
    images: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> bool:
    kernel = weight.shape[2:]
    return (
        all(isinstance(pair, tuple) for pair in (stride, padding, dilation))  # as layers pass them
        and stride == (1, 1)
        and groups == 1
        and kernel.numel() > 1
        and all(2 * pad == step * (side - 1) for pad, step, side in zip(padding, dilation, kernel, strict=True))
        and weight.shape[0] * weight.shape[1] >= _MIN_WEIGHTS
        and images.ndim == 4
        and images.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and images.is_contiguous(memory_format=torch.channels_last)
    )
