"""Settings of ``propagate``."""

from __future__ import annotations

from typing import Annotated

from satseg.errors import UsageError
from satseg.geo.units import Quantity, parse_length
from satseg.labels.settings import LabelSettings
from satseg.settings import QUALITY, Option


class PropagateSettings(LabelSettings):
    """How labels are carried from one date to another.

    Raises:
        UsageError: A length is invalid, or there is no deviation.
    """

    max_shift: Annotated[
        Quantity,
        Option(
            "Largest displacement between the scenes that is looked for: 32px, 5m; a plain number is metres. At most "
            "100 px.",
            metavar="LENGTH",
            panel=QUALITY,
        ),
    ] = "32px"
    deviation: Annotated[
        float,
        Option(
            "How much a pixel must deviate from what the other date lets expect to count as changed, in deviations "
            "that are usual nearby. Less leaves more ground out.",
            metavar="N",
            panel=QUALITY,
        ),
    ] = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_length(self.max_shift, "max_shift", zero=False)
        if not self.deviation > 0:
            raise UsageError(f"`deviation` is {self.deviation:g}, not above 0.", hint="For example: `deviation=4`")

    @property
    def meaning(self) -> LabelSettings:
        """What the labels mean."""
        return self
