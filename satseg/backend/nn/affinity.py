"""The loss of a prior that says of each pair of pixels whether they are of one class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from satseg.classes import IGNORE_INDEX

_LEAST = 1e-6  # under a logarithm


def affinity_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the affinity loss: of each pair of pixels, and of all that a prior says of each pixel.

    It is the mean binary cross-entropy of all pairs, plus the means over pixels of the negative logarithms of
    precision, recall and specificity of their rows. A pixel does not count where it has no such value: it needs another
    one of its class, or one of another class. Pairs of a pixel with itself are left out of precision and recall, and
    count in the cross-entropy. Pairs of which one pixel is ignored do not count at all.

    Sums of each row over the pixels of each class hold all that is needed, so that no affinity of the labels is made:
    memory is that of a few copies of the prior.

    Yu et al.: "Context Prior for Scene Segmentation", CVPR 2020, arXiv 2004.01547, section 3.1.

    Args:
        logits: (N, P, P) of the prior, before the sigmoid.
        labels: (N, P) int64 class ids of the pixels; 255 is ignored.

    Returns:
        Scalar float32; zero with zero gradients where all pixels are ignored.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        counted = labels != IGNORE_INDEX
        classes = labels.where(counted, 0)
        members = F.one_hot(classes).float() * counted[..., None]  # (N, P, K)
        of_class = members.sum(dim=1).gather(1, classes) * counted  # pixels of the class of each one
        pixels = counted.sum(dim=1, keepdim=True)  # (N, 1)
        prior = logits.sigmoid()
        itself = prior.diagonal(dim1=1, dim2=2)

        def of_own(pairs: Tensor) -> tuple[Tensor, Tensor]:
            """Return the sums of each row over the pixels of its class, and over all."""
            sums = torch.bmm(pairs, members)
            return sums.gather(2, classes[..., None]).squeeze(2), sums.sum(dim=2)

        hits, found = of_own(prior)
        wanted, _ = of_own(logits)
        _, all_soft = of_own(F.softplus(logits))
        unary = ((all_soft - wanted) * counted).sum() / pixels.square().sum().clamp(min=1)
        correct = hits - itself
        shares = (
            (correct, of_class - 1),  # recall
            (correct, (found - itself) * (of_class > 1)),  # precision
            (pixels - of_class - found + hits, pixels - of_class),  # specificity
        )
        return unary + sum(_mean_negative_log(part, whole, counted) for part, whole in shares)


def _mean_negative_log(part: Tensor, whole: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of -log(part / whole) where there is a whole."""
    defined = counted & (whole > 0)
    share = (part.where(defined, 1.0) / whole.where(defined, 1.0)).clamp(_LEAST, 1)
    return -share.log().sum() / defined.sum().clamp(min=1)
