from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from satseg.records import BandStatistics
from satseg.training.augment import draw_params, stack_params
from satseg.training.augmentation import PRESETS, Augmentation
from satseg.training.prepare import prepare
from satseg.training.sampling import Batch

CPU = torch.device("cpu")


def make_batch(augmentation: Augmentation, *, bands: int = 2, count: int = 6, dtype: str = "uint16") -> Batch:
    rng = np.random.default_rng(1)
    shape = (count, 16, 16)
    valid = rng.random(shape) > 0.2
    labels = np.where(valid, rng.integers(0, 3, shape), 255).astype(np.uint8)
    raw = rng.integers(1, 1000, (count, bands, 16, 16)).astype(dtype) * valid[:, None].astype(dtype)
    objects = rng.integers(0, 256, (count, 3, 16, 16)).astype(np.uint8)
    params = stack_params([draw_params(augmentation, bands, np.random.default_rng(i)) for i in range(count)])
    return Batch(tuple(f"tile-{i}" for i in range(count)), raw, labels, valid, objects, params)


def statistics(bands: int) -> BandStatistics:
    return BandStatistics(1, (500.0,) * bands, (300.0,) * bands, (1.0,) * bands, (999.0,) * bands)


def test_without_augmentation_images_are_normalised_and_zero_where_not_valid() -> None:
    batch = make_batch(PRESETS["none"])
    images, targets, _ = prepare(batch, statistics(2), CPU)
    expected = (batch.bands.astype(np.float32) - 500) / 300 * batch.valid[:, None]
    assert np.allclose(images.numpy(), expected, atol=1e-6)
    assert np.array_equal(targets.numpy(), batch.labels)
    assert targets.dtype == torch.int64
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (13, "int16"), (2, "float32")])
def test_every_preset_takes_any_bands_and_hides_what_is_not_valid(preset: str, bands: int, dtype: str) -> None:
    batch = make_batch(PRESETS[preset], bands=bands, dtype=dtype)
    images, targets, _ = prepare(batch, statistics(bands), CPU)
    assert images.shape == (6, bands, 16, 16)
    assert torch.isfinite(images).all()
    assert set(targets.unique().tolist()) <= {0, 1, 2, 255}
    unseen = (images == 0).all(dim=1)
    assert (targets[unseen] == 255).float().mean() > 0.9  # dropped bands may be zero elsewhere too


def test_the_batch_itself_is_left_alone_and_preparing_it_again_gives_the_same() -> None:
    batch = make_batch(PRESETS["strong"])
    before = batch.bands.copy(), batch.labels.copy(), batch.valid.copy(), batch.objects.copy()
    first, again = prepare(batch, statistics(2), CPU), prepare(batch, statistics(2), CPU)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    after = batch.bands, batch.labels, batch.valid, batch.objects
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("augmentation", [PRESETS["strong"], Augmentation(warp=1.0), Augmentation(noise=1.0, blur=2.0)])
def test_a_sample_looks_the_same_in_whatever_batch_it_is(augmentation: Augmentation) -> None:
    batch = make_batch(augmentation)
    whole, targets, objects = prepare(batch, statistics(2), CPU)
    parts = {name: getattr(batch, name)[4:5] for name in ("names", "bands", "labels", "valid", "objects")}
    params = type(batch.params)(**{name: value[4:5] for name, value in vars(batch.params).items()})
    alone, target, its_objects = prepare(replace(batch, **parts, params=params), statistics(2), CPU)
    assert torch.allclose(alone[0], whole[4], atol=1e-5)
    assert torch.equal(target[0], targets[4])
    assert torch.equal(its_objects[0], objects[4])


def test_dropped_bands_are_zero() -> None:
    batch = make_batch(Augmentation(band_dropout=0.5), bands=4, count=20)
    images, _, _ = prepare(batch, statistics(4), CPU)
    assert np.array_equal((images != 0).any(dim=(2, 3)).numpy(), batch.params.kept)
    assert 0.3 < batch.params.kept.mean() < 0.7


@pytest.mark.parametrize(("dtype", "base"), [("uint32", 4_000_000_000), ("float64", 1e12), ("int32", -2_000_000_000)])
@pytest.mark.parametrize("preset", PRESETS)
def test_samples_far_from_zero_are_those_near_it(preset: str, dtype: str, base: float) -> None:
    """Whatever light, blur and noise do, the level of a band counts for nothing."""
    near = make_batch(PRESETS[preset], dtype="float64")
    far = replace(near, bands=(near.bands + base).astype(dtype))
    plain = statistics(2)
    moved = BandStatistics(1, (500 + base,) * 2, plain.std, (1 + base,) * 2, (999 + base,) * 2)
    for one, other in zip(prepare(near, plain, CPU), prepare(far, moved, CPU), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=1e-5)


def test_objects_are_warped_as_labels_are() -> None:
    batch = make_batch(Augmentation(warp=1.0, rotation=45, scale=1.4, shift=0.25))
    alike = replace(batch, objects=np.stack([batch.labels + 1] * 3, axis=1))  # 0 where labels are ignored
    _, targets, objects = prepare(alike, statistics(2), CPU)
    assert torch.equal(objects[:, 1], (targets + 1).to(torch.uint8))
    assert len(objects.unique()) > 2
