"""Train five networks ten minutes each on a drone scene of a town, and write ``docs/results.json`` for the README.

Takes an hour and wants the machine for itself, so `make bench` leaves it out. Networks that the file holds already are
skipped: remove their rows to train them again. `make readme` then brings the table up to date.

    python tests/benchmarks/train_networks.py ../shared/data/banepa
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from satseg import benchmark, evaluate, tile, train
from satseg.workflows.benchmark import describe

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.json"
ARCHS = ("bisenet", "ddrnet23slim", "enet", "erfnet", "fasterseg")


def measure(arch: str, tiles: Path, folder: Path, minutes: float) -> dict[str, object]:
    """Train a network and say how good and how fast it is."""
    run = train(tiles, arch=arch, minutes=minutes, output=folder / arch)
    report = evaluate(run.best, [tiles], split="test")
    found = benchmark(arch, num_classes=len(report.classes))
    (cost,) = found.costs
    return {
        "arch": arch,
        "minutes": minutes,
        "steps": run.steps,
        "epochs": round(run.epochs, 1),
        "iou": {entry.name: round(entry.iou, 4) for entry in report.classes},
        "mean_iou": round(report.mean_iou, 4),
        "parameters": cost.parameters,
        "multiply_adds": cost.multiply_adds,
        "inference_ms": round(cost.inference_ms, 1),
        "training_ms": round(cost.training_ms, 1),
        "workload": describe(found.workload),
    }


def main() -> None:
    """Train what is missing, one network after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with scene_train.tif and buildings.gpkg")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--arch", action="append")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = json.loads(args.output.read_text()) if args.output.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        tiles = Path(folder) / "tiles"
        tile([args.data / "scene_train.tif"], labels=args.data / "buildings.gpkg", output=tiles)
        for arch in args.arch or ARCHS:
            if arch not in {row["arch"] for row in rows}:
                rows.append(measure(arch, tiles, Path(folder), args.minutes))
                args.output.write_text(json.dumps(rows, indent=2) + "\n")
                print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main()
