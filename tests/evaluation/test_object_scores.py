"""Covers ``object_counts``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from oracles import compared, patchy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rasterio.windows import Window
from scipy.ndimage import label

from satseg.evaluation.object_counts import SIZES, CountedObjects, ObjectCount, ObjectTotals, by_size
from satseg.evaluation.object_scores import mean_object_scores, scores_by_class, scores_by_size
from satseg.evaluation.object_sides import ConnectedRegions
from satseg.evaluation.objects import ObjectMatcher, Objects, Outcome, match_regions


def outcome(
    labels: list[float],
    mapped: list[float],
    pairs: list[tuple[int, int, float]] | None = None,
    scores: list[float] | None = None,
) -> Outcome:
    """Return objects with areas and, of the map, scores; pairs of them match with an IoU."""

    def objects(areas: list[float], ranked: list[float] | None = None) -> Objects:
        count = len(areas)
        ranks = np.ones(count) if ranked is None else np.array(ranked)
        return Objects(np.ones(count, dtype=np.uint8), np.zeros(count, dtype=np.int64), np.array(areas), ranks)

    one, other, iou = (np.array(column) for column in zip(*pairs or [], strict=True)) if pairs else ([], [], [])
    known, found = objects(labels), objects(mapped, scores)
    one, other = np.array(one, dtype=np.int64), np.array(other, dtype=np.int64)
    none = Objects.none()
    return Outcome(known, found, known.where(one), found.where(other), np.array(iou, dtype=float), none, none)


def totals(*outcomes: Outcome, pixel: float = 1.0) -> ObjectTotals:
    found = ObjectTotals()
    for each in outcomes:
        found.add(CountedObjects.of(each, pixel))
    return found


def coco_average_precision(
    labels: list[list[float]], found: list[list[float]], scores: list[float]
) -> tuple[float, float]:
    """Return COCO's AP and AP at 0.5 of boxes (x, y, width, height) in one image."""
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(labels, start=1)
        ],
    }
    truth.createIndex()
    guess = truth.loadRes(
        [
            {"image_id": 1, "category_id": 1, "bbox": box, "score": score}
            for box, score in zip(found, scores, strict=True)
        ]
    )
    evaluation = COCOeval(truth, guess, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 2]  # IoU thresholds, recalls; all areas, 100 detections
    return float(precision.mean()), float(precision[0].mean())


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [[float(20 * number), 0.0, 10.0, 10.0] for number in range(30)]
    shifts = rng.uniform(0, 5, 30)
    found = [[box[0] + shift, 0.0, 10.0, 10.0] for box, shift in zip(labels, shifts, strict=True)][: 20 + seed]
    found += [[float(20 * number), 50.0, 10.0, 10.0] for number in range(3 * seed)]  # where there is nothing
    scores = (rng.permutation(256)[: len(found)] / 255).tolist()
    iou = (10 - shifts) / (10 + shifts)
    pairs = [(number, number, iou[number]) for number in range(20 + seed) if iou[number] > 0.5]
    of_class = scores_by_class(totals(outcome([1] * 30, [1] * len(found), pairs, scores)))[1]
    expected = coco_average_precision(labels, found, scores)
    assert (of_class["ap"][0], of_class["ap50"][0]) == pytest.approx(expected, abs=1e-12)


def test_objects_without_scores_are_taken_together() -> None:
    pairs = [(0, 3, 1.0), (1, 0, 0.7)]
    found = scores_by_class(totals(outcome([1] * 4, [1] * 5, pairs)))[1]
    half = 0.4 * 51 / 101  # precision 2 / 5 up to a recall of 2 / 4
    quarter = 0.2 * 26 / 101
    assert found["ap50"][0] == pytest.approx(half)
    assert found["ap"][0] == pytest.approx((5 * half + 5 * quarter) / 10)


def test_without_objects_in_the_labels_there_is_no_average_precision_and_without_any_in_the_map_it_is_0() -> None:
    assert np.isnan(scores_by_class(totals(outcome([], [1])))[1]["ap"][0])
    found = scores_by_class(totals(outcome([1], [])))[1]
    assert (found["ap"][0], found["pq"][0], found["object_f1"][0]) == (0, 0, 0)


def test_sizes_are_square_metres_of_the_ground_and_each_object_has_its_own() -> None:
    areas, pixel = [4.0, 45.0, 200.0], 0.25  # 1, 11.25 and 50 square metres
    counted = totals(outcome(areas, [41.0], [(1, 0, 0.9)]), pixel=pixel)
    found = scores_by_size(counted, 1)
    assert [SIZES[size - 1] if size else 0 for size in found] == [0, 10, 30]
    assert [found[size]["object_recall"][0] for size in found] == [0, 1, 0]
    assert found[2]["object_precision"][0] == 1


