from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.exporting.check import Agreement, compare, in_double
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject

PROBABILITIES, CLASSES = ExportSettings(), ExportSettings(argmax=True)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return subject_of(*small_checkpoint(tmp_path))


def expected(subject: Subject, images: np.ndarray) -> np.ndarray:
    return reference_of(subject).probabilities(images, np.ones((len(images), *images.shape[2:]), dtype=bool)).numpy()


def test_a_network_agrees_with_itself(subject: Subject) -> None:
    batches = [pixels(subject, count, 64, 64) for count in (1, 2)]
    found = compare(lambda images: expected(subject, images), reference_of(subject), batches, PROBABILITIES)
    assert found == Agreement(0.0, 0.0, 3 * 64 * 64)
    found = compare(
        lambda images: expected(subject, images).argmax(axis=1).astype(np.uint8),
        reference_of(subject),
        batches,
        CLASSES,
    )
    assert found == Agreement(0.0, 0.0, 3 * 64 * 64)


def test_the_largest_difference_counts(subject: Subject) -> None:
    def run(images: np.ndarray) -> np.ndarray:
        found = expected(subject, images)
        found[-1, 1, 3, 4] += 0.25
        return found

    found = compare(run, reference_of(subject), [pixels(subject, 2, 64, 64)], PROBABILITIES)
    assert found.difference == pytest.approx(0.25)
    assert not found.holds(0.2)
    assert found.holds(0.3)


def test_other_classes_differ_by_half_the_lead_of_the_right_one(subject: Subject) -> None:
    images = pixels(subject, 1, 64, 64)
    probabilities = expected(subject, images)
    classes = probabilities.argmax(axis=1).astype(np.uint8)
    ranked = np.sort(probabilities[0, :, 5, 6])
    second = np.argsort(probabilities[0, :, 5, 6])[-2]
    changed = classes.copy()
    changed[0, 5, 6] = second
    found = compare(lambda _: changed, reference_of(subject), [images], CLASSES)
    assert found.difference == pytest.approx((ranked[-1] - ranked[-2]) / 2)
    assert found.differing == 1 / 64**2


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (PROBABILITIES, np.full((1, 3, 64, 64), np.nan, np.float32)),
        (PROBABILITIES, np.zeros((1, 3, 64, 63), np.float32)),
        (CLASSES, np.full((1, 64, 64), 255, np.uint8)),
    ],
)
def test_what_is_no_map_of_the_images_never_holds(
    subject: Subject, settings: ExportSettings, wrong: np.ndarray
) -> None:
    found = compare(lambda _: wrong, reference_of(subject), [pixels(subject, 1, 64, 64)], settings)
    assert not found.holds(1.0)


def test_in_double_precision_a_network_differs_by_rounding_alone(subject: Subject) -> None:
    """The rest is the normalised image, which is rounded to float32 before it comes to the network."""
    images = pixels(subject, 1, 64, 64)
    valid = np.ones((1, 64, 64), dtype=bool)
    plain, exact = (found.probabilities(images, valid).numpy() for found in (reference_of(subject), in_double(subject)))
    assert 0 < np.abs(plain - exact).max() < 1e-5
    logits = (
        subject.checkpoint.build_model(subject.builder)
        .double()
        .eval()(
            torch.from_numpy((images - np.array([110.0, 90.0])[:, None, None]) / np.array([45.0, 30.0])[:, None, None])
        )
    )
    assert np.abs(logits.softmax(dim=1).detach().numpy() - exact).max() < 3e-7
