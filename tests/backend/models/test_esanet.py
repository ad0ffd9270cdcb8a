from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend import create_model, with_elevation
from satseg.errors import ArchitectureError
from satseg.profiling.counts import count_multiply_adds, count_parameters


def on_meta(in_channels: int, **options: object) -> nn.Module:
    with torch.device("meta"):
        return create_model("esanet", in_channels=in_channels, num_classes=19, **options)


@pytest.mark.parametrize(("layers", "parameters", "billions"), [(34, 46_895_247, 76.1), (18, 33_397_903, 50.3)])
def test_four_bands_make_the_network_of_the_paper(layers: int, parameters: int, billions: float) -> None:
    model = on_meta(4, layers=layers)
    assert count_parameters(model) == parameters
    assert count_multiply_adds(model, in_channels=4, height=512, width=512) / 1e9 == pytest.approx(billions / 2, 5e-3)


def test_heads_that_serve_training_alone_have_the_parameters_of_the_authors_code() -> None:
    sides = [part for name, part in on_meta(4).named_parameters() if name.startswith("aux_")]
    assert sum(part.numel() for part in sides) == 17_081


@pytest.mark.parametrize(("bands", "elevation"), [(1, False), (2, True), (3, False), (4, True), (13, True)])
def test_the_last_of_two_bands_or_of_four_and_more_is_elevation(bands: int, elevation: bool) -> None:
    model = on_meta(bands)
    assert (model.elevation is not None, model.image_channels) == (elevation, bands - elevation)


def test_which_band_is_elevation_can_be_said() -> None:
    assert on_meta(3, elevation=True).image_channels == 2
    assert on_meta(4, elevation=False).image_channels == 4


def test_behind_an_extra_raster_the_last_of_three_bands_is_elevation_unless_told_otherwise() -> None:
    assert with_elevation("esanet", {"layers": 18}) == {"elevation": True, "layers": 18}
    assert with_elevation("esanet", {"elevation": False}) == {"elevation": False}
    assert with_elevation("erfnet", {}) == {}


@pytest.mark.parametrize(("options", "named"), [({"elevation": True}, "only band"), ({"layers": 50}, "50")])
def test_impossible_variants_are_refused(options: dict[str, object], named: str) -> None:
    with pytest.raises(ArchitectureError, match=named):
        on_meta(1, **options)


def test_upsampling_begins_as_bilinear_interpolation_between_centres_of_cells() -> None:
    upsampler = create_model("esanet", in_channels=4, num_classes=2, layers=18).head[1]
    features = torch.rand(1, 2, 6, 7, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(features, scale_factor=2, mode="bilinear")
    inner = (..., slice(1, -1), slice(1, -1))  # at the border zeros are filtered in
    torch.testing.assert_close(upsampler(features)[inner], expected[inner])


def test_sides_learn_every_sth_label_of_those_that_are_not_ignored() -> None:
    model = on_meta(4, layers=18)
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 19, (2, 75, 102), generator=generator)
    targets[:, 40:] = 255
    sides = {f"side{s}": torch.randn(2, 19, -(-75 // s), -(-102 // s), generator=generator) for s in (32, 16, 8)}
    expected = 0.0
    for name, logits in sides.items():
        stride = int(name.removeprefix("side"))
        pairs = [
            (logits[n, :, row, column], targets[n, row * stride, column * stride])
            for n in range(2)
            for row in range(-(-40 // stride))
            for column in range(-(-102 // stride))
        ]
        scores, labels = map(torch.stack, zip(*pairs, strict=True))
        expected += F.cross_entropy(scores, labels).item()
    assert model.aux_loss(sides, targets).item() == pytest.approx(expected, rel=1e-5)


def test_sides_have_the_sizes_of_their_labels() -> None:
    model = on_meta(4, layers=18)
    logits, sides = model.forward_with_aux(torch.empty(1, 4, 75, 102, device="meta"))
    assert logits.shape == (1, 19, 75, 102)
    assert {name: tuple(side.shape[2:]) for name, side in sides.items()} == {
        "side32": (3, 4),
        "side16": (5, 7),
        "side8": (10, 13),
    }


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model("esanet", in_channels=4, num_classes=2, layers=18)


def images(*size: int) -> Tensor:
    return torch.rand(1, 4, *size, generator=torch.Generator().manual_seed(7)) * 2 - 1


@torch.inference_mode()
def test_logits_follow_the_elevation_also_in_bfloat16(model: nn.Module) -> None:
    batch, other = images(33, 47), images(33, 47)
    other[:, 3] = 0
    logits = model.eval()(batch)
    assert (model(other) - logits).abs().max() > 1e-3 * logits.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(model(batch)).all()


def test_with_elevation_a_batch_of_one_reaches_every_parameter(model: nn.Module) -> None:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits, sides = model.train().forward_with_aux(images(64, 64))
    targets = torch.zeros(1, 64, 64, dtype=torch.int64)
    targets[:, ::2] = 1
    (F.cross_entropy(logits, targets) + model.aux_loss(sides, targets)).backward()
    missed = [name for name, part in model.named_parameters() if part.grad is None or not part.grad.isfinite().all()]
    model.zero_grad(set_to_none=True)
    model.load_state_dict(buffers, strict=False)
    assert missed == []


@pytest.mark.slow
def test_with_elevation_export_and_compilation_give_the_same_logits(model: nn.Module) -> None:
    batch = images(96, 96)
    with torch.no_grad():
        expected = model.eval()(batch)
        exported = torch.export.export(model, (batch,)).module()(batch)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(batch)
    tolerance = 1e-3 * expected.abs().max().item()
    torch.testing.assert_close(exported, expected, rtol=1e-3, atol=tolerance)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=tolerance)
