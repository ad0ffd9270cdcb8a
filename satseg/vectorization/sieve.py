"""Sieve a class map as it streams by: dissolve small regions and fill small holes.

Rows are held until all their regions are settled: large enough, dissolved, or closed with nothing left to decide. The
result depends on the map alone, since rows are processed in blocks of a fixed height.

A region (4-connected, equal value) below the minimum size dissolves into the neighbour with which it shares the longest
boundary; ties go to the lower value, then to the region that begins first. The smallest regions dissolve first: a
region waits while a neighbour is smaller, or is small and still open. A dissolved region becomes part of its neighbour,
so chains end in a region that is large enough or has no neighbour left. Regions do not dissolve into VOID; a small
region without other neighbours becomes VOID itself. A hole (VOID inside a single region) is filled if it is small.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from satseg.vectorization.planar import VOID

BLOCK = 64
"""Rows that are labelled and settled at once."""

PARENT, VALUE, COUNT, TOP, BOTTOM, LEFT, RIGHT, ROW, COLUMN, OPEN, SETTLED = range(11)
"""Columns of a region: union-find parent, value, pixels, bounding box in rows and columns of the buffer (inclusive),
its first pixel, whether it may continue below, whether nothing is left to decide."""

_COLUMNS = 11


class Sieve:
    """Takes rows of a map and returns them sieved, with a delay.

    Args:
        width: Columns of the map.
        min_pixels: Regions with fewer pixels dissolve.
        max_hole: Holes of at most this many pixels are filled.
        diagonal: Whether regions are 8-connected; VOID never is.
    """

    def __init__(self, width: int, *, min_pixels: float, max_hole: float, diagonal: bool = False) -> None:
        self._diagonal = diagonal
        self._limits = np.array([min_pixels, max_hole])
        self._waiting = np.empty((0, width), dtype=np.int32)  # rows of values of an incomplete block
        self._labels = np.empty((0, width), dtype=np.int32)  # rows of region numbers, oldest first
        self._regions = np.empty((0, _COLUMNS), dtype=np.int64)
        self._first_row = 0  # of the labels, in the map
        self._counts = np.zeros(2, dtype=np.int64)
        self._released = 0  # rows of the labels already returned, kept because a region below touches them

    def push(self, values: np.ndarray) -> np.ndarray:
        """Take (H, W) int32 values, VOID for pixels without polygons; return the rows that are settled, if any."""
        self._waiting = np.concatenate([self._waiting, values])
        done = [self._waiting[:0]]
        while len(self._waiting) >= BLOCK:
            done.append(self._add(self._waiting[:BLOCK], last=False))
            self._waiting = self._waiting[BLOCK:]
        return np.concatenate(done)

    def finish(self) -> np.ndarray:
        """End the map and return the remaining rows."""
        return self._add(self._waiting, last=True)

    @property
    def dissolved(self) -> int:
        """Regions dissolved so far."""
        return int(self._counts[0])

    @property
    def filled(self) -> int:
        """Holes filled so far."""
        return int(self._counts[1])

    def _add(self, values: np.ndarray, *, last: bool) -> np.ndarray:
        known = len(self._labels)
        self._labels = np.concatenate([self._labels, np.empty(values.shape, dtype=np.int32)])
        self._regions = _label(self._labels, values, known, self._regions, self._diagonal)
        count = len(self._labels)
        if count:
            borders = (-self._first_row, count - 1 if last else count)
            _mark_open(self._labels, self._regions, last)
            _settle(self._labels, self._regions, self._limits, borders, self._counts)
        ready = count if last else max(_first_unsettled(self._regions, self._limits, count), self._released)
        settled = _values(self._labels[self._released : ready], self._regions)
        keep = max(ready - 1, 0)
        self._first_row += keep
        self._released = ready - keep
        self._labels, self._regions = _compact(self._labels[keep:], self._regions, keep)
        return settled


@njit(cache=True, nogil=True)
def _find(regions: np.ndarray, region: int) -> int:
    while regions[region, PARENT] != region:
        regions[region, PARENT] = regions[regions[region, PARENT], PARENT]
        region = regions[region, PARENT]
    return region


@njit(cache=True, nogil=True)
def _join(regions: np.ndarray, into: int, other: int) -> None:
    """Make ``other`` part of ``into``, which keeps its value."""
    regions[other, PARENT] = into
    regions[into, COUNT] += regions[other, COUNT]
    regions[into, TOP] = min(regions[into, TOP], regions[other, TOP])
    regions[into, BOTTOM] = max(regions[into, BOTTOM], regions[other, BOTTOM])
    regions[into, LEFT] = min(regions[into, LEFT], regions[other, LEFT])
    regions[into, RIGHT] = max(regions[into, RIGHT], regions[other, RIGHT])
    regions[into, OPEN] |= regions[other, OPEN]


@njit(cache=True, nogil=True)
def _label(labels: np.ndarray, values: np.ndarray, first: int, regions: np.ndarray, diagonal: bool) -> np.ndarray:
    """Label rows from ``first`` on, given their values; return the table of regions, extended."""
    count = len(regions)
    table = np.empty((count + 1024, _COLUMNS), dtype=np.int64)
    table[:count] = regions
    for i in range(len(values)):
        row = first + i
        if count + values.shape[1] > len(table):
            larger = np.empty((2 * len(table) + values.shape[1], _COLUMNS), dtype=np.int64)
            larger[:count] = table[:count]
            table = larger
        for x in range(values.shape[1]):
            value, region = values[i, x], -1
            if x > 0 and values[i, x - 1] == value:
                region = _find(table, labels[row, x - 1])
            if row > 0:
                reach = 1 if diagonal and value != VOID else 0
                for at in range(max(x - reach, 0), min(x + reach + 1, values.shape[1])):
                    region = _join_if_equal(table, region, _find(table, labels[row - 1, at]), value)
            if region < 0:
                _begin_region(table, count, value, row, x)
                region = count
                count += 1
            labels[row, x] = region
            table[region, COUNT] += 1
            table[region, BOTTOM] = row
            table[region, LEFT] = min(table[region, LEFT], x)
            table[region, RIGHT] = max(table[region, RIGHT], x)
    return table[:count]


@njit(cache=True, nogil=True)
def _join_if_equal(regions: np.ndarray, region: int, above: int, value: int) -> int:
    """Return the region of a pixel (-1: none yet) after joining it with an equal one in the row above."""
    if regions[above, VALUE] != value or region == above:
        return region
    if region < 0:
        return above
    older, newer = (above, region) if _begins_first(regions, above, region) else (region, above)
    _join(regions, older, newer)
    return older


@njit(cache=True, nogil=True)
def _begin_region(regions: np.ndarray, region: int, value: int, row: int, column: int) -> None:
    regions[region, PARENT], regions[region, VALUE], regions[region, COUNT] = region, value, 0
    regions[region, TOP], regions[region, LEFT], regions[region, RIGHT] = row, column, column
    regions[region, ROW], regions[region, COLUMN] = row, column
    regions[region, OPEN], regions[region, SETTLED] = 1, 0


@njit(cache=True, nogil=True)
def _begins_first(regions: np.ndarray, one: int, two: int) -> bool:
    if regions[one, ROW] != regions[two, ROW]:
        return regions[one, ROW] < regions[two, ROW]
    return regions[one, COLUMN] < regions[two, COLUMN]


@njit(cache=True, nogil=True)
def _goes_first(regions: np.ndarray, one: int, two: int) -> bool:
    """Tell whether the first of two small regions dissolves first."""
    if regions[one, COUNT] != regions[two, COUNT]:
        return regions[one, COUNT] < regions[two, COUNT]
    if regions[one, VALUE] != regions[two, VALUE]:
        return regions[one, VALUE] < regions[two, VALUE]
    return _begins_first(regions, one, two)


@njit(cache=True, nogil=True)
def _is_small(regions: np.ndarray, region: int, limits: np.ndarray) -> bool:
    if regions[region, VALUE] == VOID:
        return regions[region, COUNT] <= limits[1]
    return regions[region, COUNT] < limits[0]


@njit(cache=True, nogil=True)
def _mark_open(labels: np.ndarray, regions: np.ndarray, last: bool) -> None:
    """Mark the regions of the last row, which may continue, as open."""
    regions[:, OPEN] = 0
    if not last:
        for x in range(labels.shape[1]):
            regions[_find(regions, labels[-1, x]), OPEN] = 1


@njit(cache=True, nogil=True)
def _settle(
    labels: np.ndarray, regions: np.ndarray, limits: np.ndarray, borders: tuple[int, int], counts: np.ndarray
) -> None:
    """Dissolve small regions and fill holes as far as that can be decided, and count them."""
    candidates = np.empty(len(regions), dtype=np.int64)
    count = 0
    for region in range(len(regions)):
        if regions[region, PARENT] == region and not regions[region, SETTLED] and not regions[region, OPEN]:
            candidates[count] = region
            count += 1
    by_size = candidates[:count][np.argsort(regions[candidates[:count], COUNT], kind="mergesort")]
    lengths, touched = np.zeros(len(regions), dtype=np.int64), np.empty(len(regions), dtype=np.int64)
    changed = True
    while changed:
        changed = False
        for region in by_size:
            if regions[region, PARENT] != region or regions[region, SETTLED]:
                continue
            if not _is_small(regions, region, limits):
                regions[region, SETTLED] = 1
                continue
            neighbours = _survey(labels, regions, region, lengths, touched)
            hole = regions[region, VALUE] == VOID
            if hole:
                done = _fill(labels, regions, region, touched[:neighbours], limits, borders)
            else:
                done = _dissolve(regions, region, touched[:neighbours], lengths, limits)
            counts[1 if hole else 0] += done
            changed |= done
            lengths[touched[:neighbours]] = 0


@njit(cache=True, nogil=True)
def _survey(labels: np.ndarray, regions: np.ndarray, region: int, lengths: np.ndarray, touched: np.ndarray) -> int:
    """Measure the boundaries with each neighbour; return the number of neighbours."""
    count = 0
    for y in range(regions[region, TOP], regions[region, BOTTOM] + 1):
        for x in range(regions[region, LEFT], regions[region, RIGHT] + 1):
            if _find(regions, labels[y, x]) != region:
                continue
            for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                if 0 <= y + dy < labels.shape[0] and 0 <= x + dx < labels.shape[1]:
                    other = _find(regions, labels[y + dy, x + dx])
                    if other != region:
                        if lengths[other] == 0:
                            touched[count] = other
                            count += 1
                        lengths[other] += 1
    return count


@njit(cache=True, nogil=True)
def _dissolve(
    regions: np.ndarray, region: int, neighbours: np.ndarray, lengths: np.ndarray, limits: np.ndarray
) -> bool:
    """Dissolve a small region unless it has to wait; return whether it was dissolved."""
    best = -1
    for other in neighbours:
        if regions[other, VALUE] == VOID:
            continue
        if _is_small(regions, other, limits) and (regions[other, OPEN] or _goes_first(regions, other, region)):
            return False
        if best < 0 or _is_better(regions, other, best, lengths):
            best = other
    if best >= 0:
        _join(regions, best, region)
        return True
    regions[region, VALUE] = VOID
    for other in neighbours:
        _join(regions, region, other)
        regions[region, SETTLED] |= regions[other, SETTLED]
    return True


@njit(cache=True, nogil=True)
def _is_better(regions: np.ndarray, one: int, two: int, lengths: np.ndarray) -> bool:
    if lengths[one] != lengths[two]:
        return lengths[one] > lengths[two]
    if regions[one, VALUE] != regions[two, VALUE]:
        return regions[one, VALUE] < regions[two, VALUE]
    return _begins_first(regions, one, two)


@njit(cache=True, nogil=True)
def _fill(
    labels: np.ndarray,
    regions: np.ndarray,
    region: int,
    neighbours: np.ndarray,
    limits: np.ndarray,
    borders: tuple[int, int],
) -> bool:
    """Fill a small hole unless it has to wait or is not a hole; return whether it was filled."""
    for other in neighbours:
        if _is_small(regions, other, limits):
            return False
    regions[region, SETTLED] = 1
    inside = (
        regions[region, TOP] > borders[0]
        and regions[region, BOTTOM] < borders[1]
        and regions[region, LEFT] > 0
        and regions[region, RIGHT] < labels.shape[1] - 1
    )
    if not inside or len(neighbours) != 1:
        return False
    _join(regions, neighbours[0], region)
    return True


@njit(cache=True, nogil=True)
def _first_unsettled(regions: np.ndarray, limits: np.ndarray, count: int) -> int:
    """Return the first row of the buffer with an unsettled region, or ``count``."""
    for region in range(len(regions)):
        if regions[region, PARENT] == region and not regions[region, SETTLED] and _is_small(regions, region, limits):
            count = min(count, regions[region, TOP])
    return count


@njit(cache=True, nogil=True)
def _values(labels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    values = np.empty(labels.shape, dtype=np.int32)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            values[y, x] = regions[_find(regions, labels[y, x]), VALUE]
    return values


@njit(cache=True, nogil=True)
def _compact(labels: np.ndarray, regions: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Renumber the regions in the given rows and drop all others; rows are counted from ``shift``."""
    numbers = np.full(len(regions), -1, dtype=np.int64)
    table = np.empty_like(regions)
    kept = np.empty_like(labels)
    count = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            region = _find(regions, labels[y, x])
            if numbers[region] < 0:
                numbers[region] = count
                table[count] = regions[region]
                table[count, PARENT] = count
                for column in (TOP, BOTTOM, ROW):
                    table[count, column] -= shift
                count += 1
            kept[y, x] = numbers[region]
    return kept, table[:count].copy()
