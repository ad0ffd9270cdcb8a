"""Where a network puts its scores: what becomes of single pixels that differ from a constant image.

A network is made to look at single pixels: of every convolution padded by half its kernel only the tap in the middle is
left, so that it takes each pixel from where the geometry of its layers puts it, and nothing from around. Context of
whole windows, which has no place, is held at what a constant image gives, and so are the places of maxima. A network
that counts the rows of the window, and says other things of other rows by design, no longer counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from satseg.backend.models.hanet import HeightAttention
from satseg.backend.models.pointrend import PointRend

CELL = 64  # pixels: a multiple of the stride of every network
_GAIN = 0.5  # of a convolution: with 1, residual networks and gates of gates overflow
_SHUT = 1e-3  # scale of a branch that hardly counts
_LARGE = 3  # pixels of a pooled square: the mean of a larger one is context
_CONTEXT = (
    *(F.adaptive_avg_pool2d, F.scaled_dot_product_attention, F.softmax, torch.softmax, Tensor.softmax),
    torch.bmm,  # of features and weights of all pixels
)
_MEANS = (torch.mean, Tensor.mean)


@dataclass(frozen=True)
class Places:
    """How far from their places two impulses come out along one axis of a window.

    Args:
        near: Shift of the one near the upper left corner, in pixels.
        far: Shift of the one near the lower right corner, in pixels.
        difference: Largest difference between their responses, moved onto each other, by the largest response.
    """

    near: float
    far: float
    difference: float


def pinpoint(model: nn.Module) -> nn.Module:
    """Leave every convolution its middle tap, with random weights; return the network in eval mode."""
    generator = torch.Generator().manual_seed(0)
    convs = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    mirrored = {conv.kernel_size for conv in convs if isinstance(conv, nn.ConvTranspose2d) and _shrinks(conv)}
    for conv in convs:
        _leave_middle(conv, generator, alone=_shrinks(conv) and conv.kernel_size in mirrored)
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.GroupNorm):  # its statistics are context of the whole window
                setattr(parent, name, nn.Identity())
            elif isinstance(layer, HeightAttention):
                layer.encoding.zero_()
    for parameter in model.parameters():
        if parameter.numel() == 1 or (parameter.ndim == 1 and 0 < parameter.abs().max() < _SHUT):
            nn.init.ones_(parameter)  # the scale of a branch that training has yet to open
    if isinstance(model, PointRend):  # of pixels chosen by rank, which is that of rounding in a constant image
        model.refine = lambda scores, *_: scores
    return model.eval().requires_grad_(False)


def places(model: nn.Module, side: int, *, axis: int, margin: int = CELL) -> Places:
    """Measure where impulses come out.

    Args:
        model: What :func:`pinpoint` returned, with 3 input channels.
        side: Of the window in pixels along the axis, 256 or more; it is 64 px wide.
        axis: 0 for rows, 1 for columns.
        margin: Distance of the second impulse from the edge in pixels: at least the reach of a feature.
    """
    images = torch.full((3, 3, side, CELL), 0.5)
    taken = _taken_pixel(model)
    images[1, 0, CELL + taken, taken] += 1  # in one band: a norm over channels takes away what is in all
    images[2, 0, side - margin + taken, taken] += 1
    with torch.inference_mode(), _ContextOfFirst():
        scores = model(images if axis == 0 else images.transpose(2, 3).contiguous())
    scores = scores if axis == 0 else scores.transpose(2, 3)  # (3, K, side, 64)
    change = (scores[1:] - scores[:1]).double()
    near, far = change[0, :, : CELL + margin], change[1, :, -CELL - margin :]  # impulses in the same row of both
    shifts = (_centre(part) - CELL - taken for part in (near, far))
    return Places(*shifts, float((near - far).abs().max() / near.abs().max()))


def _taken_pixel(model: nn.Module) -> int:
    """Return which pixel of a cell middle taps take: the first, or the last where images are padded behind them.

    So TensorFlow pads images of even sides for convolutions of stride 2.
    """
    padded_behind = any(isinstance(layer, Conv2dSame) and layer.stride == (2, 2) for layer in model.modules())
    return -1 if padded_behind else 0


def _centre(change: Tensor) -> float:
    """Return the row of the centre of mass."""
    mass = change.abs().sum(dim=(0, 2))
    return float(mass @ torch.arange(len(mass), dtype=torch.float64) / mass.sum())


def _shrinks(conv: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Tell whether a convolution is not padded; a transposed one with its kernel, behind it, restores what it takes."""
    return conv.padding == (0, 0) and conv.stride == (1, 1) and conv.kernel_size > (1, 1)


def _leave_middle(conv: nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator, *, alone: bool) -> None:
    weight = torch.randn(*conv.weight.shape[:2], 1, 1, generator=generator)
    weight *= _GAIN * (2 / (conv.in_channels // conv.groups)) ** 0.5
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    kernel = conv.kernel_size
    reach = zip(conv.padding, conv.dilation, kernel, strict=True)
    padded = isinstance(conv, nn.Conv2d) and all(2 * int(pad) == rate * (side - 1) for pad, rate, side in reach)
    if padded or alone:
        conv.kernel_size, conv.padding, conv.dilation = (1, 1), (0, 0), (1, 1)  # costs less, and sees the same
    elif all(side % 2 for side in kernel):
        middle = torch.zeros(kernel)
        middle[kernel[0] // 2, kernel[1] // 2] = 1
        weight = weight * middle
    else:
        weight = weight.expand_as(conv.weight).contiguous()  # of whole cells
    conv.weight = nn.Parameter(weight)


class _ContextOfFirst(TorchFunctionMode):
    """Give each image of a batch the context and the places of maxima of the first one."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if "max_pool2d" in name and _argument(2, "stride", args, kwargs) == 1:
            return args[0]
        result = func(*args, **kwargs)
        if func is torch.einsum and result.shape == args[-1].shape:  # attention along an axis: to itself alone
            return args[-1]
        if name == "max_pool2d_with_indices":
            indices = result[1][:1].expand_as(result[1])
            return args[0].flatten(2).gather(2, indices.flatten(2)).view_as(result[0]), indices
        large = "avg_pool2d" in name and func not in _CONTEXT and _argument(1, "kernel_size", args, kwargs) > _LARGE
        if large:  # without the zeros around the map
            return result[:1].mean(dim=(2, 3), keepdim=True).expand_as(result)
        if func in _CONTEXT or (func in _MEANS and result.ndim):
            return result[:1].expand_as(result)
        return result


def _argument(place: int, name: str, args: tuple, kwargs: dict) -> int | None:
    value = args[place] if len(args) > place else kwargs.get(name)
    return value[0] if isinstance(value, tuple | list) else value
