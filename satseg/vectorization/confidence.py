"""Confidence that waits while its rows are cleaned."""

from __future__ import annotations

import numpy as np

from satseg.vectorization.planar import NO_CONFIDENCE


class ConfidenceQueue:
    """Rows of confidence go in with the map as it came, and come out with the map as it is cleaned."""

    def __init__(self) -> None:
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def push(self, values: np.ndarray, confidence: np.ndarray) -> None:
        """Take (H, W) values and their (H, W) uint8 confidence."""
        self._waiting.append((values, confidence))

    def take(self, cleaned: np.ndarray) -> np.ndarray:
        """Return the confidence of the next (H, W) values; 255 in pixels that cleaning gave to another class."""
        values, confidence = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        count = len(cleaned)
        self._waiting = [(values[count:], confidence[count:])]
        return np.where(cleaned == values[:count], confidence[:count], NO_CONFIDENCE).astype(np.uint8)
