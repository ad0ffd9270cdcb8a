"""Train with several recipes and seeds on one place, and score each on held-out ground there and on another place.

Home is the held-out scene of the sample's town; the other place is made of it by turning, scaling, blurring and
recolouring (`other_place.py`), so that a gain at home that is lost away is seen. Prints one JSON line per run as soon
as it is scored, and a table of means with 95 % intervals over seeds (Student's t) at the end. What is done is kept in
the folder: the same command goes on where it was stopped. A run by the clock needs the machine alone.

    python tests/benchmarks/screen_recipes.py --minutes 10 --output runs/screening
    python tests/benchmarks/screen_recipes.py --steps 700 --gsd 0.26m --only default,light --output runs/augmentation
    python tests/benchmarks/screen_recipes.py --recipes mine.json
    python tests/benchmarks/screen_recipes.py --smoke      # two steps each; shows only that the screening works
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

from other_place import make_other_place
from scipy.stats import t as student

from satseg import SatsegError, evaluate, tile, train
from satseg.checkpoint import save_checkpoint
from satseg.evaluation.settings import EvaluateSettings
from satseg.records import ClassScore, EvaluationReport, as_json
from satseg.runs import Run
from satseg.sample import sample
from satseg.tiles.tileset import INDEX
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings

COLOURS = {"gain": 0.2, "offset": 0.2, "gamma": 0.2}
TURNS = {"warp": 0.75, "rotation": 45.0, "scale": 1.4, "shift": 0.25}  # those of middle
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "no-augment": {"augment": "none"},
    "light": {"augment": "light"},
    "middle+colours": {"augment": {**TURNS, **COLOURS}},
    "strong": {"augment": "strong"},
    "smoothing": {"loss": "ce(smoothing=0.1) + dice"},
    "relaxed": {"loss": "relaxed + dice"},
    "ce": {"loss": "ce"},
    "ce+lovasz": {"loss": "ce + lovasz"},
    "ohem+dice": {"loss": "ohem + dice"},
    "batch-4": {"batch_size": 4},
    "batch-16": {"batch_size": 16},
    "cosine": {"schedule": "cosine"},
    "one-cycle": {"schedule": "one-cycle"},
    "encoder-rate-0.3": {"encoder_rate": 0.3},
    "encoder-rate-1": {"encoder_rate": 1.0, "lr": 1e-3},
    "light-decoder": {"encoder": "tf_efficientnet_lite0", "pretrained": True, "arch_options": {"light": True}},
    "scratch": {"arch": "unet", "encoder": "tf_efficientnet_lite0"},
    "erfnet": {"arch": "erfnet"},
}
"""What differs from the default recipe, by name. Of the first one, the weights of the last step, their moving average
and their average over validations are scored apart from those that were kept."""

Place = tuple[Path, Path, Path | None]
"""A scene, its labels, and the outline to score within, or None for all of the scene."""

SCORES = ("iou", "boundary_f1", "object_f1")
APART = ("last", "ema", "average")


def screen(name: str, seed: int, options: argparse.Namespace, places: dict[str, Place]) -> Iterator[dict[str, Any]]:
    """Train with one recipe and seed, and yield the scores of the weights that were kept, and of others."""
    begun = perf_counter()
    budget = {"steps": options.steps} if options.steps else {"minutes": options.minutes}
    settings = TrainSettings(
        resume=True,
        pictures=False,
        threads=options.threads,
        seed=seed,
        **(budget | options.recipes[name]),
    )
    run = train(options.tiles, output=options.output / name / f"seed-{seed}", settings=settings)
    found = {"seed": seed, "steps": run.steps, "val_miou": run.validation.mean_iou, "weights": run.weights}
    checkpoints = {name: Path(run.best)}
    if name == next(iter(options.recipes)):
        checkpoints |= {f"{name}, {part}": path for part, path in apart(Run(Path(run.path))).items()}
    for label, checkpoint in checkpoints.items():
        scores = {place: score(checkpoint, *files, options) for place, files in places.items()}
        yield {"recipe": label, **found, **scores, "seconds": perf_counter() - begun}


def apart(run: Run) -> dict[str, Path]:
    """Write the weights of the last step and their averages as checkpoints."""
    last, tensors, _ = run.load_last()
    own = last.read_weights()
    for part in APART[1:]:
        averaged = {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}
        if averaged:
            save_checkpoint(run.path / f"{part}.safetensors", {**own, **averaged}, last.card)
    paths = {part: run.path / f"{part}.safetensors" for part in APART}
    return {part: path for part, path in paths.items() if path.exists()}


def score(
    checkpoint: Path, scene: Path, labels: Path, outline: Path | None, options: argparse.Namespace
) -> dict[str, float]:
    """Return the scores of the buildings."""
    settings = EvaluateSettings(threads=options.threads, bootstrap=0, aoi=outline)
    buildings = buildings_of(evaluate(checkpoint, [scene], labels=labels, settings=settings))
    return {name: getattr(buildings, name) for name in SCORES}


def buildings_of(report: EvaluationReport) -> ClassScore:
    """Return the scores of the first class that is neither background nor boundary."""
    return next(entry for entry in report.classes if entry.name not in ("background", "boundary"))


def prepare(options: argparse.Namespace) -> dict[str, Place]:
    """Cut tiles, make the other place, and return scene and labels of both places."""
    scenes = sample()
    scene, labels = options.held_out or scenes.held_out, options.labels or scenes.labels
    if options.tiles is None:
        options.tiles = options.output / "tiles"
        if not (options.tiles / INDEX).exists():
            settings = TileSettings(gsd=options.gsd, boundary=options.boundary)
            tile([options.scene or scenes.labelled], labels=labels, output=options.tiles, settings=settings)
    return {"home": (scene, labels, None), "other": make_other_place(scene, labels, options.output / "other")}


def screen_all(options: argparse.Namespace, places: dict[str, Place]) -> list[dict[str, Any]]:
    """Screen what is not done yet, seed by seed, so that a screening that is cut short compares all recipes."""
    kept = options.output / "results.jsonl"
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for seed in range(options.seeds):
        for name in options.only.split(",") if options.only else options.recipes:
            if any(row["seed"] == seed and row["recipe"] == name for row in done):
                continue
            try:
                found = list(screen(name, seed, options, places))
            except SatsegError as error:  # the others may still work
                print(json.dumps({"recipe": name, "seed": seed, "error": str(error)}), flush=True)
                continue
            with kept.open("a") as file:
                for row in found:
                    print(json.dumps(as_json(row)), flush=True)
                    print(json.dumps(as_json(row)), file=file)
            done += as_json(found)
    return done


def table(rows: list[dict[str, Any]]) -> str:
    """Return a table in Markdown: mean and half the 95 % interval over seeds, of each recipe."""
    columns = [(place, score) for place in ("home", "other") for score in SCORES]
    lines = [
        "| recipe | seeds | steps | " + " | ".join(f"{place} {score}" for place, score in columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for name in dict.fromkeys(row["recipe"] for row in rows):
        runs = [row for row in rows if row["recipe"] == name]
        cells = [spread([float(run[place][score]) for run in runs]) for place, score in columns]
        lines.append(f"| {name} | {len(runs)} | {mean(run['steps'] for run in runs):.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: list[float], decimals: int = 3) -> str:
    """Return the mean and half of its 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.{decimals}f}"
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.{decimals}f} ± {half:.{decimals}f}"


def main() -> None:
    """Screen and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path, nargs="?", help="tile set to train on; default: cut from the scene")
    parser.add_argument("--scene", type=Path, help="scene to train on; default: that of the sample")
    parser.add_argument("--held-out", type=Path, help="scene to score on; default: that of the sample")
    parser.add_argument("--labels", type=Path, help="labels of both; default: those of the sample")
    parser.add_argument("--gsd", help="pixel size of the tiles, such as 0.26m")
    parser.add_argument("--boundary", help="width of a boundary class, such as 2px")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each run")
    parser.add_argument("--steps", type=int, help="instead of minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", type=Path, help="JSON: what differs from the default recipe, by name")
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--output", type=Path, default=Path("runs/screening"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--smoke", action="store_true", help="two recipes and two seeds of two steps")
    options = parser.parse_args()
    options.recipes = json.loads(options.recipes.read_text()) if options.recipes else RECIPES
    if options.smoke:
        options.steps, options.seeds, options.only = 2, 2, "default,light"
    options.output.mkdir(parents=True, exist_ok=True)
    print(table(screen_all(options, prepare(options))), file=sys.stderr)


if __name__ == "__main__":
    main()
