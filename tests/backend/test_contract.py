"""What every network must do, whatever it is: the model contract of the design.

Covers ``models/*`` and ``nn/*``.
"""

from __future__ import annotations

import inspect
import math
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import Architecture, create_model, list_architectures, object_outputs, with_crop
from satseg.backend.catalogue import read_catalogue
from satseg.objects import ObjectOutputs
from satseg.profiling.counts import count_multiply_adds, count_parameters

ALL = {architecture.name: architecture for architecture in list_architectures()}
SMALL = (33, 47)
SIZES = ((32, 32), SMALL, (97, 65))
LARGE = 1024
BANDS = (1, 3, 13)
CLASSES = 2
CROP = 64  # of networks that are made for a size: smaller images are padded or not, larger ones cut into windows


def on_meta(arch: str, *, in_channels: int = 3, num_classes: int = CLASSES, **options: object) -> nn.Module:
    """Build without memory or arithmetic: shapes and counts are right, values do not exist."""
    with torch.device("meta"):
        return create_model(arch, in_channels=in_channels, num_classes=num_classes, **options)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7)) * 2 - 1


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Equal up to rounding; untrained networks may give large logits, so their scale sets the tolerance."""
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * max(expected.abs().max().item(), 1e-3))


def training_loss(model: nn.Module, batch: Tensor) -> Tensor:
    """The loss as the training loop forms it: the network's own auxiliary loss is added where there is one."""
    targets = torch.zeros(batch.shape[0], *batch.shape[-2:], dtype=torch.int64)
    targets[:, ::2] = CLASSES - 1
    targets[:, -3:] = 255
    if not hasattr(model, "forward_with_aux"):
        return F.cross_entropy(model(batch), targets, ignore_index=255)
    logits, outputs = model.forward_with_aux(batch)
    return F.cross_entropy(logits, targets, ignore_index=255) + model.aux_loss(outputs, targets)


