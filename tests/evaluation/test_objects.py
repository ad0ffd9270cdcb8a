"""Covers ``object_sides``."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from oracles import compared, count_objects, patchy
from rasterio.windows import Window
from scipy.ndimage import label
from torchmetrics.detection import PanopticQuality

from satseg.evaluation.object_counts import CountedObjects, ObjectTotals
from satseg.evaluation.object_scores import scores_by_class
from satseg.evaluation.object_sides import ConnectedRegions, FeatureObjects
from satseg.evaluation.objects import ObjectMatcher, Outcome, match_regions
from satseg.labels.burnt_features import BurntFeatures


class BurntArray:
    """Features in memory, numbered from 1 where they lie; ``outer`` numbers those that lie mostly outside."""

    def __init__(self, features: np.ndarray, outer: np.ndarray | None = None) -> None:
        self._features = features
        self._outer = np.empty(0) if outer is None else outer
        self.count = int(features.max())

    def features(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, BurntFeatures]:
        part = self._features[window.toslices()[0]]
        numbers, objects = np.unique(part, return_inverse=True)
        ends = np.array([np.flatnonzero((self._features == n).any(axis=1)).max() + 1 for n in numbers])
        offset = int(numbers[0] != 0)
        kept = numbers > 0
        numbers = numbers[kept]
        classes = ids[np.ones(len(numbers), dtype=int)]
        outer, ranks = np.isin(numbers, self._outer), np.zeros(len(numbers))
        return objects + offset, BurntFeatures(numbers, classes, ends[kept], outer, ranks)


def counts(outcome: Outcome, num_classes: int) -> np.ndarray:
    """Return (K, 3) objects in labels, in the map, and matched pairs."""
    parts = outcome.labels, outcome.mapped, outcome.found
    return np.stack([np.bincount(part.classes, minlength=num_classes) for part in parts], axis=1)


def cuts(height: int, seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    edges = np.unique(np.concatenate([[0, height], rng.integers(1, height, rng.integers(0, 12))])).tolist()
    return list(pairwise(edges))


@pytest.mark.parametrize("background", [None, 0])
@pytest.mark.parametrize("seed", range(12))
def test_regions_in_strips_are_those_of_the_whole_compared_each_with_each(seed: int, background: int | None) -> None:
    labels, classes = patchy((45, 38), seed, size=1 + seed % 3)
    matcher = ObjectMatcher(ConnectedRegions(background), ConnectedRegions(background))
    found = np.zeros((3, 3), dtype=int)
    for top, end in cuts(45, seed):
        window = Window(0, top, 38, end - top)
        found += counts(matcher.add(labels[top:end], classes[top:end], window, last=end == 45), 3)
    assert found.tolist() == count_objects(labels, classes, background, 3).tolist()
    assert counts(match_regions(labels, classes, background), 3).tolist() == found.tolist()


@pytest.mark.parametrize("some_outer", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_features_are_matched_as_wholes_also_where_their_pixels_do_not_touch(seed: int, some_outer: bool) -> None:
    labels, classes = compared(*patchy((45, 38), seed, size=1.5))
    regions, _ = label(labels == 1)
    features = np.where(regions > 0, (regions + 1) // 2, 0)  # two regions are one feature
    outer = np.arange(1, features.max() + 1, 2) if some_outer else np.empty(0)
    burnt = BurntArray(features, outer)
    labels = np.where(features > 0, 1, np.where(labels == 255, 255, 0)).astype(np.uint8)
    matcher = ObjectMatcher(FeatureObjects(burnt, np.uint8([0, 1]), 0), ConnectedRegions(0))
    found = np.zeros((3, 3), dtype=int)
    for top, end in cuts(45, seed):
        window = Window(0, top, 38, end - top)
        found += counts(matcher.add(labels[top:end], classes[top:end], window, last=end == 45), 3)
    guess, m = label(classes == 1)
    pairs = [
        i
        for i in range(1, burnt.count + 1)
        for j in range(1, m + 1)
        if ((features == i) & (guess == j)).sum() / ((features == i) | (guess == j)).sum() > 0.5
    ]
    silent = np.setdiff1d(outer, pairs)  # those that lie mostly outside count only where they match
    assert found[1].tolist() == [burnt.count - len(silent), m, len(pairs)]


def test_an_iou_of_a_half_is_no_match_and_above_it_is() -> None:
    labels, classes = np.zeros((2, 3, 9), dtype=np.uint8)
    labels[1, :4] = 1
    classes[1, :2] = 1
    assert counts(match_regions(labels, classes, 0), 2)[1].tolist() == [1, 1, 0]
    classes[1, 2] = 1
    assert counts(match_regions(labels, classes, 0), 2)[1].tolist() == [1, 1, 1]


def test_touching_at_a_corner_is_not_connected() -> None:
    labels = np.eye(4, dtype=np.uint8)
    assert counts(match_regions(labels, labels, 0), 2)[1].tolist() == [4, 4, 4]


def test_an_object_begins_where_its_first_pixel_is_in_reading_order() -> None:
    labels = np.zeros((6, 7), dtype=np.uint8)
    labels[1:5, 2] = labels[4, 2:6] = labels[2:5, 5] = labels[0, 0] = 1
    matcher = ObjectMatcher(ConnectedRegions(0), ConnectedRegions(0))
    first: list[int] = []
    for row in range(6):
        part = labels[row : row + 1]
        first += matcher.add(part, part, Window(0, row, 7, 1), last=row == 5).found.first.tolist()
    assert sorted(first) == [0, 1 * 7 + 2]


def test_what_is_carried_does_not_grow_with_the_number_of_rows() -> None:
    rng = np.random.default_rng(0)
    matcher = ObjectMatcher(ConnectedRegions(0), ConnectedRegions(0))
    sizes = []
    for row in range(400):
        labels, classes = (rng.random((2, 1, 60)) < 0.4).astype(np.uint8)
        matcher.add(labels, classes, Window(0, row, 60, 1), last=False)
        sizes.append(len(pickle.dumps(matcher)))
    assert max(sizes[40:]) <= 1.3 * max(sizes[:40])


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_quality_is_that_of_torchmetrics(seed: int) -> None:
    labels, classes = compared(*patchy((60, 50), seed, size=2))
    labels[labels == 255], classes[classes == 255] = 0, 0
    totals = ObjectTotals()
    totals.add(CountedObjects.of(match_regions(labels, classes, 0)))
    found = scores_by_class(totals)
    pictures = []
    for ids in (classes, labels):
        instances = sum(label(ids == number)[0] for number in (1, 2))
        pictures.append(torch.from_numpy(np.stack([ids, instances], axis=-1).astype(np.int64))[None])
    metric = PanopticQuality(things={1, 2}, stuffs={0}, return_per_class=True, return_sq_and_rq=True)
    expected = metric(*pictures)  # by class in the order 1, 2, 0
    for number in (1, 2):
        for column, name in enumerate(("pq", "sq", "rq")):
            assert found[number][name][0] == pytest.approx(expected[number - 1, column].item(), abs=1e-6)
