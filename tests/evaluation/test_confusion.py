from __future__ import annotations

import math

import numpy as np
import pytest

from satseg.errors import LabelError
from satseg.evaluation.confusion import ConfusionMatrix, score


def test_pixels_are_counted_by_label_and_prediction() -> None:
    confusion = ConfusionMatrix(3)
    confusion.add(np.uint8([[0, 0, 1], [1, 2, 2]]), np.uint8([[0, 1, 1], [1, 0, 2]]))
    assert confusion.counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert confusion.counts.dtype == np.int64


def test_pieces_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    labels, classes = rng.integers(4, size=(2, 50, 60)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    whole, pieces = ConfusionMatrix(4), ConfusionMatrix(4)
    whole.add(labels, classes)
    for rows in np.array_split(np.arange(50), 7):
        pieces.add(labels[rows], classes[rows])
    assert np.array_equal(whole.counts, pieces.counts)
    assert whole.counts[1, 2] == ((labels == 1) & (classes == 2)).sum()


def test_ignored_labels_are_left_out_and_pixels_that_the_map_leaves_out_are_counted() -> None:
    confusion = ConfusionMatrix(2)
    confusion.add(np.uint8([255, 0, 1, 255]), np.uint8([0, 255, 1, 255]))
    assert confusion.counts.tolist() == [[0, 0], [0, 1]]
    assert confusion.left_out.tolist() == [1, 0]


def test_the_largest_class_table_fits() -> None:
    confusion = ConfusionMatrix(255)
    confusion.add(np.uint8([254]), np.uint8([253]))
    assert confusion.counts[254, 253] == confusion.counts.sum() == 1


@pytest.mark.parametrize(("label", "prediction"), [(2, 0), (0, 2)])
def test_an_id_that_is_no_class_is_refused(label: int, prediction: int) -> None:
    with pytest.raises(LabelError, match="id 2"):
        ConfusionMatrix(2).add(np.uint8([label]), np.uint8([prediction]))


def test_scores_by_hand() -> None:
    report = score(np.array([[6, 2], [1, 11]]), ["ground", "roof"])
    assert report.pixels == 20
    assert report.global_accuracy == 17 / 20
    assert report.class_average_accuracy == (6 / 8 + 11 / 12) / 2
    assert report.mean_iou == pytest.approx((6 / 9 + 11 / 14) / 2)
    assert report.frequency_weighted_iou == pytest.approx(8 / 20 * 6 / 9 + 12 / 20 * 11 / 14)
    roof = report.classes[1]
    assert (roof.name, roof.pixels) == ("roof", 12)
    assert (roof.iou, roof.precision, roof.recall) == (11 / 14, 11 / 13, 11 / 12)
    assert roof.f1 == 2 * 11 / (12 + 13)
    assert report.confusion == ((6, 2), (1, 11))


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    counts = np.random.default_rng(0).integers(1, 1000, size=(5, 5))
    for entry in score(counts, list("abcde")).classes:
        assert entry.f1 == pytest.approx(2 * entry.precision * entry.recall / (entry.precision + entry.recall))


def test_the_means_are_over_the_classes_that_the_labels_hold() -> None:
    report = score(np.array([[3, 1], [0, 0]]), ["a", "b"])
    assert report.mean_iou == 3 / 4
    assert report.classes[1].iou == 0
    assert report.class_average_accuracy == 3 / 4
    assert math.isnan(report.classes[1].recall)
    assert report.classes[1].precision == 0


def test_a_class_that_nobody_saw_counts_nowhere() -> None:
    report = score(np.array([[5, 0], [0, 0]]), ["a", "b"])
    assert (report.mean_iou, report.class_average_accuracy, report.frequency_weighted_iou) == (1, 1, 1)
    assert math.isnan(report.classes[1].iou)
    assert math.isnan(report.classes[1].f1)


def test_one_false_pixel_of_an_absent_class_does_not_make_the_better_map_the_worse_one() -> None:
    better = np.array([[95, 4, 1], [4, 96, 0], [0, 0, 0]])
    worse = np.array([[60, 40, 0], [40, 60, 0], [0, 0, 0]])
    assert score(better, "abc").mean_iou > 2 * score(worse, "abc").mean_iou


def test_no_pixel_at_all_gives_no_score() -> None:
    report = score(np.zeros((2, 2), dtype=np.int64), ["a", "b"])
    assert report.pixels == 0
    assert math.isnan(report.global_accuracy)
    assert math.isnan(report.mean_iou)


def test_a_perfect_map_scores_one() -> None:
    report = score(np.diag([4, 5, 6]), ["a", "b", "c"])
    assert report.global_accuracy == report.class_average_accuracy == report.mean_iou == 1
    assert all(entry.f1 == entry.iou == entry.precision == entry.recall == 1 for entry in report.classes)
