"""Checkpoints: a safetensors file with the weights of a network and all metadata needed to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satseg.backend import Builder, as_in_format_1, create_model, is_address, is_custom_file, lasting_options
from satseg.classes import ClassTable
from satseg.errors import CheckpointError, SatsegError, UsageError, one_line
from satseg.fields import FieldError, Fields, parse_json, shown
from satseg.files.atomic_write import save_tensors
from satseg.geo.units import Gsd, parse_area
from satseg.labels.label_meaning import LabelMeaning
from satseg.objects import ObjectOutputs
from satseg.objects.stored_division import StoredDivision, read_division
from satseg.presence import require_checkpoint
from satseg.raster.scales import Conversion, same_scale, states_scale
from satseg.raster.selection import is_generic
from satseg.records import BandSpec, BandStatistics, Clipping
from satseg.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 2
"""Since 2, enlarged scores lie where they belong; networks of checkpoints of format 1 compute what they did."""
PLAIN, CLIPPED = "mean-std", "mean-std-clipped"
"""Normalisations. Versions of satseg that know only the first refuse checkpoints of the second."""
_HEADER_KEY = "satseg"
_LARGEST_TILE = 65_536  # pixels per side
_LONGEST_ARCH = 1000  # characters
_PICKLED = "Pass best.safetensors or last.safetensors of a run of `satseg.train`."


@dataclass(frozen=True)
class ModelCard:
    """Metadata of a network, stored beside its weights.

    Args:
        arch: Name of the network, as :func:`satseg.train` takes it.
        arch_options: Options of the network, as :func:`satseg.create_model` takes them.
        classes: Class table; row k describes logit k.
        bands: Names, dtype, scales and offsets of the input bands.
        statistics: Band statistics of the training tiles, used for normalisation.
        gsd: Ground sampling distance of the training scenes along x and y in metres; None without a CRS.
        tile_size: Side length of the training tiles in pixels.
        clipping: What normalises bands with heavy tails, and where all bands are clipped; None if there are none.
        objects: Whether it has learnt objects: behind the logits of the classes, it then has other outputs for them.
        object_outputs: What these say: inner boundaries and distances to edges, or centres and offsets to them.
        division: How its maps are divided into objects unless something else is given: ``min_area``, and
            ``marker_depth`` if it was tuned, as :class:`satseg.PolygonSettings` takes them; empty for the defaults.
        training: Training settings and progress (steps, seed, ...).
        metrics: Validation scores by name.
        labels: How labels were mapped to the classes of the training tiles.
        pretrained: Where the weights that its encoder started from come from: ``source``, and as far as known
            ``trained_on`` and ``licence``; empty if it started from random ones.
        format: What the network computes: as it was built with checkpoints of this format.
        version: Version of satseg that wrote the file.
    """

    arch: str
    classes: ClassTable
    bands: BandSpec
    statistics: BandStatistics
    gsd: tuple[float, float] | None
    tile_size: int
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    clipping: Clipping | None = None
    objects: bool = False
    object_outputs: ObjectOutputs = ObjectOutputs.EDGES
    division: StoredDivision = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    labels: LabelMeaning = field(default_factory=LabelMeaning)
    pretrained: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    version: str = __version__

    @property
    def outputs(self) -> int:
        """Number of logits, and of other outputs."""
        return len(self.classes) + self.object_outputs.planes * self.objects

    @property
    def normalisation(self) -> str:
        """Name of the normalisation of raw values."""
        return CLIPPED if self.clipping else PLAIN

    def division_on(self, gsd: Gsd) -> StoredDivision:
        """Return how a map is divided into objects: :attr:`division`, in pixels where these have no known size.

        Args:
            gsd: Ground metres per pixel of the map, or None: its pixels are then as large as those of the training.
        """
        if gsd is not None or "min_area" not in self.division:
            return self.division
        pixels = parse_area(str(self.division["min_area"]), "min_area").in_pixels(self.gsd)
        return {**self.division, "min_area": f"{pixels:g}px"}

    def to_json(self) -> str:
        """Return the card as JSON with sorted keys and without dates, so that equal cards give equal bytes."""
        parts = {
            **{name: getattr(self, name) for name in ("arch", "tile_size", "normalisation", "version", "gsd")},
            **{name: dict(getattr(self, name)) for name in ("arch_options", "training", "metrics")},
            "format": self.format,
            "classes": self.classes.to_dict(),
            "bands": self.bands.to_dict(),
            "statistics": asdict(self.statistics),
            **({"labels": self.labels.to_dict()} if self.labels else {}),
            **({"pretrained": dict(self.pretrained)} if self.pretrained else {}),
            **({"clipping": asdict(self.clipping)} if self.clipping else {}),
            **({"objects": True} if self.objects else {}),
            **({"object_outputs": self.object_outputs} if self.object_outputs is not ObjectOutputs.EDGES else {}),
            **({"division": dict(self.division)} if self.division else {}),
        }
        return json.dumps(parts, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Parse and validate the JSON of :meth:`to_json`; the text may come from an untrusted file.

        Raises:
            CheckpointError: An entry is missing or invalid, or the format is newer or the normalisation another one.
        """
        try:
            return cls._from_fields(Fields(parse_json(text)))
        except (FieldError, UsageError) as error:
            raise CheckpointError(f"Its header is invalid: {one_line(error)}.") from error

    @classmethod
    def _from_fields(cls, fields: Fields) -> ModelCard:
        if (number := fields.whole("format", least=1)) > FORMAT:
            raise CheckpointError(
                f"It has format {number}; this version of satseg reads formats up to {FORMAT}.", hint="Update satseg."
            )
        bands = BandSpec.from_dict(fields.value("bands"))
        clipped = fields.choice("normalisation", [PLAIN, CLIPPED]) == CLIPPED
        gsd = fields.numbers("gsd", 2, above=0) if fields.holds("gsd") else None
        return cls(
            arch=fields.text("arch", longest=_LONGEST_ARCH),
            arch_options=_read_options(fields),
            classes=ClassTable.from_dict(fields.value("classes")),
            bands=bands,
            statistics=BandStatistics.from_dict(fields.value("statistics"), len(bands)),
            gsd=(gsd[0], gsd[1]) if gsd else None,
            tile_size=fields.whole("tile_size", least=1, most=_LARGEST_TILE),
            clipping=Clipping.from_dict(fields.value("clipping"), len(bands)) if clipped else None,
            objects=fields.holds("objects") and fields.flag("objects"),
            object_outputs=ObjectOutputs(fields.choice("object_outputs", [*ObjectOutputs]))
            if fields.holds("object_outputs")
            else ObjectOutputs.EDGES,
            division=read_division(fields.part("division")) if fields.holds("division") else {},
            training=fields.plain("training"),
            metrics=fields.scores("metrics"),
            labels=LabelMeaning.from_dict(fields.value("labels")) if fields.holds("labels") else LabelMeaning(),
            pretrained=fields.plain("pretrained") if fields.holds("pretrained") else {},
            format=number,
            version=fields.text("version", longest=_LONGEST_ARCH),
        )


