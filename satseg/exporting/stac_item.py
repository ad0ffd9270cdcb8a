"""STAC Items of exported networks, for catalogues of models.

They follow STAC 1.1 (https://github.com/radiantearth/stac-spec), its machine learning model extension, version 1.5.2
(https://github.com/stac-extensions/mlm), and its file extension, version 2.1.0.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import shapely
import torch

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import OutputError
from satseg.exporting.subject import Subject
from satseg.exporting.training_ground import Ground
from satseg.outputs.sidecars import ITEM, ITEM_KEY, describes
from satseg.results import as_json
from satseg.version import __version__

_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_SHA256 = "1220"  # prefix of a multihash: its kind, and its 32 bytes
_EVER = (date(1900, 1, 1), date(9999, 12, 31))
"""What the extension proposes where dates are not known: STAC requires some."""


@dataclass(frozen=True)
class Artifact:
    """What a kind of file is called in catalogues.

    Args:
        framework: What runs it.
        version: Oldest version of that, or the one that wrote it.
        kind: Artifact type of the extension.
        roles: Roles of the asset.
    """

    framework: str
    version: str
    kind: str
    roles: tuple[str, ...]


_TRACED, _WEIGHTS = ("mlm:model", "mlm:compiled"), ("mlm:model", "mlm:weights", "mlm:checkpoint")


def _artifact(suffix: str) -> Artifact:
    if suffix == ".onnx":
        return Artifact("ONNX", "1.13.0", "onnx", _TRACED)  # the first one with the operators of version 18
    if suffix == ".pt2":
        return Artifact("PyTorch", torch.__version__, "torch.export.save", _TRACED)
    return Artifact("PyTorch", torch.__version__, "safetensors.torch.save_file", _WEIGHTS)


def item_path(path: Path) -> Path:
    """Return the name of the item of a file."""
    return path.with_suffix(ITEM)


def require_own_item(path: Path) -> None:
    """Check that the item of a file would replace none but an older one of the same file.

    Raises:
        OutputError: There is another file of its name.
    """
    item = item_path(path)
    if item.exists() and not describes(item, path):
        raise OutputError(
            f"{item} exists, and does not describe {path.name}.",
            hint="Choose another `output`, or write no item: `stac=False`",
        )


def write_item(path: Path, file: Path, subject: Subject, ground: Ground) -> None:
    """Write the item of an exported network.

    Args:
        path: File to write. Equal networks, settings and grounds give equal bytes.
        file: The exported network.
        subject: What was exported.
        ground: Where and when the training scenes were taken.
    """
    made = make_item(file, subject, ground)
    path.write_text(json.dumps(made, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def make_item(file: Path, subject: Subject, ground: Ground) -> dict[str, Any]:
    """Return the item of an exported network, ready for JSON; see :func:`write_item`."""
    artifact, network = _artifact(file.suffix.lower()), subject.network()
    footprint, bbox = ground.footprint, ground.bbox
    return {
        ITEM_KEY: file.name,
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_MLM, _FILE],
        "id": file.stem,
        "geometry": None if footprint is None else shapely.geometry.mapping(footprint),
        **({} if bbox is None else {"bbox": list(bbox)}),
        "properties": {
            **_period(ground),
            **_origin(subject, ground),
            **_model(file, subject, artifact),
            "mlm:total_parameters": sum(weights.numel() for weights in network.model.parameters()),
            "bands": _bands(subject),
            "mlm:input": [_input(file, subject, network.window)],
            "mlm:output": [_output(subject, network.window)],
        },
        "assets": {"model": _asset(file, artifact, subject.checkpoint.card.bands.names)},
        "links": [],
    }


def _period(ground: Ground) -> dict[str, Any]:
    first, last = ground.dates or _EVER
    return {"datetime": None, "start_datetime": f"{first}T00:00:00Z", "end_datetime": f"{last}T23:59:59Z"}


def _origin(subject: Subject, ground: Ground) -> dict[str, Any]:
    checkpoint = subject.checkpoint
    gsd = checkpoint.card.gsd
    names = ", ".join(checkpoint.card.classes.names)
    return {
        "description": f"{checkpoint.card.arch}, trained by satseg to map {names}.",
        **({"gsd": sum(gsd) / 2} if gsd else {}),
        "satseg:checkpoint": f"{checkpoint.path.name} sha256:{checkpoint.digest}",
        "satseg:settings": subject.settings.record(),
        "satseg:version": __version__,
        "satseg:unknown": list(ground.unknown),
    }


def _model(file: Path, subject: Subject, artifact: Artifact) -> dict[str, Any]:
    card = subject.checkpoint.card
    parameters = {name: value for name, value in card.training.items() if re.fullmatch(r"[0-9a-zA-Z_.-]+", name)}
    parameters |= {"metrics": dict(card.metrics)} if card.metrics else {}
    return {
        "mlm:name": _plain(f"satseg {file.stem}"),
        "mlm:architecture": card.arch,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": artifact.framework,
        "mlm:framework_version": artifact.version,
        "mlm:pretrained": bool(card.pretrained),
        "mlm:pretrained_source": _source(card.pretrained),
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:accelerator_summary": "None is needed; the file was checked on a processor.",
        **({"mlm:hyperparameters": as_json(parameters)} if parameters else {}),
    }


def _source(pretrained: Mapping[str, Any]) -> str | None:
    if not pretrained:
        return None
    trained_on = f", trained on {pretrained['trained_on']}" if pretrained.get("trained_on") else ""
    return f"{pretrained.get('source', 'unknown')}{trained_on}"


def _bands(subject: Subject) -> list[dict[str, Any]]:
    bands, found = subject.checkpoint.card.bands, subject.checkpoint.card.statistics
    columns = zip(bands.names, found.minimum, found.maximum, found.mean, found.std, strict=True)
    extra = {"description": "From a raster beside the scene, warped onto its grid."}
    return [
        {
            "name": name,
            **(extra if number >= len(bands.own) else {}),
            "data_type": bands.dtype,
            "statistics": {"minimum": low, "maximum": high, "mean": mean, "stddev": std},
        }
        for number, (name, low, high, mean, std) in enumerate(columns)
    ]


def _input(file: Path, subject: Subject, window: int | None) -> dict[str, Any]:
    card, side = subject.checkpoint.card, window or -1
    weights = file.suffix.lower() == ".safetensors"
    size = "" if card.gsd is None else f", {card.gsd[0]:g} x {card.gsd[1]:g} m on the ground each"
    inside = "satseg normalises them as value_scaling says" if weights else "they are normalised inside"
    return {
        "name": "pixels",
        "description": f"Raw values in the scale and offset of the training scenes{size}; {inside}.",
        "bands": list(card.bands.names),
        "input": {
            "shape": [-1, len(card.bands), side, side],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32" if weights else str(subject.dtype).removeprefix("torch."),
        },
        "value_scaling": _scaling(subject) if weights else None,
        "resize_type": None,
    }


def _scaling(subject: Subject) -> list[dict[str, Any]]:
    card = subject.checkpoint.card
    middle = card.clipping.middle(card.statistics) if card.clipping else card.statistics
    pairs = [(mean, std if std > 0 else 1.0) for mean, std in zip(middle.mean, middle.std, strict=True)]
    if card.clipping is None:
        return [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in pairs]
    limit = card.clipping.limit
    return [
        {"type": "processing", "format": "numpy", "expression": f"clip((data - {mean}) / {std}, {-limit}, {limit})"}
        for mean, std in pairs
    ]


def _output(subject: Subject, window: int | None) -> dict[str, Any]:
    classes, side = subject.checkpoint.card.classes, window or -1
    argmax = subject.settings.argmax
    what = (
        "Ids of classes, 255 where there is no data." if argmax else "Probabilities, which sum to 1 over the classes."
    )
    return {
        "name": subject.output,
        "description": what,
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, side, side] if argmax else [-1, len(classes), side, side],
            "dim_order": ["batch", "height", "width"] if argmax else ["batch", "class", "height", "width"],
            "data_type": "uint8" if argmax else "float32",
        },
        "classification:classes": _classes(classes, nodata=argmax),
    }


def _classes(classes: ClassTable, *, nodata: bool) -> list[dict[str, Any]]:
    found = [
        {
            "value": one.id,
            "name": _plain(one.name) or f"class-{one.id}",
            "description": one.name,
            "color_hint": one.colour[1:].upper(),
        }
        for one in classes.classes
    ]
    return found + [{"value": IGNORE_INDEX, "name": "nodata", "description": "No data"}] * nodata


def _plain(name: str) -> str:
    """Return a name of letters, digits, dashes and dots, as catalogues ask for."""
    return re.sub(r"[^0-9A-Za-z_.-]+", "-", name).strip("-._")


def _asset(file: Path, artifact: Artifact, bands: Sequence[str]) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {
        "href": f"./{file.name}",
        "type": f"application/octet-stream; framework={artifact.framework.lower()}",
        "title": f"Network for {artifact.framework}",
        "roles": [*artifact.roles, "data"],
        "mlm:artifact_type": artifact.kind,
        "bands": [{"name": name} for name in bands],  # STAC takes those of the item for summaries of these
        "file:size": file.stat().st_size,
        "file:checksum": _SHA256 + digest,
    }
