"""What networks learn about objects, computed from instance ids: distances, inner boundaries, weights of contacts.

Distances to the edge of an object, over its largest one, are what ResUNet-a learns beside the extent and the boundary
of fields (Diakogiannis et al., ISPRS Journal 162, 2020, section 3.2); boundaries of objects beside their extent are
DCAN's (Chen et al., CVPR 2016). Weights where objects come close are U-Net's (Ronneberger et al., MICCAI 2015,
equation 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum

import numpy as np
from scipy import ndimage

from satseg.objects import ONE, UNKNOWN, ObjectOutputs

CONTACT_WEIGHT = 10.0
"""Weight, beyond 1, of pixels where objects touch: ``w0`` of U-Net."""

CONTACT_WIDTH = 5.0
"""Sum of the distances to two objects in pixels at which it has fallen to 0.61 of that: ``sigma`` of U-Net."""

BOUNDARY_WIDTH = 2.0
"""Width of the inner boundary in pixels: one is lost where outlines of labels are a pixel off."""

_REACH = 4  # times the width; the weight is then below 0.004


class Plane(IntEnum):
    """The planes of :func:`object_targets`."""

    BOUNDARY = 0
    DISTANCE = 1
    WEIGHT = 2


def object_targets(ids: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Return what a network learns about the objects of a tile, in 8 bits.

    An object that the tile cuts goes on beyond it: the tile's edge is no boundary of it, and since its core may lie
    outside, its distances are not known.

    Args:
        ids: (H, W) integer ids, 0 for no object.
        cut: (H, W) bool, where an object is cut.

    Returns:
        (3, H, W) uint8 with the planes of :class:`Plane`: inner boundary, 0 or 254; normalised distance to the edge of
        the own object, 254 for 1, and 255 where it is not known; and weights of contacts, 254 for the largest.
    """
    distance = edge_distance(ids, cut)
    planes = np.zeros((len(Plane), *ids.shape), dtype=np.uint8)
    planes[Plane.BOUNDARY] = inner_boundary(distance, BOUNDARY_WIDTH) * np.uint8(ONE)
    planes[Plane.DISTANCE] = np.where(cut, UNKNOWN, np.rint(normalised(distance, ids) * ONE))
    planes[Plane.WEIGHT] = np.rint((contact_weights(ids) - 1) / CONTACT_WEIGHT * ONE)
    return planes


def signed_ids(ids: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Return the objects of a tile as ids that tell which of them go on beyond it.

    Centres of objects follow from them once the tile is augmented.

    Args:
        ids: (H, W) integer ids, 0 for no object.
        cut: (H, W) bool, where an object is cut.

    Returns:
        (1, H, W) int32 from 1 in the order of ids, negative where an object is cut; 0 for none.
    """
    values, numbers = np.unique(ids, return_inverse=True)
    numbers = np.where(ids == 0, 0, numbers.reshape(ids.shape) + int(values[0] != 0))
    return np.where(cut, -numbers, numbers)[None].astype(np.int32)


def paste(objects: np.ndarray, others: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Return what a sample holds of objects after a rectangle of another sample was put into it, as a new array.

    Ids remain apart, and those of objects that the rectangle's edge may have cut become negative.

    Args:
        objects: (P, H, W) of the sample.
        others: (P, H, W) of the other one.
        box: Rows and columns of the rectangle, the same in both.
    """
    mixed = objects.copy()
    if objects.dtype != np.int32:  # maps, which are right pixel by pixel
        mixed[..., *box] = others[..., *box]
        return mixed
    pasted = others[..., *box]
    mixed[..., *box] = pasted + np.sign(pasted) * np.abs(objects).max(initial=0)
    rim = np.zeros(objects.shape[-2:], dtype=np.bool_)
    rim[tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)] = True
    rim[tuple(slice(side.start + 1, max(side.start + 1, side.stop - 1)) for side in box)] = False
    return np.where(rim, -np.abs(mixed), mixed)


TARGETS: Mapping[ObjectOutputs, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    ObjectOutputs.EDGES: object_targets,
    ObjectOutputs.CENTRES: signed_ids,
}
"""What a sample holds of the objects of its tile, from ids and where they are cut, by what a network learns."""


