from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.exporting.quantization_loss import QuantizationLoss, quantization_loss
from satseg.exporting.settings import ExportSettings
from satseg.exporting.subject import Subject


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return subject_of(*small_checkpoint(tmp_path))


def classes(subject: Subject, images: np.ndarray) -> np.ndarray:
    """Return (N, H, W) uint8: what the network says."""
    valid = np.ones((len(images), *images.shape[2:]), dtype=bool)
    return reference_of(subject).probabilities(images, valid).numpy().argmax(axis=1).astype(np.uint8)


def test_a_network_loses_nothing_against_itself(subject: Subject) -> None:
    images = pixels(subject, 2, 64, 64)
    labels = classes(subject, images)
    samples = [(images[:1], labels[:1]), (images[1:], 1 - np.minimum(labels[1:], 1))]
    found = quantization_loss(
        lambda batch: classes(subject, batch), reference_of(subject), samples, ExportSettings(argmax=True)
    )
    assert found.mean_iou == found.float_mean_iou < 1
    assert (found.loss, found.differing, found.pixels) == (0.0, 0.0, 2 * 64 * 64)


def test_the_loss_is_the_difference_of_mean_ious_where_there_are_labels(subject: Subject) -> None:
    """The labels are what the network says. One half is ignored; of the other, one class is taken for another one."""
    images = pixels(subject, 1, 64, 64)
    labels = classes(subject, images)
    labels[:, 32:] = 255
    first, second = np.unique(labels[labels != 255])[:2]

    def mistaken(batch: np.ndarray) -> np.ndarray:
        found = classes(subject, batch)
        found[found == first] = second
        return np.eye(3, dtype=np.float32)[found].transpose(0, 3, 1, 2)  # probabilities

    found = quantization_loss(mistaken, reference_of(subject), [(images, labels)], ExportSettings())
    sizes = np.bincount(labels[labels != 255], minlength=3)
    ious = np.ones(3)
    ious[first], ious[second] = 0, sizes[second] / (sizes[first] + sizes[second])
    assert found.float_mean_iou == 1
    assert found.mean_iou == pytest.approx(ious[sizes > 0].mean(), abs=1e-12)
    assert found.loss == 1 - found.mean_iou
    assert found.differing == (classes(subject, images) == first).mean()


@pytest.mark.parametrize(("loss", "held"), [(0.01, True), (0.011, False), (-0.2, True), (float("nan"), False)])
def test_a_limit_holds_for_numbers_up_to_it(loss: float, held: bool) -> None:
    assert QuantizationLoss(0.5, 0.5 + loss, loss, 0.0, 1).holds(0.01) is held
