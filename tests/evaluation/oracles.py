"""Maps with something to get wrong, and slow but plain counts to check the streaming ones against."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, label
from scipy.spatial.distance import cdist

from satseg.evaluation.object_counts import ObjectCount, ObjectTotals, by_size


def patchy(shape: tuple[int, int], seed: int, *, size: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and a map (H, W) uint8 of three classes in patches, both with some 255."""
    rng = np.random.default_rng(seed)
    height = gaussian_filter(rng.random(shape), size)
    height = (height - height.mean()) / height.std()
    noisy = height + rng.normal(0, 0.3, shape)
    labels, classes = (((z > 0).astype(np.uint8) + (z > 0.8)).astype(np.uint8) for z in (height, noisy))
    labels[rng.random(shape) < 0.02] = 255
    classes[3 : shape[0] // 4, 5 : shape[1] // 3] = 255
    return labels, classes


def compared(labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both with 255 wherever one of them is."""
    ignored = (labels == 255) | (classes == 255)
    return np.where(ignored, 255, labels).astype(np.uint8), np.where(ignored, 255, classes).astype(np.uint8)


def edge_pixels(ids: np.ndarray, number: int) -> np.ndarray:
    """Return (n, 2) pixels of a class beside a pixel of another class, found pixel by pixel."""
    found = []
    for row, column in np.argwhere(ids == number):
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < ids.shape[0] and 0 <= c < ids.shape[1] and ids[r, c] not in (number, 255):
                found.append((row, column))
                break
    return np.array(found, dtype=float).reshape(-1, 2)


def near(these: np.ndarray, those: np.ndarray, distance: float) -> int:
    """Count these points that lie within a distance of one of those."""
    return int((cdist(these, those).min(axis=1) <= distance).sum()) if len(those) and len(these) else 0


def count_objects(labels: np.ndarray, classes: np.ndarray, background: int | None, num_classes: int) -> np.ndarray:
    """Return (K, 3) objects in labels, in the map, and matched pairs, by comparing each with each."""
    classes = np.where(labels == 255, 255, classes)
    counts = np.zeros((num_classes, 3), dtype=int)
    for number in range(num_classes):
        if number == background:
            continue
        truth, n = label(labels == number)
        guess, m = label(classes == number)
        counts[number] = n, m, 0
        for i in range(1, n + 1):
            for j in np.unique(guess[truth == i]):
                union = ((truth == i) | (guess == j)).sum()
                counts[number, 2] += bool(j) and ((truth == i) & (guess == j)).sum() / union > 0.5
    return counts


def number_of_objects(totals: ObjectTotals, num_classes: int) -> list[list[int]]:
    """Return the objects in labels, in the map, and matched pairs of each class."""
    columns = [ObjectCount.LABELLED, ObjectCount.MAPPED, ObjectCount.FOUND]
    return [
        by_size(totals.of_class(number))[0].sum(axis=0)[columns].astype(int).tolist() for number in range(num_classes)
    ]