def edge_distance(ids: np.ndarray, cut: np.ndarray | None = None) -> np.ndarray:
    """Return the distance of each pixel's centre to the edge of its own object.

    The edge lies half a pixel before the nearest pixel that is not of the object. Objects end with the array, unless
    they are cut: those go on beyond it.

    Args:
        ids: (H, W) integer ids, 0 for no object.
        cut: (H, W) bool, where an object is cut; None if none is.

    Returns:
        (H, W) float32 in pixels, 0.5 and more in objects, 0 elsewhere.
    """
    found = np.zeros(ids.shape, dtype=np.float32)
    for number, part in _boxes(ids):
        mine = ids[part] == number
        goes_on = cut is not None and bool(cut[part][mine].any())
        margins = [
            (side.start == 0 and goes_on, side.stop == size and goes_on)
            for side, size in zip(part, ids.shape, strict=True)
        ]
        inside = np.pad(mine, 1)
        for axis, (before, behind) in enumerate(margins):
            turned = np.moveaxis(inside, axis, 0)
            turned[0] |= turned[1] & before
            turned[-1] |= turned[-2] & behind
        distance = ndimage.distance_transform_edt(inside)[1:-1, 1:-1] - 0.5
        np.copyto(found[part], distance, where=mine, casting="same_kind")
    return found


def normalised(distance: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return distances as shares of the largest one of each object, whatever its size.

    Args:
        distance: (H, W) distances as :func:`edge_distance` returns them.
        ids: (H, W) integer ids, 0 for no object.

    Returns:
        (H, W) float32: 0 at the edge of an object, 1 at its core; 0 elsewhere.
    """
    numbers, at = np.unique(ids, return_inverse=True)
    largest = ndimage.maximum(distance, at.reshape(ids.shape), np.arange(len(numbers)))
    return np.divide(
        distance,
        np.asarray(largest, dtype=np.float32)[at.reshape(ids.shape)],
        where=ids > 0,
        out=np.zeros_like(distance),
    )


def inner_boundary(distance: np.ndarray, width: float) -> np.ndarray:
    """Mark the pixels of objects along their edges, on the objects' side.

    Args:
        distance: (H, W) distances as :func:`edge_distance` returns them.
        width: Width in pixels; 1 marks the pixels beside other objects or none.

    Returns:
        (H, W) bool.
    """
    return (distance > 0) & (distance < width)


def contact_weights(ids: np.ndarray, *, most: float = CONTACT_WEIGHT, width: float = CONTACT_WIDTH) -> np.ndarray:
    """Return the weights of pixels in a loss: higher where two objects touch or nearly so.

    The weight at the distances d1 and d2 to the two nearest objects is
    ``1 + most * exp(-(d1 + d2)**2 / (2 * width**2))``. The distance of a pixel to its own object is 0, and that
    to an object that it touches is 1.

    Args:
        ids: (H, W) integer ids, 0 for no object.
        most: ``w0`` of the paper.
        width: ``sigma`` of the paper, in pixels.

    Returns:
        (H, W) float32, 1 and more. It is 1 where no two objects are near.
    """
    reach = int(np.ceil(_REACH * width))
    first = np.full(ids.shape, np.inf, dtype=np.float32)
    second = first.copy()
    for number, part in _boxes(ids):
        near = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in part)
        distance = ndimage.distance_transform_edt(ids[near] != number).astype(np.float32)
        second[near] = np.minimum(second[near], np.maximum(first[near], distance))
        first[near] = np.minimum(first[near], distance)
    return 1 + np.float32(most) * np.exp(-((first + second) ** 2) / np.float32(2 * width**2))


def _boxes(ids: np.ndarray) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield the id of each object, and the rows and columns that it spans."""
    numbers, at = np.unique(ids, return_inverse=True)
    boxes = ndimage.find_objects(at.reshape(ids.shape) + 1)
    for number, box in zip(numbers.tolist(), boxes, strict=True):
        if number and box is not None:
            yield number, box
