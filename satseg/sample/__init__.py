"""Three small scenes, their footprints and a network that maps them; ``ATTRIBUTION.md`` says whose they are."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from satseg.errors import OutputError

CREDIT = (
    "Imagery © OpenAerialMap contributors / Open Imagery Network, CC BY 4.0",
    "Footprints © OpenStreetMap contributors, ODbL 1.0",
)
"""What has to stand beside every picture of the sample."""

NETWORK = "sample"
"""Name of the network of the package, where commands take a checkpoint, unless a file or folder has this name."""


@dataclass(frozen=True)
class Sample:
    """Where the files of the sample lie.

    Args:
        labelled: Scene to train on; RGB uint8, EPSG:3857.
        held_out: Scene with labels that training never sees.
        unlabelled: Scene without labels.
        labels: Building footprints of the first two; polygons in EPSG:3857.
        attribution: Who made them, under which licence, and what was changed.
    """

    labelled: Path
    held_out: Path
    unlabelled: Path
    labels: Path
    attribution: Path


def sample(folder: Path | None = None) -> Sample:
    """Return the paths of the sample, in the package or in a folder that it was copied to."""
    place = Path(str(files(__name__))) if folder is None else folder
    return Sample(
        labelled=place / "town.tif",
        held_out=place / "town_held_out.tif",
        unlabelled=place / "town_unlabelled.tif",
        labels=place / "buildings.gpkg",
        attribution=place / "ATTRIBUTION.md",
    )


def copy_sample(folder: Path) -> Sample:
    """Copy the sample with its attribution into a folder, which is made if it is missing.

    Raises:
        OutputError: The folder cannot be written.
    """
    source, target = sample(), sample(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in Sample.__dataclass_fields__:
            shutil.copyfile(getattr(source, name), getattr(target, name))
    except OSError as error:
        raise OutputError(f"Cannot write to {folder}: {error.strerror}.") from error
    return target


def named_network(name: str | Path) -> Path:
    """Return the file of the network of the package for ``sample``, if nothing here has this name; else the path."""
    return _network() if os.fspath(name) == NETWORK and not os.path.lexists(name) else Path(name)


def network_name() -> str:
    """Return how to name the network of the package here: ``sample``, or its path where something has this name."""
    return str(_network()) if os.path.lexists(NETWORK) else NETWORK


def is_of_package(path: Path) -> bool:
    """Tell whether a file is the network of the package, however it was named."""
    return path.resolve() == _network().resolve()


def _network() -> Path:
    return Path(str(files(__name__))) / "sample.safetensors"


def attribution() -> str:
    """Return the text that says whose the sample is."""
    return sample().attribution.read_text(encoding="utf-8")
