"""Covers ``settings``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from exported_networks import pixels, reference_of, small_checkpoint, subject_of

from satseg.exporting.subject import Subject
from satseg.records import Clipping


def run(subject: Subject, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return subject.network()(torch.from_numpy(images)).numpy()


def test_raw_pixels_become_the_probabilities_of_predict(tmp_path: Path) -> None:
    clipping = Clipping((100.0, 90.0), (5.0, 30.0), 2.0)
    subject = subject_of(*small_checkpoint(tmp_path, clipping=clipping))
    images = pixels(subject, 2, 65, 70)
    expected = reference_of(subject).probabilities(images, np.ones((2, 65, 70), dtype=bool))
    assert np.allclose(run(subject, images), expected, atol=1e-6)


def test_pixels_with_nodata_in_one_band_are_filled_in_all(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path), nodata=7)
    images = pixels(subject, 1, 64, 64)
    images[0, 1, 10:20] = 7
    valid = (images != 7).all(axis=1)
    assert not valid[0, 10:20].any()
    assert np.allclose(run(subject, images), reference_of(subject).probabilities(images, valid), atol=1e-6)


def test_classes_are_those_of_the_probabilities_and_255_without_data(tmp_path: Path) -> None:
    path, arch = small_checkpoint(tmp_path, dtype="float32")
    images = pixels(subject_of(path, arch), 1, 64, 64)
    images[0, 0, :5], images[0, 1, 5:9] = np.nan, -3.4e38
    classes = run(subject_of(path, arch, argmax=True), images)
    assert classes.dtype == np.uint8
    assert (classes[0, :9] == 255).all()
    assert np.array_equal(classes[0, 9:], run(subject_of(path, arch), images).argmax(axis=1)[0, 9:])


def test_what_only_training_needs_is_left_out(tmp_path: Path) -> None:
    names = [name for name, _ in subject_of(*small_checkpoint(tmp_path)).network().named_parameters()]
    assert {name.split(".")[1] for name in names} == {"down", "head"}


def test_what_is_said_of_objects_is_left_out(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path, objects=True))
    images = pixels(subject, 1, 64, 64)
    expected = reference_of(subject).probabilities(images, np.ones((1, 64, 64), dtype=bool))
    assert run(subject, images).shape == (1, 3, 64, 64)
    assert np.allclose(run(subject, images), expected, atol=1e-6)


def test_a_network_that_unrolls_takes_images_of_the_size_of_the_tiles_alone(tmp_path: Path) -> None:
    subject = subject_of(*small_checkpoint(tmp_path, function="lines"))
    assert subject.network().window == subject.checkpoint.card.tile_size
    assert subject_of(*small_checkpoint(tmp_path)).network().window is None
