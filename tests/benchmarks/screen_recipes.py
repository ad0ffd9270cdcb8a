"""Train with several recipes for some minutes each on one tile set, and score each on tiles that it never saw.

Prints one JSON line per recipe as soon as it is done, so a screening can be cut short; recipes whose run is finished
already are not trained again. Needs the machine alone: a run by the clock gets what the machine gives it. Without a
tile set, two recipes are tried for two steps on the sample, which only shows that the screening works.

    python tests/benchmarks/screen_recipes.py TILES --minutes 3 --output runs/screening
    python tests/benchmarks/screen_recipes.py TILES --minutes 10 --only default,ema --output runs/confirming
    python tests/benchmarks/screen_recipes.py TILES --recipes mine.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from satseg import SatsegError, evaluate, tile, train
from satseg.evaluation.settings import EvaluateSettings
from satseg.records import as_json
from satseg.sample import sample
from satseg.training.settings import TrainSettings

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "ema": {"ema": 0.998},
    "strong": {"augment": "strong"},
    "no-augment": {"augment": "none"},
    "ce": {"loss": "ce"},
    "ce+lovasz": {"loss": "ce + lovasz"},
    "ce+jaccard": {"loss": "ce + jaccard"},
    "focal+dice": {"loss": "focal + dice"},
    "relaxed+dice": {"loss": "relaxed + dice"},
    "ohem+dice": {"loss": "ohem + dice"},
    "balance": {"balance": True},
    "median": {"class_weights": "median"},
    "cosine": {"schedule": "cosine"},
    "one-cycle": {"schedule": "one-cycle"},
    "batch-4": {"batch_size": 4},
    "batch-16": {"batch_size": 16},
    "unet-resnet18": {"arch": "unet", "encoder": "resnet18"},
    "ddrnet23slim": {"arch": "ddrnet23slim"},
    "bisenet": {"arch": "bisenet"},
}
"""What differs from the default recipe, by name."""

SCORES = ("iou", "boundary_f1", "object_f1")


def screen(name: str, choices: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train with one recipe and return its scores."""
    begun, output = perf_counter(), options.output / name
    budget = {"steps": options.steps} if options.steps else {"minutes": options.minutes}
    # The folder of an earlier screening is resumed; a run by the clock then has what was left of its time.
    run = train(
        options.tiles,
        output=output,
        settings=TrainSettings(
            resume=True, pictures=False, threads=options.threads, **budget, **{"arch": "erfnet", **choices}
        ),
    )
    report = evaluate(
        run.best, [options.tiles], settings=EvaluateSettings(split=options.split, threads=options.threads)
    )
    return {
        "recipe": name,
        "choices": choices,
        "steps": run.steps,
        "epochs": run.epochs,
        "loss": run.loss,
        "val_miou": run.validation.mean_iou,
        "miou": report.mean_iou,
        **{f"{score} {entry.name}": getattr(entry, score) for entry in report.classes for score in SCORES},
        "seconds": perf_counter() - begun,
    }


def main() -> None:
    """Screen and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=3.0, help="for each recipe, validation included")
    parser.add_argument("--steps", type=int, help="instead of minutes")
    parser.add_argument("--recipes", type=Path, help="JSON: what differs from the default recipe, by name")
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--split", default="test", help="tiles to score on")
    parser.add_argument("--output", type=Path, default=Path("runs/screening"))
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.tiles is None:
            use_sample(options, Path(folder))
        screen_all(options)


def use_sample(options: argparse.Namespace, folder: Path) -> None:
    """Cut tiles of the sample, and ask for little."""
    scenes = sample()
    tile([scenes.labelled], labels=scenes.labels, output=folder / "tiles")
    options.tiles, options.output = folder / "tiles", folder / "runs"
    options.steps, options.only = options.steps or 2, options.only or "default,strong"


def screen_all(options: argparse.Namespace) -> None:
    """Screen recipe by recipe and print each as soon as it is done."""
    recipes = json.loads(options.recipes.read_text()) if options.recipes else RECIPES
    for name in options.only.split(",") if options.only else recipes:
        try:
            found = screen(name, recipes[name], options)
        except SatsegError as error:  # the others may still work
            found = {"recipe": name, "error": str(error)}
        print(json.dumps(as_json(found)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
