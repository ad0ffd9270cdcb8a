"""How far a network can see: the extent of the input that changes one pixel of its output, by the gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_ROWS = 32  # the fewest that networks take: a narrow image makes a long way cheap
_WIDTHS = (512, 1024, 2048, 4096, 5120)
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


def receptive_field(model: nn.Module, *, in_channels: int) -> int | None:
    """Return how many pixels of a row of the input, from the first to the last, can change a pixel of the output.

    This is the field on paper, found by the gradient of the pixel in the middle of an image: what is not zero in it.
    Weights become positive and norms neutral, maxima become means, attention heeds all places alike, and the gradient
    is set to one wherever it is not zero behind each convolution, so that every path counts, none cancels another, and
    the longest does not fade away.
    What only places of maxima tell, in networks that unpool by them, is not counted. Other pixels may see one cell of
    the coarsest features more or less. A trained network heeds a part of the field only: that is measured by
    ``satseg.inference.receptive_field``. A network that cuts images into windows of its own size is given one of them.

    Args:
        model: A network on a CPU, which is of no use afterwards: its weights and poolings are others.
        in_channels: Bands of the input.

    Returns:
        Pixels; None where they reach an end of an image of 5120 px, or of its window: the whole image counts.
    """
    _open_all_paths(model)
    window: int | None = getattr(model, "window", None)
    for width in _WIDTHS if window is None else (window,):
        seen = _seen(model, in_channels, width)
        if not (seen[0] or seen[-1]):
            columns = seen.nonzero()
            return int(columns[-1] - columns[0]) + 1
    return None


def _open_all_paths(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    model.eval().requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase):
            layer.reset_running_stats()
        elif isinstance(layer, nn.MaxPool2d):
            layer.forward = partial(_mean_pool, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda layer, inputs, output: _flatten_gradient(output))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:  # means, since sums would grow beyond what saturating activations let through
            parameter.uniform_(0.5, 1.5, generator=generator).div_(parameter[0].numel())
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _mean_pool(layer: nn.MaxPool2d, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    geometry = (layer.kernel_size, layer.stride, layer.padding)
    means = F.avg_pool2d(x, *geometry, ceil_mode=layer.ceil_mode)
    if not layer.return_indices:
        return means
    return means, F.max_pool2d(x, *geometry, ceil_mode=layer.ceil_mode, return_indices=True)[1]


def _flatten_gradient(output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient.ne(0).to(gradient))


def _seen(model: nn.Module, in_channels: int, width: int) -> Tensor:
    """Return (W,) bool: which columns of the input a pixel in the middle of the output sees.

    The pixel lies beside the middle, which is on the grid of coarse features in networks with aligned corners: on it
    a pixel is told by one cell alone, where nearly all others are by two.
    """
    images = torch.rand(1, in_channels, _ROWS, width, generator=torch.Generator().manual_seed(0))
    images.add_(0.5).requires_grad_()
    with _EvenAttention():
        logits: Tensor = model(images)
    (gradient,) = torch.autograd.grad(logits[0, :, _ROWS // 2, width // 2 + 1].sum(), images)
    return gradient[0].ne(0).any(dim=0).any(dim=0)


class _EvenAttention(TorchFunctionMode):
    """Keep softmax from being so sure of one place that the weights of others are zero in floating-point numbers.

    What compares places with the largest value of the map compares them with the mean, and nothing is clamped: gates
    that follow from such values are open.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SOFTMAX:
            args = (F.softsign(args[0]), *args[1:])
        elif func is F.scaled_dot_product_attention:
            kwargs = {**kwargs, "scale": 0.0}
        elif func is Tensor.amax:
            func = torch.mean
        elif func is Tensor.clamp:
            return args[0]
        return func(*args, **kwargs)
