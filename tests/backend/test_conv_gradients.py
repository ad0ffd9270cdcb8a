from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from satseg.backend import conv_gradients, create_model
from satseg.backend.conv_gradients import ConvGradients, fast_conv_gradients, weight_gradient


def whole_numbers(*shape: int, seed: int) -> torch.Tensor:
    """Return small whole numbers, whose sums of products are exact in float32."""
    values = torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()
    return values.contiguous(memory_format=torch.channels_last)


@settings(deadline=None, max_examples=60)
@given(
    images=st.integers(1, 3),
    size=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    kernel=st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3, 5])),
    dilation=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
def test_weight_gradients_are_those_of_torch(
    images: int, size: tuple[int, int], kernel: Sequence[int], dilation: Sequence[int], seed: int
) -> None:
    padding = tuple(step * (side // 2) for step, side in zip(dilation, kernel, strict=True))
    x, gradient = whole_numbers(images, 3, *size, seed=seed), whole_numbers(images, 2, *size, seed=seed + 1)
    expected = conv2d_weight(x, (2, 3, *kernel), gradient, padding=padding, dilation=tuple(dilation))
    assert torch.equal(weight_gradient(x, gradient, kernel, padding, dilation), expected)


@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((3, 1), 2), ((1, 3), 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_has_the_outputs_and_gradients_it_has_alone(
    kernel: tuple[int, int], dilation: int, *, bias: bool
) -> None:
    padding = tuple(dilation * (side // 2) for side in kernel)
    layer = nn.Conv2d(32, 32, kernel, padding=padding, dilation=dilation, bias=bias)
    layer.to(memory_format=torch.channels_last)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(torch.randint(-4, 5, parameter.shape, generator=torch.Generator().manual_seed(number)))
    x, gradient = whole_numbers(2, 32, 12, 20, seed=7), whole_numbers(2, 32, 12, 20, seed=8)

    def results() -> list[torch.Tensor]:
        layer.zero_grad()
        images = x.clone(memory_format=torch.channels_last).requires_grad_()
        outputs = layer(images)
        outputs.backward(gradient)
        return [outputs.detach(), images.grad, *(parameter.grad for parameter in layer.parameters())]  # type: ignore[list-item]

    expected = results()
    with ConvGradients():
        found = results()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def replaced(monkeypatch: pytest.MonkeyPatch, layer: nn.Module, images: torch.Tensor) -> bool:
    """Return whether the weight gradient of a layer is computed by the replacement."""
    calls: list[object] = []
    plain = conv_gradients.weight_gradient
    monkeypatch.setattr(conv_gradients, "weight_gradient", lambda *words: calls.append(words) or plain(*words))
    with ConvGradients():
        outputs = layer(images)
    outputs.sum().backward()
    return bool(calls)


def test_suitable_layers_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    images = whole_numbers(1, 32, 8, 8, seed=0)
    assert replaced(monkeypatch, nn.Conv2d(32, 32, 3, padding=1), images)
    assert replaced(monkeypatch, nn.Conv2d(32, 32, (1, 3), padding=(0, 2), dilation=2), images)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.Conv2d(32, 32, 3, padding=1, groups=2),
        nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 32, 1),
        nn.Conv2d(32, 8, 3, padding=1),
        nn.Conv2d(32, 32, 3, padding="same"),
        nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect"),
    ],
    ids=str,
)
def test_other_layers_are_left(layer: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not replaced(monkeypatch, layer, whole_numbers(1, 32, 8, 8, seed=0))


def test_other_layouts_and_precisions_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, images = nn.Conv2d(32, 32, 3, padding=1), whole_numbers(1, 32, 8, 8, seed=0)
    assert not replaced(monkeypatch, layer, images.contiguous())
    with torch.autocast("cpu", torch.bfloat16):
        assert not replaced(monkeypatch, layer, images)
    assert not replaced(monkeypatch, layer.double(), images.double())


def test_frozen_weights_have_no_gradient() -> None:
    layer, images = nn.Conv2d(32, 32, 3, padding=1), whole_numbers(1, 32, 8, 8, seed=1).requires_grad_()
    layer.weight.requires_grad_(False)
    with ConvGradients():
        layer(images).sum().backward()
    assert layer.weight.grad is None
    assert images.grad is not None


@pytest.mark.parametrize("words", [(None, 1, 1), (None, (1, 1), (1, 1)), (None, 1, (1, 1), 1, 1)], ids=str)
def test_any_spelling_of_a_convolution_is_computed(words: tuple) -> None:
    weight, images = whole_numbers(32, 32, 3, 3, seed=0).requires_grad_(), whole_numbers(1, 32, 8, 8, seed=1)
    with ConvGradients():
        assert torch.equal(conv2d(images, weight, *words), conv2d(images, weight, padding=1))


@pytest.mark.parametrize("arch", ["erfnet", "unet"])
def test_a_network_learns_from_the_same_gradients(arch: str) -> None:
    torch.manual_seed(0)
    model = create_model(arch, in_channels=3, num_classes=2).double().to(memory_format=torch.channels_last).eval()
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64).contiguous(memory_format=torch.channels_last)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(images.to(next(model.parameters()).dtype)).square().mean().backward()
        return [parameter.grad.double() for parameter in model.parameters() if parameter.grad is not None]

    exact = gradients()  # of float64
    model.float()
    plain = gradients()
    with ConvGradients():
        found = gradients()
    for one, other, true in zip(found, plain, exact, strict=True):
        assert (one - true).norm() <= 2 * (other - true).norm() + 1e-6 * true.norm()


@pytest.mark.parametrize(
    ("device", "capability", "compiled", "expected"),
    [
        ("cpu", "AVX2", False, True),
        ("cpu", "AVX2", True, False),
        ("cpu", "AVX512", False, False),
        ("cuda", "AVX2", False, False),
    ],
)
def test_only_slow_processors_need_it(
    device: str, capability: str, *, compiled: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    context = fast_conv_gradients(torch.device(device), compiled=compiled)
    assert isinstance(context, ConvGradients) is expected