@pytest.fixture(scope="module", params=ALL)
def arch(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(arch: str) -> nn.Module:
    """One network with real weights, built once for all tests of an architecture; each test sets its mode."""
    torch.manual_seed(0)
    return create_model(arch, in_channels=3, num_classes=CLASSES, **with_crop(arch, {}, CROP))


@pytest.fixture(scope="module")
def logits(model: nn.Module) -> Tensor:
    """What the fresh network says of a small image; tests that train it put its buffers back."""
    with torch.inference_mode():
        return model.eval()(images(1, 3, *SMALL))


def test_documented_parameters_are_those_built(arch: str) -> None:
    assert count_parameters(on_meta(arch, num_classes=19)) == ALL[arch].parameters


def test_every_parameter_has_one_name_so_that_checkpoints_hold_it_once(arch: str) -> None:
    named = [parameter for _, parameter in on_meta(arch).named_parameters(remove_duplicate=False)]
    assert len(set(named)) == len(named)


def test_documented_multiply_adds_are_those_of_512_pixels(arch: str) -> None:
    counted = count_multiply_adds(on_meta(arch, num_classes=19), in_channels=3, height=512, width=512)
    assert ALL[arch].multiply_adds == pytest.approx(counted, abs=5.1e7)  # the line has one digit


def test_advice_fits_on_a_line(arch: str) -> None:
    assert 10 < len(ALL[arch].use) <= 80


def test_documented_output_stride_is_that_of_the_coarsest_features(arch: str) -> None:
    assert coarsest_stride(on_meta(arch, **with_crop(arch, {}, LARGE))) == ALL[arch].output_stride


def test_documented_branch_for_instances_is_there(arch: str) -> None:
    assert ALL[arch].instance_branch == (object_outputs(arch) is ObjectOutputs.CENTRES)


def test_networks_that_are_made_for_a_size_tell_it_as_their_window(arch: str) -> None:
    options = with_crop(arch, {}, CROP)
    assert getattr(on_meta(arch, **options), "window", None) == options.get("crop")


def test_documented_encoder_is_the_default(arch: str) -> None:
    entry = read_catalogue()[arch]
    parameter = inspect.signature(getattr(import_module(entry.module), arch)).parameters.get("encoder")
    default = parameter.default if parameter is not None else None
    assert (default or "own") == ALL[arch].encoder


@pytest.mark.parametrize("bands", BANDS)
def test_logits_have_the_size_of_the_images(arch: str, bands: int) -> None:
    model = on_meta(arch, in_channels=bands).eval()
    for size in SIZES:
        batch = torch.empty(2, bands, *size, device="meta")
        assert model(batch).shape == (2, CLASSES, *size)


def test_forward_returns_one_float_tensor_in_training_too(arch: str) -> None:
    logits = on_meta(arch).train()(torch.empty(1, 3, 97, 65, device="meta"))
    assert isinstance(logits, Tensor)
    assert logits.dtype == torch.float32
    assert logits.shape == (1, CLASSES, 97, 65)


def test_eval_is_finite_and_deterministic(model: nn.Module, logits: Tensor) -> None:
    assert torch.isfinite(logits).all()
    with torch.inference_mode():
        assert torch.equal(model.eval()(images(1, 3, *SMALL)), logits)


def test_channels_last_gives_the_same_logits(model: nn.Module, logits: Tensor) -> None:
    batch = images(1, 3, *SMALL).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert_near(model.eval()(batch), logits)


def test_bfloat16_autocast_is_finite(model: nn.Module, logits: Tensor) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rounded = model.eval()(images(1, 3, *SMALL))
    assert rounded.shape == logits.shape
    assert torch.isfinite(rounded).all()


def test_state_dict_round_trip(arch: str, model: nn.Module, logits: Tensor) -> None:
    options = with_crop(arch, {}, CROP)
    other = on_meta(arch, **options)
    if any(name not in model.state_dict() for name, _ in other.named_buffers()):  # they are worked out when it is built
        other = create_model(arch, in_channels=3, num_classes=CLASSES, **options)
    other.load_state_dict(model.state_dict(), assign=True)
    with torch.inference_mode():
        assert torch.equal(other.eval()(images(1, 3, *SMALL)), logits)


def test_a_batch_of_one_trains_at_64_pixels_and_reaches_every_parameter(model: nn.Module) -> None:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    loss = training_loss(model.train(), images(1, 3, 64, 64))
    loss.backward()
    missed = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    broken = [name for name, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    model.zero_grad(set_to_none=True)
    model.load_state_dict(buffers, strict=False)
    assert torch.isfinite(loss)
    assert (missed, broken) == ([], [])


@pytest.mark.slow
def test_eval_is_independent_of_the_batch(model: nn.Module) -> None:
    batch = images(2, 3, 96, 96)
    with torch.inference_mode():
        pair, alone = model.eval()(batch), model(batch[:1])
    assert_near(pair[:1], alone)


@pytest.mark.slow
@pytest.mark.parametrize("bands", BANDS)
def test_any_bands_and_600_pixels_with_real_weights(arch: str, bands: int) -> None:
    model = create_model(arch, in_channels=bands, num_classes=CLASSES, **with_crop(arch, {}, 600)).eval()
    with torch.inference_mode():
        logits = model(images(1, bands, 600, 600))
    assert logits.shape == (1, CLASSES, 600, 600)
    assert torch.isfinite(logits).all()


@pytest.mark.slow
def test_export_gives_the_same_logits(model: nn.Module) -> None:
    batch = images(1, 3, 96, 96)
    with torch.inference_mode():
        expected = model.eval()(batch)
    program = torch.export.export(model, (batch,))
    assert_near(program.module()(batch), expected)


@pytest.mark.slow
def test_compile_captures_one_graph_with_the_same_logits(model: nn.Module) -> None:
    batch = images(1, 3, 96, 96)
    torch._dynamo.reset()
    compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_near(compiled(batch), model(batch))


def coarsest_stride(model: nn.Module) -> int:
    """Input pixels per pixel of the smallest map that a spatial convolution or a max pooling gives.

    Convolutions inside pyramids of poolings do not count: they see means of the features.
    """
    sides = []

    def watch(layer: nn.Module, _: object, output: Tensor | tuple[Tensor, ...]) -> None:
        kernel = layer.kernel_size if isinstance(layer.kernel_size, tuple) else (layer.kernel_size,)
        if max(kernel) > 1:
            sides.append((output if isinstance(output, Tensor) else output[0]).shape[-1])

    pyramids = [module for module in model.modules() if "Pyramid" in type(module).__name__]
    pooled = {layer for pyramid in pyramids for layer in pyramid.modules()}
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d) and layer not in pooled:
            layer.register_forward_hook(watch)
    model.eval()(torch.empty(1, 3, LARGE, LARGE, device="meta"))
    return 2 ** round(math.log2(LARGE / min(sides)))  # maps of 65 or 129 px have stride 8, too


def test_every_architecture_is_listed_once_and_sorted() -> None:
    assert [a.name for a in list_architectures()] == sorted(ALL)
    assert all(isinstance(a, Architecture) and 1990 < a.year < 2100 and len(a.paper) > 20 for a in ALL.values())


@pytest.mark.parametrize("classes", [2, 19])
def test_outputs_for_objects_cost_less_than_5_percent(arch: str, classes: int) -> None:
    plain, more = (
        count_multiply_adds(on_meta(arch, num_classes=classes, objects=objects), in_channels=3, height=256, width=256)
        for objects in (False, True)
    )
    assert plain < more < (1.05 if object_outputs(arch) is ObjectOutputs.EDGES else 1.15) * plain


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
def test_outputs_for_objects_follow_those_of_classes(arch: str, size: tuple[int, int]) -> None:
    outputs = CLASSES + object_outputs(arch).planes
    assert on_meta(arch, objects=True).train()(torch.empty(2, 3, *size, device="meta")).shape == (2, outputs, *size)
