"""Export a trained network to a file for other programs, which is checked before it appears."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from satseg.arguments import PathLike
from satseg.arguments import path as file_name
from satseg.backend import run_custom_file
from satseg.checkpoint import Checkpoint
from satseg.errors import NetworkError, OutputError, SatsegError, UsageError, one_line
from satseg.exporting.check import HALF_LIMIT, LIMIT, Agreement, compare
from satseg.exporting.check_images import BATCHES, COUNT, CheckImages, random_images, sizes_of
from satseg.exporting.file_formats import Format, format_of
from satseg.exporting.settings import ExportSettings, parse_dates
from satseg.exporting.stac_item import item_path, require_own_item, write_item
from satseg.exporting.subject import Subject
from satseg.exporting.training_ground import Ground, training_outline
from satseg.files.atomic_write import atomic_write, locked
from satseg.files.ledger import Ledger
from satseg.inference.network import Network
from satseg.prediction.models import Models
from satseg.presence import INDEX, is_onnx
from satseg.progress import automatic
from satseg.records import Progress, ProgressEvent
from satseg.results import Result, Size
from satseg.runs import Run
from satseg.signatures import checked
from satseg.tiles.tileset import TileSet


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
        limit: Largest difference that is let through.
        differing: Share of the compared pixels with another class.
        pixels: Number of pixels that were compared.
        compared_on: Images that were compared.
        sizes: Their sizes.
        batches: How many of them were given at once.
        item: STAC Item beside the file, or None.
        unknown: What the item cannot tell of the training scenes: ``footprint``, ``dates``.
    """

    path: str
    bytes: int
    model: str
    output: str
    difference: float
    limit: float
    differing: float
    pixels: int
    compared_on: str
    sizes: tuple[Size, ...]
    batches: tuple[int, ...] = BATCHES
    item: str | None = None
    unknown: tuple[str, ...] = ()


@checked
def export(
    model: PathLike | None = None,
    *,
    output: PathLike,
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
        arch: ``path/to/file.py:function`` of a checkpoint with a custom architecture; this runs the file.
        settings: What it computes; see :class:`~satseg.ExportSettings`.
        progress: Progress callback, in steps.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ArchitectureError: The network cannot be exported to this format.
        NetworkError: The file computes something else than the network; it is not written.
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
    tile_set = _tile_set(subject.checkpoint)
    ground = Ground(
        outline=None if tile_set is None else training_outline(tile_set),
        dates=None if settings.dates is None else parse_dates(settings.dates),
    )
    with locked(target, *items), atomic_write(target) as aside:
        progress(ProgressEvent("Exporting", 0, 2, "step", "writing"))
        form.write(aside, subject)
        progress(ProgressEvent("Exporting", 1, 2, "step", "checking"))
        found, images = _check(aside, form, subject, tile_set)
        limit = HALF_LIMIT if settings.half else LIMIT
        if not found.holds(limit):
            raise _refusal(target, found, limit, images)
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
        limit=limit,
        differing=found.differing,
        pixels=found.pixels,
        compared_on=images.origin,
        sizes=images.sizes,
        item=str(items[0]) if items else None,
        unknown=ground.unknown if items else (),
    )


def _check(path: Path, form: Format, subject: Subject, tile_set: TileSet | None) -> tuple[Agreement, CheckImages]:
    """Run a file beside its network."""
    reference = Network.from_checkpoint(
        subject.checkpoint, device=torch.device("cpu"), precision="32-true", builder=subject.builder
    )
    images = _images(subject, tile_set)
    run = form.open(path, subject)

    def run_or_refuse(batch: np.ndarray) -> np.ndarray:
        try:
            return run(batch)
        except Exception as error:  # of onnxruntime, or a guard of torch
            raise NetworkError(
                f"{path.name} is not written: it does not run on pixels of shape {batch.shape}: {one_line(error)}.",
                hint="Export to another format.",
            ) from error

    return compare(run_or_refuse, reference, images.batches(), subject.settings), images


def _tile_set(checkpoint: Checkpoint) -> TileSet | None:
    """Return the tile set of the run of a checkpoint, or None where it is gone."""
    folder = Run(checkpoint.path.parent).tile_set
    if folder is None or not (folder / INDEX).is_file():
        return None
    try:
        tile_set = TileSet.open(folder)
        checkpoint.check_fits(tile_set.bands, folder)
    except SatsegError:  # it is another one, or damaged
        return None
    return tile_set


def _images(subject: Subject, tile_set: TileSet | None) -> CheckImages:
    """Return val tiles, or random images where there are none."""
    card = subject.checkpoint.card
    sizes = sizes_of(card, subject.network().window)
    if tile_set is not None:
        try:
            read = tuple(tile.read()[0] for tile in tile_set.tiles("val")[:COUNT])
        except SatsegError:  # they are damaged
            read = ()
        if read:
            return CheckImages(read, f"{len(read)} val tiles of {tile_set.path}", sizes)
    return CheckImages(random_images(card, sizes[-1]), f"{COUNT} random images", sizes)


def _refusal(target: Path, found: Agreement, limit: float, images: CheckImages) -> NetworkError:
    return NetworkError(
        f"{target} is not written: its probabilities differ from those of the network by up to "
        f"{found.difference:.2g}, more than {limit:g}, and {found.differing:.2%} of its classes, on {images.origin}.",
        hint="Export without `half`, or to another format.",
    )
