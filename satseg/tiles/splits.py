"""The splits of a tile set, and the shares that they are to have of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from satseg.errors import UsageError

SPLITS = ("train", "val", "test")


def check_shares(shares: Sequence[float]) -> None:
    """Check the shares of train, val and test.

    Raises:
        UsageError: They are not three numbers >= 0, or train has none.
    """
    if len(shares) != 3 or not all(map(math.isfinite, shares)) or min(shares) < 0 or shares[0] <= 0:
        raise UsageError(
            f"The shares of train, val and test must be three numbers >= 0, with train > 0, not {tuple(shares)}."
        )
