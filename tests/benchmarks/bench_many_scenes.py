"""Every command with a thousand small scenes: what a scene more costs at a thousand, against what it costs at fifty.

Each run is a process of its own that may hold 256 files open, and CPU seconds count, not those of the clock. The cost
of a scene is the slope of CPU time over the number of scenes, from a twentieth to a fifth of them and from there to
all, so that starting up falls out. The network is one convolution of 1 x 1. Prints one JSON line per command.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

SIDE = 96
OPEN_FILES = 256
NETWORK = """
from torch import nn


def pointwise(*, in_channels, num_classes):
    return nn.Conv2d(in_channels, num_classes, 1)
"""
INTERRUPTION = """
from satseg import TileSettings, tile


def stop(event):
    if event.task == "Cutting tiles" and event.done == event.total:
        raise KeyboardInterrupt


settings = TileSettings(class_map="0=background,1=building", size=48, overlap=0, threads=1)
tile(pairs=({images!r}, {masks!r}), output={output!r}, settings=settings, progress=stop)
"""


def write_scene(folder: Path, number: int) -> None:
    """Write a scene of noise and the class raster that goes with it."""
    rng = np.random.default_rng(number)
    transform = Affine(0.5, 0, 300_000 + 64 * (number % 40), 0, -0.5, 3_000_000 - 64 * (number // 40))
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "dtype": "uint8", "crs": "EPSG:32645"}
    classes = rng.integers(0, 2, (SIDE // 8, SIDE // 8), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    bands = {"images": rng.integers(1, 120, (3, SIDE, SIDE), dtype=np.uint8) + 100 * classes, "masks": classes[None]}
    for kind, values in bands.items():
        path = folder / kind / f"scene_{number:05}.tif"
        with rasterio.open(path, "w", count=len(values), transform=transform, **profile) as dataset:
            dataset.write(values)


@dataclass(frozen=True)
class Run:
    """One command, ready to go: its words, and the names that it reads from stdin."""

    words: list[str]
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a process took: CPU seconds, and the most memory that it held."""

    cpu: float
    peak_mb: float


