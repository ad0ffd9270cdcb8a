from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from oracles import patchy
from sklearn import metrics
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_cohen_kappa,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.confusion import ConfusionMatrix, score
from satseg.evaluation.tally import (
    Count,
    class_scores,
    empty_tally,
    mean_scores,
    pixel_tally,
    share_bf,
)
from satseg.records import ClassScore, EvaluationReport


@pytest.fixture(params=range(3))
def pixels(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    labels, classes = patchy((70, 60), request.param)
    compared = (labels != 255) & (classes != 255)
    return labels[compared], classes[compared]


def test_pixel_scores_are_those_of_scikit_learn(pixels: tuple[np.ndarray, np.ndarray]) -> None:
    confusion = ConfusionMatrix(3)
    confusion.add(*pixels)
    report = score(confusion.counts, "abc")
    assert np.array_equal(report.confusion, metrics.confusion_matrix(*pixels))
    assert report.kappa == pytest.approx(metrics.cohen_kappa_score(*pixels), abs=1e-12)
    assert report.global_accuracy == pytest.approx(metrics.accuracy_score(*pixels), abs=1e-12)
    assert report.class_average_accuracy == pytest.approx(metrics.balanced_accuracy_score(*pixels), abs=1e-12)
    assert report.mean_iou == pytest.approx(metrics.jaccard_score(*pixels, average="macro"), abs=1e-12)
    assert report.frequency_weighted_iou == pytest.approx(metrics.jaccard_score(*pixels, average="weighted"), abs=1e-12)
    expected = metrics.precision_recall_fscore_support(*pixels)
    for name, values in zip(("precision", "recall", "f1", "pixels"), expected, strict=True):
        assert [getattr(entry, name) for entry in report.classes] == pytest.approx(values.tolist(), abs=1e-12)


def test_pixel_scores_are_those_of_torchmetrics(pixels: tuple[np.ndarray, np.ndarray]) -> None:
    confusion = ConfusionMatrix(3)
    confusion.add(*pixels)
    report = score(confusion.counts, "abc")
    labels, classes = (torch.from_numpy(ids.astype(np.int64)) for ids in pixels)
    assert report.kappa == pytest.approx(multiclass_cohen_kappa(classes, labels, 3).item(), abs=1e-6)
    assert report.mean_iou == pytest.approx(multiclass_jaccard_index(classes, labels, 3).item(), abs=1e-6)
    assert report.global_accuracy == pytest.approx(
        multiclass_accuracy(classes, labels, 3, average="micro").item(), abs=1e-6
    )
    expected = multiclass_f1_score(classes, labels, 3, average="none").tolist()
    assert [entry.f1 for entry in report.classes] == pytest.approx(expected, abs=1e-6)


def test_means_without_absent_classes_are_those_of_scikit_learn_over_the_labels_that_are_there(
    pixels: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, classes = pixels
    there = labels != 2  # the map still holds class 2 here and there
    labels, classes = labels[there], classes[there]
    assert (classes == 2).any()
    report = score(metrics.confusion_matrix(labels, classes, labels=[0, 1, 2]), "abc")
    expected = metrics.jaccard_score(labels, classes, labels=[0, 1], average="macro")
    assert report.mean_iou == pytest.approx(expected, abs=1e-12)


def test_pixels_that_the_map_leaves_out_are_missed_as_a_class_of_their_own_would_be() -> None:
    labels, classes = patchy((70, 60), 3)
    confusion = ConfusionMatrix(3)
    confusion.add(labels, classes)
    scores = class_scores(pixel_tally(confusion.counts, confusion.left_out))
    labelled = labels != 255
    truth, guess = labels[labelled], np.where(classes == 255, 3, classes)[labelled]
    assert confusion.left_out.sum() == (guess == 3).sum() > 0
    known = {"labels": [0, 1, 2], "average": None}
    assert scores["iou"] == pytest.approx(metrics.jaccard_score(truth, guess, **known), abs=1e-12)
    assert scores["recall"] == pytest.approx(metrics.recall_score(truth, guess, **known), abs=1e-12)
    assert scores["precision"] == pytest.approx(metrics.precision_score(truth, guess, **known), abs=1e-12)


def test_kappa_by_hand() -> None:
    scores = mean_scores(pixel_tally(np.array([[20, 5], [10, 15]])))
    assert scores["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))


def test_chance_agreement_has_no_kappa_where_all_is_one_class() -> None:
    assert np.isnan(mean_scores(pixel_tally(np.array([[9, 0], [0, 0]])))["kappa"])


def test_many_tallies_at_once_score_as_each_alone() -> None:
    tallies = np.random.default_rng(0).integers(0, 3, (20, 4, len(Count))).astype(float)
    for scores, record in ((class_scores, ClassScore), (mean_scores, EvaluationReport)):
        together = scores(tallies)
        assert set(together) <= {field.name for field in fields(record)}
        for i in range(20):
            alone = scores(tallies[i])
            assert all(np.array_equal(together[name][i], alone[name], equal_nan=True) for name in together)


def test_bf_is_the_mean_over_images_of_the_mean_over_the_classes_in_their_labels() -> None:
    boundaries = Boundaries(Reach(1.5), Reach(1))
    total, images = empty_tally(3), []
    for seed in range(4):
        labels, classes = patchy((40, 40), seed)
        if seed == 0:
            classes[labels == 2] = 1
            labels[labels == 2] = 1  # class 2 is in the map alone: it does not count on this image
            classes[0, 30:32] = 2
        tally = boundaries.count(labels, classes, 3)
        confusion = ConfusionMatrix(3)
        confusion.add(labels, classes)
        tally += pixel_tally(confusion.counts)
        share_bf(tally)
        total += tally
        f1 = class_scores(tally)["boundary_f1"]
        images.append(np.mean([f1[number] for number in range(3) if (labels == number).any()]))
    assert mean_scores(total)["bf"] == pytest.approx(np.mean(images), abs=1e-12)


def test_a_place_without_boundaries_has_no_share_in_bf() -> None:
    tally = pixel_tally(np.array([[9, 0], [0, 0]]))
    share_bf(tally)
    assert not tally[:, [Count.BF_SUM, Count.BF_SHARE]].any()
