"""Settings of exports, shared by the command line and the library."""

from __future__ import annotations

from typing import Annotated

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
    nodata: Annotated[
        float | None,
        Option(
            "Value that stands for missing data in the pixels that the file will be given. A pixel with it in any band "
            "is filled as `predict` fills it. NaN and values far out of range always are.",
            metavar="VALUE",
        ),
    ] = None
    overwrite: Annotated[bool, Option("Replace a file that exists.", panel=OUTPUTS, recorded=False)] = False