def test_means_are_over_the_classes_that_the_labels_hold() -> None:
    counted = totals(outcome([1, 1], [1], [(0, 0, 0.8)]))
    only_mapped = outcome([], [1])
    only_mapped.mapped.classes[:] = 2
    counted.add(CountedObjects.of(only_mapped))
    by_class = scores_by_class(counted)
    found = mean_object_scores(counted, by_class)
    assert found["object_f1"][0] == by_class[1]["object_f1"][0] == pytest.approx(2 / 3)
    assert found["pq"][0] == pytest.approx(0.8 * 2 / 3)


def in_strips(labels: np.ndarray, classes: np.ndarray, seed: int) -> Iterator[Outcome]:
    height, width = labels.shape
    rng = np.random.default_rng(seed)
    matcher = ObjectMatcher(ConnectedRegions(0), ConnectedRegions(0))
    edges = np.unique([0, height, *rng.integers(1, height, rng.integers(0, 12))]).tolist()
    for top, end in pairwise(edges):
        window = Window(0, top, width, end - top)
        yield matcher.add(labels[top:end], classes[top:end], window, last=end == height)


def first_pixels(labels: np.ndarray, classes: np.ndarray, number: int) -> tuple[list[int], list[int]]:
    """Return where the split and the merged objects of a class begin, found by comparing each with each."""
    truth, n = label(labels == number)
    guess, m = label(np.where(labels == 255, 255, classes) == number)
    common = np.array([[((truth == i) & (guess == j)).sum() for j in range(1, m + 1)] for i in range(1, n + 1)])
    if not common.size:
        return [], []
    begins = np.array([np.flatnonzero((truth == i).ravel())[0] for i in range(1, n + 1)])
    in_truth = 2 * common > np.bincount(guess.ravel(), minlength=m + 1)[1:]
    in_guess = 2 * common > np.bincount(truth.ravel(), minlength=n + 1)[1:, None]
    together = (in_guess & (in_guess.sum(axis=0) > 1)).any(axis=1)
    return begins[in_truth.sum(axis=1) > 1].tolist(), begins[together].tolist()


def combs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two maps of bars, many of which are joined further down: what they share adds up when they join."""
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(2):
        ids = np.zeros((60, 48), dtype=np.uint8)
        for left in range(0, 48, 4):
            top, end = np.sort(rng.integers(0, 61, 2))
            ids[top:end, left : left + int(rng.integers(2, 4))] = 1
        for row in rng.integers(20, 60, 4):
            begin, end = np.sort(rng.integers(0, 49, 2))
            ids[row : row + int(rng.integers(1, 4)), begin:end] = 1
        maps.append(ids)
    return maps[0], maps[1]


@pytest.mark.parametrize("seed", range(60))
def test_regions_that_join_further_down_are_told_in_strips_as_in_one(seed: int) -> None:
    labels, classes = combs(seed)
    whole, parts = match_regions(labels, classes, 0), list(in_strips(labels, classes, seed))
    for name in ("labels", "mapped", "found", "correct", "split", "merged"):
        begins = np.concatenate([getattr(part, name).first for part in parts])
        assert sorted(begins.tolist()) == sorted(getattr(whole, name).first.tolist()), name
    assert np.sort(np.concatenate([part.iou for part in parts])) == pytest.approx(np.sort(whole.iou))
    split, merged = first_pixels(labels, classes, 1)
    assert (sorted(whole.split.first.tolist()), sorted(whole.merged.first.tolist())) == (sorted(split), sorted(merged))


@pytest.mark.parametrize("seed", range(25))
def test_split_and_merged_objects_in_strips_are_those_of_the_whole_compared_each_with_each(seed: int) -> None:
    labels, classes = patchy((45, 38), seed, size=0.8 + seed % 3)
    if seed % 2:
        labels, classes = compared(classes, labels)
    found = list(in_strips(labels, classes, seed))
    for number in (1, 2):
        split, merged = first_pixels(labels, classes, number)
        for name, expected in (("split", split), ("merged", merged)):
            parts = [getattr(part, name) for part in found]
            begins = np.concatenate([part.first[part.classes == number] for part in parts])
            assert sorted(begins.tolist()) == sorted(expected), (name, number)


def test_counts_of_parts_add_up_to_that_of_the_whole() -> None:
    labels, classes = patchy((60, 40), 4, size=1)
    parts, whole = totals(*in_strips(labels, classes, 3)), totals(match_regions(labels, classes, 0))
    for number in (1, 2):
        assert parts.of_class(number) == pytest.approx(whole.of_class(number), abs=1e-9)  # sums of IoU in another order
        counts = by_size(whole.of_class(number))[0].sum(axis=0)
        assert counts[ObjectCount.FOUND] == counts[ObjectCount.CORRECT]
