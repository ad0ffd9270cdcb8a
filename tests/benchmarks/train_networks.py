"""Train five networks ten minutes each on a drone scene of a town, and write ``docs/results.json`` for the docs.

Takes an hour and wants the machine for itself, so `make bench` leaves it out. Networks that the file holds already are
skipped: remove their rows to train them again. Costs are measured last, when nothing else runs, for the rows that have
none; so networks may also be trained side by side, each with ``--no-cost`` and a file of its own. The page of
results shows the table of that file.

    python tests/benchmarks/train_networks.py ../shared/data/banepa
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path

import torch

from satseg import benchmark, evaluate, tile, train
from satseg.evaluation.settings import EvaluateSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.benchmark import describe

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.json"
ARCHS = ("bisenet", "ddrnet23slim", "deeplabv3plus", "erfnet", "unet")


def learn(arch: str, tiles: Path, folder: Path, minutes: float) -> dict[str, object]:
    """Train a network and say how good it is."""
    run = train(tiles, output=folder / arch, settings=TrainSettings(arch=arch, minutes=minutes, pictures=False))
    report = evaluate(run.best, [tiles], settings=EvaluateSettings(split="test"))
    return {
        "arch": arch,
        "minutes": minutes,
        "device": device_name(),
        "steps": run.steps,
        "epochs": round(run.epochs, 1),
        "iou": {entry.name: round(entry.iou, 4) for entry in report.classes},
        "boundary_f1": {entry.name: round(entry.boundary_f1, 4) for entry in report.classes},
        "mean_iou": round(report.mean_iou, 4),
    }


def cost(arch: str, num_classes: int) -> dict[str, object]:
    """Say how large and how fast a network is."""
    found = benchmark(arch, num_classes=num_classes)
    (measured,) = found.costs
    return {
        "parameters": measured.parameters,
        "multiply_adds": measured.multiply_adds,
        "inference_ms": round(measured.inference_ms, 2),
        "training_ms": round(measured.training_ms, 2),
        "workload": f"{describe(found.workload)}, {device_name()}",
    }


def device_name() -> str:
    """Name what networks run on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} processor cores"


def main() -> None:
    """Train what is missing, one network after the other, then measure what costs are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with scene_train.tif and buildings.gpkg")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--arch", action="append")
    parser.add_argument("--no-cost", action="store_true", help="leave costs for later")
    parser.add_argument("--folder", type=Path, help="where tiles and runs are kept; default: a temporary one")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = json.loads(args.output.read_text()) if args.output.exists() else []
    with nullcontext(args.folder) if args.folder else tempfile.TemporaryDirectory() as folder:
        tiles = Path(folder) / "tiles"
        tile([args.data / "scene_train.tif"], labels=args.data / "buildings.gpkg", output=tiles)
        for arch in args.arch or ARCHS:
            if arch not in {row["arch"] for row in rows}:
                rows.append(learn(arch, tiles, Path(folder), args.minutes))
                keep(rows, args.output)
    for row in rows:
        if "inference_ms" not in row and not args.no_cost:
            row.update(cost(row["arch"], len(row["iou"])))
            keep(rows, args.output)


def keep(rows: list[dict], output: Path) -> None:
    """Write the rows and print them."""
    output.write_text(json.dumps(rows, indent=2) + "\n")
    print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
