"""Losses of the centres of objects and of the offsets to them, by which Panoptic-DeepLab tells objects apart.

Cheng et al., "Panoptic-DeepLab", CVPR 2020, arXiv 1911.10194, section 3.2. What is to be learnt follows from the ids
of objects as they lie in the augmented sample, so that offsets are right however it was turned, scaled and shifted.

Ids are (N, H, W) int32, see :func:`satseg.objects.targets.signed_ids`. Losses take logits float; ``objects``
(N, 1, H, W) int32, those ids; ``counted`` (N, H, W) bool, the labelled pixels; and ``total``, which sums over devices.
They return a scalar float32, which is zero with zero gradients if no pixel counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from satseg.training.devices import Total

SIGMA = 8.0
"""Standard deviation in pixels of the heat around a centre (section 3.2)."""

_REACH = 24  # pixels: three standard deviations, beyond which the heat is below 0.012
_AT_ONCE = 1024  # centres whose heat is drawn at a time


@dataclass(frozen=True, eq=False)
class Centres:
    """Centres of mass of the objects of a batch.

    An object that is cut goes on beyond the sample or under another one, and so may one that touches the edge of the
    sample: their centres are not known.

    Args:
        at: (N, H, W) int64 number of each pixel's object, or of the background of its sample.
        positions: (M, 2) float32 row and column by number.
        samples: (M,) int64 sample by number.
        known: (M,) bool by number, False for backgrounds.
    """

    at: Tensor
    positions: Tensor
    samples: Tensor
    known: Tensor

    @classmethod
    def of(cls, ids: Tensor) -> Centres:
        """Find the centres of mass of all objects."""
        number = ids.abs().long()
        count = int(number.max()) + 1  # in each sample, backgrounds first
        samples = torch.arange(len(ids), device=ids.device)
        at = number + count * samples.view(-1, 1, 1)
        flat, total = at.flatten(), count * len(ids)
        ones, (rows, columns) = torch.ones_like(at), (part.expand_as(at) for part in _grid(ids))
        size, *sums = (  # whole numbers, whose sum is the same in any order
            torch.zeros(total, dtype=torch.int64, device=ids.device).index_add_(0, flat, part.flatten())
            for part in (ones, rows, columns)
        )
        goes_on = ids < 0
        for axis in (1, 2):
            for edge in (0, -1):
                goes_on.select(axis, edge).fill_(True)
        known = size > 0
        known[flat[goes_on.flatten()]] = False
        known[::count] = False
        positions = torch.stack(sums, dim=1) / size.clamp(min=1)[:, None]
        return cls(at, positions.float(), samples.repeat_interleave(count), known)

    def heat(self) -> Tensor:
        """Return (N, H, W) float32: a Gaussian around the pixel of each known centre, the largest where they overlap.

        It is 1 at centres, and 0 from 25 px on along rows or columns.
        """
        samples, height, width = (size + 2 * _REACH * (axis > 0) for axis, size in enumerate(self.at.shape))
        steps = torch.arange(2 * _REACH + 1, device=self.at.device)
        fall = torch.exp(-((steps - _REACH) ** 2) / (2 * SIGMA**2))
        patch = fall[:, None] * fall
        heat = torch.zeros(samples * height * width, device=self.at.device)
        for chosen in self.known.nonzero()[:, 0].split(_AT_ONCE):
            rows, columns = self.positions[chosen].round().long().T
            first = (self.samples[chosen] * height + rows) * width + columns
            index = first.view(-1, 1, 1) + steps[:, None] * width + steps
            heat.scatter_reduce_(0, index.flatten(), patch.expand_as(index).flatten(), "amax")
        return heat.view(samples, height, width)[:, _REACH:-_REACH, _REACH:-_REACH]

    def offsets(self) -> Tensor:
        """Return (N, 2, H, W) float32: rows and columns from each pixel to the centre of its object, known or not."""
        return self.positions[self.at].movedim(-1, 1) - torch.stack(_grid(self.at))


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and the column of each pixel of (N, H, W), both (H, W) int64."""
    rows, columns = (torch.arange(size, device=like.device) for size in like.shape[1:])
    return rows[:, None].expand(like.shape[1:]), columns.expand(like.shape[1:])


def centre(logits: Tensor, objects: Tensor, counted: Tensor, total: Total) -> Tensor:
    """Return the mean squared error of the heat of centres, (N, H, W); pixels of objects without one are left out."""
    ids = objects[:, 0]
    centres = Centres.of(ids)
    counted = counted & (centres.known[centres.at] | (ids == 0))
    errors = (logits.float() - centres.heat()) ** 2
    return _mean(errors, counted, total)


def offset(logits: Tensor, objects: Tensor, counted: Tensor, total: Total) -> Tensor:
    """Return the mean absolute error of offsets, (N, 2, H, W) in pixels, within objects whose centre is known.

    The errors along rows and columns are added.
    """
    centres = Centres.of(objects[:, 0])
    errors = (logits.float() - centres.offsets()).abs().sum(dim=1)
    return _mean(errors, counted & centres.known[centres.at], total)


def _mean(errors: Tensor, counted: Tensor, total: Total) -> Tensor:
    return total((errors * counted).sum()) / total(counted.sum().float()).clamp(min=1)
