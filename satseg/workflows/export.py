"""Export a trained network to a file for other programs, which is checked before it appears."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.backend import run_custom_file
from satseg.checkpoint import ModelCard
from satseg.errors import NetworkError, OutputError, TileError, UsageError, one_line
from satseg.exporting.check import HALF_LIMIT, LIMIT, Agreement, compare, in_double
from satseg.exporting.check_images import BATCHES, COUNT, CheckImages, random_images, sizes_of
from satseg.exporting.file_formats import Format, format_of
from satseg.exporting.int8 import IMAGES
from satseg.exporting.quantization_loss import QuantizationLoss, quantization_loss
from satseg.exporting.settings import ExportSettings, parse_dates
from satseg.exporting.stac_item import item_path, require_own_item, write_item
from satseg.exporting.subject import Subject
from satseg.exporting.training_ground import Ground, training_outline
from satseg.exporting.val_tiles import ValTiles
from satseg.files.atomic_write import atomic_write, locked
from satseg.files.ledger import Ledger
from satseg.inference.network import Network
from satseg.prediction.models import Models
from satseg.presence import is_onnx
from satseg.progress import automatic
from satseg.records import Progress, ProgressEvent
from satseg.results import Result, Size
from satseg.signatures import checked
from satseg.workflows.export_tiles import ExportTiles, labelled_tiles, tile_set_of_run, tiles_there_are


@dataclass(frozen=True, repr=False)
class ExportSummary(Result):
    """Result of ``satseg export``.

    Args:
        path: The file.
        bytes: Its size.
        model: Checkpoint that it was made from.
        output: What it gives: ``probabilities`` or ``classes``.
        difference: Largest difference of probabilities between the file and the network; of classes, the smallest
            difference of probabilities that explains those that differ.
        limit: Largest difference that is let through; None in int8, where the loss of mean IoU counts.
        differing: Share of the compared pixels with another class.
        pixels: Number of pixels that were compared.
        compared_on: Images that were compared.
        sizes: Their sizes.
        batches: How many of them were given at once.
        precision: What torch computed in: ``float64`` where rounding in float32 alone could explain a difference over
            the limit, else ``float32``.
        quantization: What an int8 network loses on val tiles; None for others.
        item: STAC Item beside the file, or None.
        unknown: What the item cannot tell of the training scenes: ``footprint``, ``dates``.
    """

    path: str
    bytes: int
    model: str
    output: str
    difference: float
    limit: float | None
    differing: float
    pixels: int
    compared_on: str
    sizes: tuple[Size, ...]
    batches: tuple[int, ...] = BATCHES
    precision: str = "float32"
    quantization: QuantizationLoss | None = None
    item: str | None = None
    unknown: tuple[str, ...] = ()


@checked
def export(
    model: PathLike | None = None,
    *,
    output: PathLike,
    tiles: PathLike | None = None,
    arch: str | None = None,
    settings: ExportSettings | None = None,
    progress: Progress = automatic,
) -> ExportSummary:
    """Write a trained network to a file that takes raw pixels, for programs without satseg.

    The file takes (N, C, H, W) raw values in the dtype, scale and order of bands of the training scenes, for any N and
    any H and W from 64 px, and gives probabilities (N, K, H, W) float32: it normalises by itself. It is run beside the
    network on images of three sizes, and does not appear where the two differ. A STAC Item beside it describes it.

    Args:
        model: Checkpoint; None takes the best one of the newest finished run below ``runs/``.
        output: File to write: ``.onnx``, ``.pt2`` (``torch.export``), or ``.safetensors``, a checkpoint in half
            precision.
        tiles: Folder of a tile set on whose val tiles the file is checked, and calibrated with ``quantize``; None takes
            that of the run.
        arch: ``path/to/file.py:function`` of a checkpoint with a custom architecture; this runs the file.
        settings: What it computes; see :class:`~satseg.ExportSettings`.
        progress: Progress callback, in steps.

    Raises:
        CheckpointError: The checkpoint cannot be used, or does not fit the tiles.
        TileError: The tiles that are named cannot be read, or there are none with labels for ``quantize``.
        ArchitectureError: The network cannot be exported to this format.
        NetworkError: The file computes something else than the network, or loses too much of its mean IoU with
            ``quantize``; it is not written.
        OutputError: The file or its item exists, or cannot be written.
        UsageError: An argument makes no sense, or a package is missing.
    """
    settings = settings or ExportSettings()
    target = Path(file_name(output, "output"))
    form = format_of(target, settings)
    form.require_packages()
    items = (item_path(target),) if settings.stac else ()
    models = Models.named(model, arch)
    if is_onnx(models.names[0]):
        raise UsageError(
            f"{models.names[0]} is an exported file already.", hint="Name the checkpoint that it was made from."
        )
    ledger = Ledger(models.files)
    for path in (target, *items):
        ledger.write(path)
    if settings.stac:
        require_own_item(target)
    for path in (target, *items):
        if path.exists() and not settings.overwrite:
            raise OutputError(f"{path} exists.", hint="Choose another `output`, or replace it with `overwrite`.")
    subject = Subject(models.checkpoints[0], settings, run_custom_file(arch) if arch else None)
    there = (labelled_tiles if settings.quantize else tiles_there_are)(subject.checkpoint, tiles)
    window = subject.network().window
    images = _images(subject.checkpoint.card, window, there)
    labelled = ValTiles(there.tiles if there and settings.quantize else (), window)
    subject = replace(subject, images=labelled.images(IMAGES))
    tile_set = tile_set_of_run(subject.checkpoint)
    ground = Ground(
        outline=None if tile_set is None else training_outline(tile_set),
        dates=None if settings.dates is None else parse_dates(settings.dates),
    )
    with locked(target, *items), atomic_write(target) as aside:
        progress(ProgressEvent("Exporting", 0, 2, "step", "writing"))
        form.write(aside, subject)
        progress(ProgressEvent("Exporting", 1, 2, "step", "checking"))
        reference = Network.from_checkpoint(
            subject.checkpoint, device=torch.device("cpu"), precision="32-true", builder=subject.builder
        )
        run = _runner(aside, form, subject)
        found, precision = _check(target, run, reference, subject, images)
        lost = quantization_loss(run, reference, labelled, settings) if settings.quantize else None
        _refuse_loss(target, lost, settings.max_loss, there)
        size = aside.stat().st_size
        if settings.stac:
            write_item(item_path(aside), aside, subject, ground)
    progress(ProgressEvent("Exporting", 2, 2, "step"))
    return ExportSummary(
        path=str(target),
        bytes=size,
        model=str(subject.checkpoint.path),
        output=subject.output,
        difference=found.difference,
        limit=_limit(settings),
        differing=found.differing,
        pixels=found.pixels,
        compared_on=images.origin,
        sizes=images.sizes,
        precision=precision,
        quantization=lost,
        item=str(items[0]) if items else None,
        unknown=ground.unknown if items else (),
    )


def _images(card: ModelCard, window: int | None, there: ExportTiles | None) -> CheckImages:
    """Return val tiles, or random images where there are none that can be read."""
    sizes = sizes_of(card, window)
    if there is not None:
        first = replace(there, tiles=there.tiles[:COUNT])
        with suppress(TileError):  # a tile is gone, or damaged
            return CheckImages(tuple(tile.read()[0] for tile in first.tiles), str(first), sizes)
    return CheckImages(random_images(card, sizes[-1]), f"{COUNT} random images", sizes)


def _runner(path: Path, form: Format, subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
    """Return what runs a file, and refuses it where it does not run."""
    run = form.open(path, subject)

    def run_or_refuse(batch: np.ndarray) -> np.ndarray:
        try:
            return run(batch)
        except Exception as error:  # of onnxruntime, or a guard of torch
            raise NetworkError(
                f"{path.name} is not written: it does not run on pixels of shape {batch.shape}: {one_line(error)}.",
                hint="Export to another format.",
            ) from error

    return run_or_refuse


def _limit(settings: ExportSettings) -> float | None:
    """Return the largest difference of probabilities that is let through; None where there is no limit."""
    if settings.quantize:
        return None
    return HALF_LIMIT if settings.half else LIMIT


def _check(
    target: Path,
    run: Callable[[np.ndarray], np.ndarray],
    reference: Network,
    subject: Subject,
    images: CheckImages,
) -> tuple[Agreement, str]:
    """Compare a file with its network, and refuse it where it is another one; return the precision of the latter, too.

    In int8, what is not finite alone is refused here.
    """
    limit, settings = _limit(subject.settings), subject.settings
    found, precision = compare(run, reference, images.batches(), settings), "float32"
    if limit == LIMIT and not found.holds(limit):  # because the file computes something else, or torch rounds
        found, precision = compare(run, in_double(subject), images.batches(), settings), "float64"
    if not found.holds(1.0 if limit is None else limit):
        raise NetworkError(
            f"{target} is not written: its probabilities differ from those of the network by up to "
            f"{found.difference:.2g}, more than {limit or 1:g}, and {found.differing:.2%} of its classes, on "
            f"{images.origin}.",
            hint="Export without `half` and `quantize`, or to another format.",
        )
    return found, precision


def _refuse_loss(target: Path, lost: QuantizationLoss | None, limit: float, there: ExportTiles | None) -> None:
    """Refuse an int8 file that scores worse than the network."""
    if lost is None or lost.holds(limit):
        return
    raise NetworkError(
        f"{target} is not written: in int8, the network loses {lost.loss:.4f} of mean IoU ({lost.float_mean_iou:.4f} "
        f"to {lost.mean_iou:.4f}) on {there}, more than {limit:g}.",
        hint="Raise `max_loss`, or export without `quantize`.",
    )
