"""Losses of what a network learns about objects beside their classes: inner boundaries and distances.

All take logits (N, H, W) float; ``objects`` (N, 3, H, W) uint8, the planes of
:func:`satseg.objects.targets.object_targets`; ``counted`` (N, H, W) bool, the labelled pixels; and ``total``, which
sums over devices. They return a scalar float32, which is zero with zero gradients if no pixel counts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from satseg.objects import ONE, UNKNOWN
from satseg.objects.targets import CONTACT_WEIGHT, Plane
from satseg.training.devices import Total


def boundary(logits: Tensor, objects: Tensor, counted: Tensor, total: Total) -> Tensor:
    """Return the mean binary cross-entropy plus 1 - soft Dice of the inner boundary.

    Where objects touch, or nearly so, pixels weigh up to eleven times as much in the former (Ronneberger et al. 2015,
    equation 2). Cross-entropy and Dice together are what the winners of the SpaceNet challenges trained boundaries of
    buildings with (Van Etten, Hogan: "The SpaceNet Multi-Temporal Urban Development Challenge", arXiv 2102.11958).
    """
    truth = objects[:, Plane.BOUNDARY].float() / ONE
    weights = (1 + objects[:, Plane.WEIGHT].float() * (CONTACT_WEIGHT / ONE)) * counted
    losses = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    entropy = _ratio(total((losses * weights).sum()), total(weights.sum()))
    found, truth = logits.float().sigmoid() * counted, truth * counted
    overlap = _ratio(total(2 * (found * truth).sum()), total(found.sum() + truth.sum()))
    return entropy + (1 - overlap) * (total(truth.sum()) > 0)


def distance(logits: Tensor, objects: Tensor, counted: Tensor, total: Total) -> Tensor:
    """Return 1 - the Tanimoto index with complement of the normalised distance (Diakogiannis et al. 2020, equation 5).

    The index is ``sum(p * d) / sum(p**2 + d**2 - p * d)``, and the result the mean of that of p and d and of that of
    1 - p and 1 - d, over all pixels whose distance is known.
    """
    known = counted & (objects[:, Plane.DISTANCE] != UNKNOWN)
    truth = objects[:, Plane.DISTANCE].float() / ONE
    found = logits.float().sigmoid()
    both = [_tanimoto(p * known, d * known, total) for p, d in ((found, truth), (1 - found, 1 - truth))]
    return (1 - (both[0] + both[1]) / 2) * (total(known.sum()) > 0)


def _tanimoto(found: Tensor, truth: Tensor, total: Total) -> Tensor:
    hit = (found * truth).sum()
    return _ratio(total(hit), total((found**2).sum() + (truth**2).sum() - hit))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / torch.where(whole > 0, whole, 1.0)