@dataclass(frozen=True)
class Scenes:
    """The first scenes of a folder, and what commands need beside them, made when it is first asked for.

    Args:
        folder: Where all scenes lie.
        count: How many of them.
    """

    folder: Path
    count: int

    def names(self, kind: str = "images") -> list[str]:
        """Return the names of the images, or of the masks."""
        return [f"{kind}/scene_{number:05}.tif" for number in range(self.count)]

    def pairs(self) -> list[str]:
        """Return a folder of the images and a folder of the masks."""
        parts = [self.folder / f"{kind}-{self.count}" for kind in ("images", "masks")]
        for part, kind in zip(parts, ("images", "masks"), strict=True):
            if not part.exists():
                part.mkdir()
                for name in self.names(kind):
                    (part / Path(name).name).symlink_to(self.folder / name)
        return [part.name for part in parts]

    def tiles(self, size: int = 48, overlap: int = 0) -> str:
        """Return a tile set of all of them."""
        name = f"tiles-{size}-{overlap}-{self.count}"
        if not (self.folder / name).exists():
            grid = ["--size", str(size), "--overlap", str(overlap), "--threads", "1"]
            self.run(Run(["tile", "--pairs", *self.pairs(), *_CLASSES, "-o", name, *grid]))
        return name

    @property
    def output(self) -> str:
        """A folder that is not there yet."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        shutil.rmtree(self.folder / ".out.satseg", ignore_errors=True)
        return "out"

    def model(self) -> list[str]:
        """Return the options that name a network."""
        if not (self.folder / "run").exists():
            few = Scenes(self.folder, min(self.count, 20))
            self.run(Run(["train", few.tiles(), "--arch", "network.py:pointwise", "-o", "run", "--steps", "4"]))
        return ["-m", "run", "--arch", "network.py:pointwise"]

    def run(self, run: Run) -> Outcome:
        """Run a command in a process of its own.

        Raises:
            SystemExit: It failed.
        """
        command = [sys.executable, *([] if run.words[0] == "-c" else ["-m", "satseg"]), *run.words]
        with tempfile.TemporaryFile() as names, tempfile.TemporaryFile() as errors:
            names.write("\n".join(run.names).encode())
            names.seek(0)
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=names,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode and run.words[0] != "-c":
                errors.seek(0)
                raise SystemExit(f"{' '.join(command[:8])}\n{errors.read().decode()[-3000:]}")
        return Outcome(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


_CLASSES = ["--class-map", "0=background,1=building"]
_SAME = ["--class-map", "building=building"]  # of a set whose masks have numbers
_LABELS = ["-l", "labels.gpkg", "--class-field", "class_name"]
_CUT = ["--size", "48", "--overlap", "0", "--threads", "1"]


def tile_list(scenes: Scenes) -> Run:
    """Cut scenes whose names come on stdin, with one file of labels for all."""
    return Run(["tile", "-", *_LABELS, "-o", scenes.output, *_CUT], scenes.names())


def tile_pairs(scenes: Scenes) -> Run:
    """Cut scenes with a mask each."""
    return Run(["tile", "--pairs", *scenes.pairs(), *_CLASSES, "-o", scenes.output, *_CUT])


def tile_overwrite(scenes: Scenes) -> Run:
    """Replace a tile set."""
    shutil.copytree(scenes.folder / scenes.tiles(), scenes.folder / scenes.output)
    return Run(["tile", "--pairs", *scenes.pairs(), *_CLASSES, "-o", "out", *_CUT, "--overwrite"])


def tile_append(scenes: Scenes) -> Run:
    """Add all but ten scenes, or half of a few, to a tile set of those."""
    few = Scenes(scenes.folder, min(10, scenes.count // 2))
    shutil.copytree(scenes.folder / few.tiles(), scenes.folder / scenes.output)
    return Run(["tile", "-", *_LABELS, *_SAME, "-o", "out", *_CUT, "--append"], scenes.names()[few.count :])


def tile_append_to(scenes: Scenes) -> Run:
    """Add twenty scenes to a tile set of all others."""
    shutil.copytree(scenes.folder / scenes.tiles(), scenes.folder / scenes.output)
    names = Scenes(scenes.folder, scenes.count + 20).names()[-20:]
    return Run(["tile", "-", *_LABELS, *_SAME, "-o", "out", *_CUT, "--append"], names)


def tile_resume(scenes: Scenes) -> Run:
    """Complete a tile set all of whose tiles are cut."""
    images, masks = scenes.pairs()
    scenes.run(Run(["-c", INTERRUPTION.format(images=images, masks=masks, output=scenes.output)]))
    return Run(["tile", "--pairs", images, masks, *_CLASSES, "-o", "out", *_CUT, "--resume"])


def tile_finished(scenes: Scenes) -> Run:
    """Resume a tile set that is complete."""
    return Run(["tile", "--pairs", *scenes.pairs(), *_CLASSES, "-o", scenes.tiles(), *_CUT, "--resume"])


def tile_check(scenes: Scenes) -> Run:
    """Verify a tile set."""
    return Run(["tile", "--check", "-o", scenes.tiles()])


def train(scenes: Scenes) -> Run:
    """Train a few steps on twenty tiles of each scene."""
    words = ["--arch", "network.py:pointwise", "-o", scenes.output, "--steps", "40"]
    return Run(["train", scenes.tiles(32, 12), *words, "--threads", "1"])


def predict_layer(scenes: Scenes) -> Run:
    """Map scenes into one layer."""
    return Run(["predict", "-", *scenes.model(), "-o", f"{_made(scenes)}/all.gpkg", "--threads", "1"], scenes.names())


def predict_layer_named(scenes: Scenes) -> Run:
    """Map scenes that the command line names into one layer."""
    return Run(["predict", *scenes.names(), *scenes.model(), "-o", f"{_made(scenes)}/all.parquet", "--threads", "1"])


def predict_files(scenes: Scenes) -> Run:
    """Map scenes into a raster and a layer each."""
    out = _made(scenes)
    files = ["-o", f"{out}/{{stem}}.tif", "-o", f"{out}/{{stem}}.gpkg"]
    return Run(["predict", *scenes.names(), *scenes.model(), *files, "--threads", "1"])


def predict_dry(scenes: Scenes) -> Run:
    """Tell what mapping would take."""
    files = ["-o", f"{_made(scenes)}/{{stem}}.tif"]
    return Run(["predict", *scenes.names(), *scenes.model(), *files, "--threads", "1", "--dry-run"])


def evaluate_tiles(scenes: Scenes) -> Run:
    """Score a network on the training tiles of a tile set, five for each scene or more."""
    return Run(["evaluate", "run", scenes.tiles(32, 12), *scenes.model()[2:], "--split", "train", "--threads", "1"])


def evaluate_scenes(scenes: Scenes) -> Run:
    """Score a network on scenes."""
    words = ["evaluate", "run", "-", *scenes.model()[2:], *_LABELS, "--threads", "1"]
    return Run(words, scenes.names())


def evaluate_pairs(scenes: Scenes) -> Run:
    """Score a network on scenes with a mask each."""
    return Run(["evaluate", "run", "--pairs", *scenes.pairs(), *scenes.model()[2:], *_CLASSES, "--threads", "1"])


def evaluate_maps(scenes: Scenes) -> Run:
    """Score maps with a mask each."""
    maps = scenes.folder / f"maps-{scenes.count}"
    if not maps.exists():
        maps.mkdir()
        for name in scenes.names("masks"):
            shutil.copy(scenes.folder / name, maps)
    return Run(["evaluate", "--pairs", maps.name, scenes.pairs()[1], *_CLASSES])


def vectorize_layer(scenes: Scenes) -> Run:
    """Trace class rasters into one layer."""
    words = ["vectorize", *scenes.names("masks"), *_CLASSES]
    return Run([*words, "-o", f"{_made(scenes)}/all.gpkg"])


def vectorize_parquet(scenes: Scenes) -> Run:
    """Trace class rasters whose names come on stdin into GeoParquet and GeoJSON."""
    out = _made(scenes)
    return Run(["vectorize", "-", "-o", f"{out}/all.parquet", "-o", f"{out}/all.geojson"], scenes.names("masks"))


def info(scenes: Scenes) -> Run:
    """Describe files."""
    return Run(["info", *scenes.names()])


def _made(scenes: Scenes) -> str:
    (scenes.folder / scenes.output).mkdir()
    return "out"


CASES: dict[str, Callable[[Scenes], Run]] = {
    case.__name__: case
    for case in (
        tile_list,
        tile_pairs,
        tile_overwrite,
        tile_append,
        tile_append_to,
        tile_resume,
        tile_finished,
        tile_check,
        train,
        predict_layer,
        predict_layer_named,
        predict_files,
        predict_dry,
        evaluate_tiles,
        evaluate_scenes,
        evaluate_pairs,
        evaluate_maps,
        vectorize_layer,
        vectorize_parquet,
        info,
    )
}


def compare(folder: Path, name: str, largest: int, repeats: int) -> dict[str, object]:
    """Measure one command on three numbers of scenes; the best of some runs counts where they are short."""
    counts = [largest // 20, largest // 5, largest]
    runs = {count: [_measure(folder, name, count) for _ in range(repeats)] for count in counts[:2]}
    runs[largest] = [_measure(folder, name, largest)]
    cpu = {count: min(outcome.cpu for outcome in found) for count, found in runs.items()}
    peak = {count: min(outcome.peak_mb for outcome in found) for count, found in runs.items()}
    few, some, many = counts
    first, last = (cpu[some] - cpu[few]) / (some - few), (cpu[many] - cpu[some]) / (many - some)
    return {
        "benchmark": f"many_scenes_{name}",
        "baseline": f"a scene more among {few} to {some}",
        "size": [many],
        "cpu_seconds": {count: round(seconds, 2) for count, seconds in cpu.items()},
        "ms_per_scene": [round(1000 * slope, 2) for slope in (first, last)],
        "ratio": round(last / first, 3) if first > 0 else None,
        "peak_mb": {count: round(peak[count]) for count in counts},
        "peak_ratio": round(peak[many] / peak[few], 3),
    }


def _measure(folder: Path, name: str, count: int) -> Outcome:
    scenes = Scenes(folder, count)
    return scenes.run(CASES[name](scenes))


def main() -> None:
    """Make the scenes, and measure all commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000, help="The most scenes; 400 at least say something.")
    parser.add_argument("--only", nargs="+", choices=CASES, help="Some of the commands.")
    parser.add_argument("--repeats", type=int, default=2, help="Runs with few scenes.")
    parser.add_argument("--folder", type=Path, help="Where scenes and tile sets are made, and stay for the next time.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)).resolve()
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        missing = [n for n in range(arguments.scenes + 20) if not (folder / f"masks/scene_{n:05}.tif").exists()]
        for number in missing:
            write_scene(folder, number)
        (folder / "network.py").write_text(NETWORK)
        if missing:
            words = ["vectorize", *Scenes(folder, arguments.scenes + 20).names("masks")]
            Scenes(folder, 1).run(Run([*words, *_CLASSES, "-o", "labels.gpkg"]))
        for name in arguments.only or CASES:
            print(json.dumps(compare(folder, name, arguments.scenes, arguments.repeats)), flush=True)


if __name__ == "__main__":
    main()
