"""Contestants of the league: how each of them learns from a scene, and maps another one."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
from command_runner import Runner

from satseg.tiles.tileset import INDEX

RIVALS = Path(__file__).with_name("rivals")
ENCODER = "tf_efficientnet_lite0"
"""The one that satseg takes by default on processor cores."""


@dataclass(frozen=True)
class Match:
    """What is the same for all contestants.

    Args:
        scene: Scene to learn from.
        held_out: Scene to map.
        labels: Polygons of both.
        minutes: Minutes of learning.
        threads: Cores to take.
        encoder_weights: Weights of the encoder, for the rivals that start with them.
        rivals_python: Interpreter of the rivals' environment.
        gsd: Pixel size of the tiles for runs with a share of them; None takes the default.
    """

    scene: Path
    held_out: Path
    labels: Path
    minutes: float
    threads: int
    encoder_weights: Path
    rivals_python: Path | None
    gsd: str | None

    @property
    def conditions(self) -> dict[str, Any]:
        """What a run that is done must agree in."""
        names = (self.scene.name, self.held_out.name)
        return {"scenes": " / ".join(names), "minutes": self.minutes, "threads": self.threads, "gsd": self.gsd}


def satseg(
    match: Match,
    runner: Runner,
    folder: Path,
    seed: int,
    *,
    tile: tuple[str, ...] = (),
    train: tuple[str, ...] = (),
    predict: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Cut tiles, train with the defaults and map, by three commands."""
    cut(match, runner, folder, tile)
    return train_and_map(match, runner, folder, seed, *train, predict=predict)


def satseg_with_share(
    match: Match, runner: Runner, folder: Path, seed: int, *, share: float, start: tuple[str, ...]
) -> dict[str, Any]:
    """Do the same with some of the train tiles, chosen by the seed, and a U-Net that starts as is said."""
    cut(match, runner, folder, ("--gsd", match.gsd) if match.gsd else ())
    kept = keep_some(folder / "tiles", share, seed)
    return {**train_and_map(match, runner, folder, seed, "--arch", "unet", "--encoder", ENCODER, *start), "tiles": kept}


def cut(match: Match, runner: Runner, folder: Path, options: tuple[str, ...]) -> None:
    """Run ``satseg tile``."""
    runner.run(
        *command("tile"), match.scene, "--labels", match.labels, "--output", folder / "tiles", "--quiet", *options
    )


def train_and_map(
    match: Match, runner: Runner, folder: Path, seed: int, *options: str, predict: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run ``satseg train`` and ``satseg predict``."""
    threads = ("--threads", match.threads)
    budget = ("--minutes", match.minutes, "--seed", seed)
    said = runner.run(
        *command("train"), folder / "tiles", "--output", folder / "run", "--json", *budget, *threads, *options
    )
    run = json.loads(said)
    mapped = ("-m", run["best"], "-o", folder / "map.tif", "--quiet", *threads, *predict)
    runner.run(*command("predict"), match.held_out, *mapped)
    return {"training_seconds": run["seconds"], "steps": run["steps"], "epochs": run["epochs"]}


def command(name: str) -> tuple[str, ...]:
    """Return how a command of satseg is run."""
    return sys.executable, "-m", "satseg", name


def keep_some(tiles: Path, share: float, seed: int) -> int:
    """Leave a share of the train tiles in the index, one at least, and return how many; val and test stay."""
    index = geopandas.read_parquet(tiles / INDEX)
    train = sorted(index.index[index["split"] == "train"])
    kept = random.Random(seed).sample(train, max(1, round(share * len(train))))
    index.drop(index=set(train) - set(kept)).to_parquet(tiles / INDEX)
    return len(kept)


def rival(
    match: Match, runner: Runner, folder: Path, seed: int, *, script: str, pretrained: bool = False
) -> dict[str, Any]:
    """Let a rival train and map in its own environment."""
    weights = ("--encoder-weights", match.encoder_weights) if pretrained else ()
    files = ("--scene", match.scene, "--labels", match.labels, "--held-out", match.held_out)
    budget = ("--minutes", match.minutes, "--threads", match.threads, "--seed", seed)
    output = folder / "map.tif"
    said = runner.run(match.rivals_python, RIVALS / script, *files, "--output", output, *budget, *weights)
    found = json.loads(said.splitlines()[-1])
    runner.seconds -= found.get("timing_seconds", 0.0)
    name_classes(output, ("background", match.labels.stem))
    return found


def name_classes(raster: Path, names: tuple[str, ...]) -> None:
    """Name the values of a class raster in GDAL's file beside it, so that classes are compared by name."""
    root = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(ElementTree.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for name in names:
        ElementTree.SubElement(band, "Category").text = name
    raster.with_name(f"{raster.name}.aux.xml").write_bytes(ElementTree.tostring(root))


@dataclass(frozen=True)
class Contestant:
    """One who takes part.

    Args:
        compete: Writes ``map.tif`` into a folder, given the match, what runs commands, the folder and a seed, and
            returns what it has to say, such as ``training_seconds`` and ``steps``.
        network: Its network, and what that starts with.
        objects: Whether its map holds ids of objects.
    """

    compete: Callable[[Match, Runner, Path, int], dict[str, Any]]
    network: str
    objects: bool = False


_LITE0 = "U-Net, efficientnet-lite0"
# The scene that is held out is the test: none of the other one is.
_WITH_OBJECTS = ("--gsd", "auto", "--objects", "--split", "0.85,0.15,0")

SATSEG = {
    "satseg": Contestant(satseg, f"{_LITE0}, ImageNet"),
    "satseg-gsd-auto": Contestant(partial(satseg, tile=("--gsd", "auto")), f"{_LITE0}, ImageNet"),
    "satseg-objects": Contestant(
        partial(satseg, tile=_WITH_OBJECTS, predict=("--objects",)), f"{_LITE0}, ImageNet", objects=True
    ),
    "satseg-panoptic": Contestant(  # centres in place of edges: the same tiles, encoder and minutes
        partial(
            satseg,
            tile=_WITH_OBJECTS,
            train=("--arch", "panoptic_deeplab", "--encoder", ENCODER, "--pretrained"),
            predict=("--objects",),
        ),
        "Panoptic-DeepLab, efficientnet-lite0, ImageNet",
        objects=True,
    ),
}
OTHERS = {
    "geoai": Contestant(partial(rival, script="geoai_rival.py"), "U-Net, resnet34, scratch"),
    "geoai-imagenet": Contestant(partial(rival, script="geoai_rival.py", pretrained=True), f"{_LITE0}, ImageNet"),
    "smp": Contestant(partial(rival, script="smp_rival.py"), f"{_LITE0}, scratch"),
    "smp-imagenet": Contestant(partial(rival, script="smp_rival.py", pretrained=True), f"{_LITE0}, ImageNet"),
}


def with_shares(shares: list[float]) -> dict[str, Contestant]:
    """Return satseg from scratch and pretrained, with each share of the train tiles."""
    return {
        f"{100 * share:g}-percent-{name}".lower(): Contestant(
            partial(satseg_with_share, share=share, start=start), f"{_LITE0}, {name}"
        )
        for share in shares
        for name, start in {"scratch": (), "ImageNet": ("--pretrained",)}.items()
    }
