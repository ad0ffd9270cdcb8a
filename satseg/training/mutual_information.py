"""Region mutual information: a loss that sees each pixel together with its neighbours.

Zhao, Wang, Yang, Cai: "Region Mutual Information Loss for Semantic Segmentation", NeurIPS 2019, arXiv 1910.12037.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from satseg.classes import IGNORE_INDEX
from satseg.training.devices import Total, single_device

_RADIUS = 3  # pixels a side of the squares whose values are compared, at the resolution of the means
_POOL = 4  # pixels a side of the means
_FLOOR = 5e-4  # on the diagonal of covariances, so that they can be inverted
_LEAST = 1e-6  # added to probabilities


def region_mutual_information(
    logits: Tensor,
    targets: Tensor,
    weight: Tensor | None = None,
    total: Total = single_device,
    *,
    share: float = 0.5,
) -> Tensor:
    """Return binary cross-entropy, and a bound of the information that predicted regions have of the labelled ones.

    Both look at each class alone, by the sigmoid of its logit. Labels and probabilities are averaged over 4 x 4 px; of
    both, every 3 x 3 means are a vector of nine. Were these normally distributed, half the logarithm of the determinant
    of the covariance of labels given probabilities would be their entropy given these, which is minimised, over nine
    and summed over classes (equations 9 to 13). Covariances are sums over the pixels of a tile, as in the authors'
    code, so that the loss grows with the logarithm of their number. Theirs is less by a constant, and negative where
    predictions are good; here labels that do not vary cost nothing.

    Args:
        logits: (N, K, H, W) float; maps with fewer than three means a side have no squares, and cross-entropy alone.
        targets: (N, H, W) int64, 0..K-1 or 255 = ignore.
        weight: Not used.
        total: Sums over devices.
        share: Factor of the cross-entropy; that of the entropy is 1 - ``share``.

    Returns:
        A scalar float32 of 0 and more, which is zero with zero gradients if all pixels are ignored.
    """
    counted = (targets != IGNORE_INDEX)[:, None]
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    truth = (targets[:, None] == classes).float()  # (N, K, H, W); 255 matches none of them
    costs = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none") * counted
    cross_entropy = total(costs.sum()) / total(counted.sum()).clamp(min=1)
    entropy = _remaining_entropy(truth, logits.float().sigmoid() * counted + _LEAST)
    tiles = total(torch.tensor(float(len(logits)), device=logits.device))
    return share * cross_entropy + (1 - share) * total(entropy.sum()) / tiles


def _remaining_entropy(truth: Tensor, probs: Tensor) -> Tensor:
    """Return the entropy of labels given probabilities per dimension, above that of the floor, (N, K) of (N, K, H, W).

    Nearly singular matrices take float64.
    """
    labels, found = _means(truth), _means(probs)
    if min(labels.shape[2:]) < _RADIUS:
        return probs.sum(dim=(2, 3)) * 0
    labels, found = _vectors(labels), _vectors(found)
    one = torch.eye(labels.shape[2], dtype=labels.dtype, device=labels.device)
    across = labels @ found.mT
    explained = across @ torch.linalg.solve(found @ found.mT + _FLOOR * one, across.mT)
    entropy = 0.5 * torch.logdet((labels @ labels.mT - explained) / _FLOOR + one) / labels.shape[2]
    return entropy.float().to(probs.device)


def _means(maps: Tensor) -> Tensor:
    means = F.avg_pool2d(maps, _POOL, stride=_POOL, padding=_POOL // 2)
    return (means.cpu() if means.device.type == "mps" else means).double()  # GPUs of Apple have no float64


def _vectors(means: Tensor) -> Tensor:
    """Return the squares around all places, less their mean, (N, K, 9, places)."""
    squares = means.unfold(2, _RADIUS, 1).unfold(3, _RADIUS, 1)  # (N, K, h, w, 3, 3)
    vectors = squares.flatten(4).flatten(2, 3).mT
    return vectors - vectors.mean(dim=3, keepdim=True)
