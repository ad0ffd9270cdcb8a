"""Settings of exports, shared by the command line and the library."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from satseg.errors import UsageError
from satseg.settings import OUTPUTS, Option, Settings


class ExportSettings(Settings):
    """What an exported network computes.

    Raises:
        UsageError: A value is invalid.
    """

    argmax: Annotated[
        bool,
        Option("Give the class of each pixel (uint8) instead of probabilities (float32); 255 where there is no data."),
    ] = False
    half: Annotated[
        bool,
        Option("Weights and arithmetic in half precision (float16); what goes in and comes out stays as it is."),
    ] = False
    quantize: Annotated[
        bool,
        Option(
            "Weights and arithmetic in 8-bit integers (int8), in .onnx alone: smaller and faster files. "
            "Ranges are measured on val tiles, and the loss of mean IoU there is printed."
        ),
    ] = False
    max_loss: Annotated[
        float,
        Option(
            "With `quantize`: largest loss of mean IoU on the val tiles; above it, there is no file.",
            metavar="LOSS",
            minimum=0,
            maximum=1,
            recorded=False,
        ),
    ] = 0.01
    deepness: Annotated[
        bool,
        Option(
            "Write an .onnx file that QGIS's plugin Deepness opens, with all of its parameters. It takes raw pixels, "
            "too, but in float32 and in tiles of one size."
        ),
    ] = False
    nodata: Annotated[
        float | None,
        Option(
            "Value that stands for missing data in the pixels that the file will be given. A pixel with it in any band "
            "is filled as `predict` fills it. NaN and values far out of range always are.",
            metavar="VALUE",
        ),
    ] = None
    stac: Annotated[
        bool,
        Option(
            "Describe the file in a STAC Item with the machine learning model extension beside it, roofs.json for "
            "roofs.onnx.",
            panel=OUTPUTS,
            recorded=False,
        ),
    ] = True
    dates: Annotated[
        str | None,
        Option(
            "When the training scenes were taken, for the STAC Item: 2021-07-14, or 2019-05-01/2021-09-30.",
            metavar="DATES",
            panel=OUTPUTS,
            recorded=False,
        ),
    ] = None
    overwrite: Annotated[bool, Option("Replace a file that exists, with its Item.", panel=OUTPUTS, recorded=False)] = (
        False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deepness and self.argmax:
            raise UsageError(
                "`deepness` needs probabilities: the plugin takes the most probable class by itself.",
                hint="Leave out `argmax`.",
            )
        if self.dates is None:
            return
        parse_dates(self.dates)
        if not self.stac:
            raise UsageError("`dates` has no effect without a STAC Item.", hint="Leave out `dates`, or `stac=False`.")


def parse_dates(text: str) -> tuple[date, date]:
    """Read a day, or the first and the last day of a period, such as ``2019-05-01/2021-09-30``.

    Raises:
        UsageError: It is neither.
    """
    days = text.split("/")
    try:
        first, last = (date.fromisoformat(day.strip()) for day in (days if len(days) > 1 else days * 2))
    except ValueError as error:
        raise UsageError(
            f"`dates` is {text!r}, which is no day and no period.",
            hint="Write 2021-07-14, or 2019-05-01/2021-09-30.",
        ) from error
    if last < first:
        raise UsageError(f"`dates` ends before it begins: {text}.", hint="Write the earlier day first.")
    return first, last
