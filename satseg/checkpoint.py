"""The checkpoint: one safetensors file with the weights of a network and all that is needed to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg import __version__
from satseg.backend import Builder, create_model, is_custom_file, lasting_options
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, SatsegError, UsageError, one_line
from satseg.fields import FieldError, Fields, parse_json, shown
from satseg.files.atomic_write import save_tensors
from satseg.labels.label_meaning import LabelMeaning
from satseg.presence import require_checkpoint
from satseg.raster.scales import Conversion, same_scale, states_scale
from satseg.raster.selection import is_generic
from satseg.records import BandSpec, BandStatistics

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
_HEADER_KEY = "satseg"
_LARGEST_TILE = 65_536  # pixels a side
_LONGEST_ARCH = 1000  # characters
_PICKLED = "It takes what satseg train writes: best.safetensors or last.safetensors of a run."


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a network besides its weights.

    Args:
        arch: Network, as ``--arch`` names it.
        arch_options: Options that :func:`satseg.create_model` took.
        classes: Class table of its logits.
        bands: What the raw values of its images mean.
        statistics: Of the training tiles; what normalisation uses.
        gsd: Ground metres per pixel of the training scenes along x and y, or None without a CRS.
        tile_size: Side of the training tiles in pixels.
        normalisation: How raw values are normalised: ``mean-std`` is the only way so far.
        training: How it was trained (steps, seed, ...).
        metrics: Validation scores by name.
        labels: What the labels of the training tiles meant.
        version: satseg that wrote it.
    """

    arch: str
    classes: ClassTable
    bands: BandSpec
    statistics: BandStatistics
    gsd: tuple[float, float] | None
    tile_size: int
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    normalisation: str = "mean-std"
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: LabelMeaning = field(default_factory=LabelMeaning)
    version: str = __version__

    def to_json(self) -> str:
        """Return the card as JSON: sorted keys and no dates, so that equal cards are equal bytes."""
        parts = {
            **{name: getattr(self, name) for name in ("arch", "tile_size", "normalisation", "version", "gsd")},
            **{name: dict(getattr(self, name)) for name in ("arch_options", "training", "metrics")},
            "format": FORMAT,
            "classes": self.classes.to_dict(),
            "bands": asdict(self.bands),
            "statistics": asdict(self.statistics),
            **({"labels": self.labels.to_dict()} if self.labels else {}),
        }
        return json.dumps(parts, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read what :meth:`to_json` wrote, or others did: nothing in it is believed before it was looked at.

        Raises:
            CheckpointError: An entry is missing or holds what it may not, or it was written by a newer format or
                another normalisation.
        """
        try:
            return cls._from_fields(Fields(parse_json(text)))
        except (FieldError, UsageError) as error:
            raise CheckpointError(f"Its header is wrong: {one_line(error)}.") from error

    @classmethod
    def _from_fields(cls, fields: Fields) -> ModelCard:
        if (number := fields.whole("format", least=1)) > FORMAT:
            raise CheckpointError(
                f"It has format {number}, and this satseg reads up to {FORMAT}.", hint="Update satseg."
            )
        bands = BandSpec.from_dict(fields.value("bands"))
        gsd = fields.numbers("gsd", 2, above=0) if fields.holds("gsd") else None
        return cls(
            arch=fields.text("arch", longest=_LONGEST_ARCH),
            arch_options=_read_options(fields),
            classes=ClassTable.from_dict(fields.value("classes")),
            bands=bands,
            statistics=BandStatistics.from_dict(fields.value("statistics"), len(bands)),
            gsd=(gsd[0], gsd[1]) if gsd else None,
            tile_size=fields.whole("tile_size", least=1, most=_LARGEST_TILE),
            normalisation=fields.choice("normalisation", [cls.normalisation]),
            training=fields.plain("training"),
            metrics=fields.scores("metrics"),
            labels=LabelMeaning.from_dict(fields.value("labels")) if fields.holds("labels") else LabelMeaning(),
            version=fields.text("version", longest=_LONGEST_ARCH),
        )


def _read_options(fields: Fields) -> dict[str, Any]:
    """Return the options of the network: plain values, none of which overrides its bands or fetches weights."""
    options = fields.plain("arch_options")
    for name, value in options.items():
        if name in ("in_channels", "num_classes"):
            raise FieldError(f"arch_options.{name} is {shown(value)}, but bands and classes decide that")
        if not isinstance(value, bool | int | float | str | None):
            raise FieldError(f"arch_options.{name} is {shown(value)}, not a plain value")
    if starting := options.keys() - lasting_options(options).keys():
        raise FieldError(f"arch_options.{min(starting)} would fetch weights, and a checkpoint has its own")
    return options


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been opened; weights are read when a model is built.

    Args:
        path: Where it lies.
        card: What its header says.
    """

    path: Path
    card: ModelCard

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read the header of a checkpoint.

        Args:
            path: The file, or the folder of a training run, which stands for its best checkpoint.

        Raises:
            CheckpointError: It does not exist, is no safetensors file, or was not written by satseg.
        """
        from safetensors import SafetensorError, safe_open

        from satseg.files.names import text_name

        path = require_checkpoint(path)
        try:
            with text_name(path) as plain, safe_open(plain, framework="pt") as file:
                header = (file.metadata() or {}).get(_HEADER_KEY)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not a safetensors file: {one_line(error)}.", hint=_PICKLED) from error
        if header is None:
            raise CheckpointError(f"{path} holds weights, but was not written by satseg.")
        try:
            return cls(path, ModelCard.from_json(header))
        except SatsegError as error:
            raise CheckpointError(f"{path} cannot be used. {error.message}", hint=error.hint) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal: what outputs name as their origin."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read_weights(self) -> dict[str, Tensor]:
        """Read all weights, on the CPU.

        Raises:
            CheckpointError: The file is cut off or damaged, or holds weights that are not finite.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from satseg.files.names import text_name

        try:
            with text_name(self.path) as plain:
                weights = load_file(plain)
        except (SafetensorError, OSError, KeyError) as error:  # KeyError: of a type that torch lacks
            raise CheckpointError(f"The weights in {self.path} cannot be read: {one_line(error)}.") from error
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not bool(tensor.float().isfinite().all()):
                raise CheckpointError(
                    f"The weights in {self.path} are not finite: {name} holds NaN or infinite values.",
                    hint="Its training went astray; train again with a lower learning rate.",
                )
        return weights

    def build_model(self, builder: Builder | None = None) -> nn.Module:
        """Build the network with its weights, in eval mode, on the CPU.

        Args:
            builder: Function that builds the network, for one that was trained from an own file: a checkpoint is data,
                and runs no code by itself.

        Raises:
            CheckpointError: This satseg has no such network, it does not take these options, the weights do not fit
                it, or the function is missing or not needed.
            ArchitectureError: The function fails, or builds no network.
        """
        self._check_builder(builder)
        model = self._create(builder)
        self.load_into(model)
        return model.eval()

    def load_into(self, model: nn.Module) -> None:
        """Give a network the weights.

        Raises:
            CheckpointError: They cannot be read, or do not fit it.
        """
        weights = self.read_weights()
        self._check_weights(model, weights)
        model.load_state_dict(weights)

    def _create(self, builder: Builder | None) -> nn.Module:
        card = self.card
        made = {"in_channels": len(card.bands), "num_classes": len(card.classes), **card.arch_options}
        if builder is not None:
            return create_model(builder, **made)
        try:
            return create_model(card.arch, **made)
        except SatsegError as error:
            raise CheckpointError(f"{self.path} cannot be used. {error.message}", hint=error.hint) from error

    def _check_weights(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and kinds of numbers; torch would list every difference."""
        own = model.state_dict()
        wrong = [
            *(f"{name} is missing" for name in own if name not in weights),
            *(f"{name} is unknown to it" for name in weights if name not in own),
            *(
                f"{name} is {_kind(weights[name])}, not {_kind(own[name])}"
                for name in own
                if name in weights and not _fits(weights[name], own[name])
            ),
        ]
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            card = self.card
            made = f"{card.arch} of {_count(len(card.bands), 'band')} and {len(card.classes)} classes"
            raise CheckpointError(f"The weights in {self.path} do not fit {made}: {wrong[0]}{more}.")

    def _check_builder(self, builder: Builder | None) -> None:
        arch = self.card.arch
        if builder is None and is_custom_file(arch):
            raise CheckpointError(
                f"{self.path} holds the weights of {arch}, and a checkpoint runs no code by itself.",
                hint=f"Name the file, if you trust it: --arch path/to/{arch}",
            )
        if builder is not None and not is_custom_file(arch):
            raise CheckpointError(f"{self.path} holds {arch}, which needs no file.", hint="Drop --arch.")

    def check_fits(self, theirs: BandSpec, name: str | Path, *, by_name: bool = True, converted: bool = False) -> None:
        """Make sure that a scene or a tile set holds what the network was trained on.

        Args:
            theirs: What its values mean.
            name: Where it lies, for the message.
            by_name: Whether bands must have the names of the training scenes; false where a user chose the bands.
            converted: Whether values of another stated scale and offset will do, since they are converted
                (:class:`satseg.raster.scales.Conversion`).

        Raises:
            CheckpointError: Number, order, dtype, scale or offset of the bands differ.
        """
        ours = self.card.bands
        where = f"{name} does not fit {self.path}"
        if len(theirs) != len(ours):
            raise CheckpointError(
                f"{where}: it has {_count(len(theirs), 'band')}, the network was trained on {len(ours)} "
                f"({', '.join(ours.names)}).",
                hint="Choose bands of a scene with --bands, by number or name." if len(theirs) > len(ours) else None,
            )
        for number, (mine, other) in enumerate(zip(ours.names, theirs.names, strict=True), start=1):
            told = by_name and not is_generic(mine) and not is_generic(other)
            if told and mine.casefold() != other.casefold():
                raise CheckpointError(
                    f"{where}: its band {number} is {other!r}, the network expects {mine!r} there.",
                    hint="Choose bands of a scene with --bands, by number or name.",
                )
        conversion = Conversion.between(theirs, ours)
        if converted and conversion and states_scale(ours):
            return  # physical values, whatever they are stored in
        if theirs.dtype != ours.dtype:
            raise CheckpointError(
                f"{where}: it holds {theirs.dtype} values, the network was trained on {ours.dtype}.",
                hint="Values mean something else in another type; bring the scene to the scale of the training scenes.",
            )
        if not same_scale(theirs, ours):
            raise CheckpointError(
                f"{where}: it has {_scale(theirs)}, the training scenes had {_scale(ours)}.",
                hint="State what its values mean (gdal_edit.py -scale ... -offset ...), or bring them to the scale of "
                "the training scenes.",
            )


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    """Tell whether a tensor can be loaded; floats may have been stored with fewer or more digits."""
    alike = theirs.dtype == ours.dtype or (theirs.is_floating_point() and ours.is_floating_point())
    return theirs.shape == ours.shape and alike


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _scale(spec: BandSpec) -> str:
    if not states_scale(spec):
        return "no scale and offset"
    scales, offsets = (sorted(set(values)) for values in (spec.scales, spec.offsets))
    return f"scale {', '.join(f'{v:g}' for v in scales)} and offset {', '.join(f'{v:g}' for v in offsets)}"


def save_checkpoint(path: str | Path, weights: Mapping[str, Tensor], card: ModelCard) -> None:
    """Write a checkpoint, aside first, so that the file under its name is always whole.

    Args:
        path: Where to write it.
        weights: State dict of the network.
        card: All else. Equal weights and cards give equal bytes.

    Raises:
        OutputError: It cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_tensors(Path(path), tensors, {_HEADER_KEY: replace(card, version=__version__).to_json()})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