def _read_options(fields: Fields) -> dict[str, Any]:
    """Return the options of the network: plain values that neither override its bands nor download weights."""
    options = fields.plain("arch_options")
    for name, value in options.items():
        if name in ("in_channels", "num_classes", "objects"):
            raise FieldError(f"arch_options.{name} is {shown(value)}, which its other entries determine")
        if not isinstance(value, bool | int | float | str | None):
            raise FieldError(f"arch_options.{name} is {shown(value)}, not a plain value")
    if is_address(options.get("encoder")):
        address = shown(options["encoder"])
        raise FieldError(f"arch_options.encoder is {address}, which brings weights, but a checkpoint contains its own")
    if starting := options.keys() - lasting_options(options).keys():
        raise FieldError(f"arch_options.{min(starting)} would download weights, but a checkpoint contains its own")
    return options


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint; weights are read when a model is built.

    Args:
        path: The file.
        card: Metadata from its header.
    """

    path: Path
    card: ModelCard

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """Read the header of a checkpoint.

        Args:
            path: The file, or the folder of a training run, whose best checkpoint is taken.

        Raises:
            CheckpointError: The file does not exist, is not a safetensors file, or was not written by satseg.
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
            raise CheckpointError(f"{path} contains weights, but was not written by satseg.")
        try:
            return cls(path, ModelCard.from_json(header))
        except SatsegError as error:
            raise CheckpointError(f"{path} cannot be used. {error.message}", hint=error.hint) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file in hexadecimal, which outputs record as their origin."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def needs_builder(self) -> bool:
        """Whether its architecture is defined in a Python file, and a function has to be passed that builds it."""
        return is_custom_file(self.card.arch)

    def read_weights(self) -> dict[str, Tensor]:
        """Read all weights, on the CPU.

        Raises:
            CheckpointError: The file is truncated or damaged, or contains weights that are not finite.
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
                    f"The weights in {self.path} are not finite: {name} contains NaN or infinity.",
                    hint="Training diverged; train again with a lower `lr`.",
                )
        return weights

    def build_model(self, builder: Builder | None = None) -> nn.Module:
        """Build the network with its weights, in eval mode, on the CPU.

        Args:
            builder: Function that builds the network, needed if its architecture is defined in a Python file: loading
                a checkpoint never runs code on its own.

        Raises:
            CheckpointError: This version of satseg has no such network or option, the weights do not match the
                network, or the function is missing or not needed.
            ArchitectureError: The function fails or does not return a network.
        """
        self._check_builder(builder)
        model = self._create(builder)
        self.load_into(model)
        return model.eval()

    def load_into(self, model: nn.Module) -> None:
        """Load the weights into a network that was just built; it then computes what it did with them.

        Raises:
            CheckpointError: The weights cannot be read, or do not match the network.
        """
        if self.card.format == 1:
            as_in_format_1(model)
        weights = self.read_weights()
        self._check_weights(model, weights)
        model.load_state_dict(weights)

    def require_objects(self) -> None:
        """Refuse a network that has not learnt objects.

        Raises:
            CheckpointError: It has not.
        """
        if not self.card.objects:
            raise CheckpointError(
                f"The network in {self.path} has not learnt objects.",
                hint="Make the tile set with `objects`, and train on it; or ask for no objects here.",
            )

    def _create(self, builder: Builder | None) -> nn.Module:
        card = self.card
        made: dict[str, Any] = {"in_channels": len(card.bands), "num_classes": len(card.classes)}
        made |= {"objects": card.objects, **card.arch_options}
        if builder is not None:
            return create_model(builder, **made)
        try:
            return create_model(card.arch, **made)
        except SatsegError as error:
            raise CheckpointError(f"{self.path} cannot be used. {error.message}", hint=error.hint) from error

    def _check_weights(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and dtypes; the message names the first difference, where torch lists all."""
        own = model.state_dict()
        wrong = [
            *(f"{name} is missing" for name in own if name not in weights),
            *(f"{name} is unexpected" for name in weights if name not in own),
            *(
                f"{name} is {_kind(weights[name])}, not {_kind(own[name])}"
                for name in own
                if name in weights and not _fits(weights[name], own[name])
            ),
        ]
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            card = self.card
            made = f"{card.arch} with {_count(len(card.bands), 'band')} and {len(card.classes)} classes" + (
                " and objects" if card.objects else ""
            )
            raise CheckpointError(f"The weights in {self.path} do not match {made}: {wrong[0]}{more}.")

    def _check_builder(self, builder: Builder | None) -> None:
        arch = self.card.arch
        if builder is None and self.needs_builder:
            raise CheckpointError(
                f"{self.path} needs the architecture {arch}, which is defined in a Python file "
                "and not run automatically.",
                hint=f"If you trust the file, pass it: `arch='path/to/{arch}'`",
            )
        if builder is not None and not self.needs_builder:
            raise CheckpointError(f"{self.path} contains {arch}, a built-in network.", hint="Leave out `arch`.")

    def check_fits(self, theirs: BandSpec, name: str | Path, *, by_name: bool = True, converted: bool = False) -> None:
        """Check that the bands of a scene or a tile set match those that the network was trained on.

        Args:
            theirs: Bands of the scene or tile set.
            name: Its path, for the message.
            by_name: Whether band names must match, other than those of extra rasters, which are named after their
                files; false if the user selected the bands.
            converted: Whether another declared scale and offset is accepted, because values are converted
                (:class:`satseg.raster.scales.Conversion`).

        Raises:
            CheckpointError: Number, order, dtype, scale or offset of the bands differ.
        """
        ours = self.card.bands
        where = f"{name} does not match {self.path}"
        if len(theirs) != len(ours):
            raise CheckpointError(
                f"{where}: it has {_count(len(theirs), 'band')}, but the network was trained on {len(ours)} "
                f"({', '.join(ours.names)}).",
                hint="Select bands by number or name with `bands`." if len(theirs) > len(ours) else None,
            )
        for number, (mine, other) in enumerate(zip(ours.names, theirs.names, strict=True), start=1):
            told = by_name and number <= len(theirs.own) and not is_generic(mine) and not is_generic(other)
            if told and mine.casefold() != other.casefold():
                raise CheckpointError(
                    f"{where}: its band {number} is {other!r}, but the network expects {mine!r}.",
                    hint="Select bands by number or name with `bands`.",
                )
        conversion = Conversion.between(theirs, ours)
        if converted and conversion and states_scale(ours):
            return  # physical values can be compared in any dtype
        if theirs.dtype != ours.dtype:
            raise CheckpointError(
                f"{where}: its dtype is {theirs.dtype}, but the network was trained on {ours.dtype}.",
                hint="Rescale the scene to the values and dtype of the training scenes.",
            )
        if not same_scale(theirs, ours):
            raise CheckpointError(
                f"{where}: it has {_scale(theirs)}, but the training scenes had {_scale(ours)}.",
                hint="Declare its scale and offset (gdal_edit.py -scale ... -offset ...), or rescale its values to "
                "those of the training scenes.",
            )


def shared_outputs(checkpoints: Sequence[Checkpoint]) -> ObjectOutputs:
    """Return what networks that are averaged say of objects.

    Raises:
        CheckpointError: One has not learnt objects, or not the same about them as another one.
    """
    for checkpoint in checkpoints:
        checkpoint.require_objects()
    first, *others = checkpoints
    for other in others:
        if other.card.object_outputs is not first.card.object_outputs:
            raise CheckpointError(
                f"{first.path} and {other.path} cannot be averaged for objects: one tells them apart by their "
                f"{first.card.object_outputs}, the other by their {other.card.object_outputs}.",
                hint="Name networks of one kind, or ask for no objects here.",
            )
    return first.card.object_outputs


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    """Tell whether a tensor can be loaded; floating-point dtypes may differ in precision."""
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
    """Write a checkpoint atomically.

    Args:
        path: File to write.
        weights: State dict of the network.
        card: Metadata. Equal weights and cards give equal bytes.

    Raises:
        OutputError: It cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_tensors(Path(path), tensors, {_HEADER_KEY: replace(card, version=__version__).to_json()})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
