"""Train networks before and after their scores were aligned, from the same seed, and compare what they learn.

"Before" is what networks of checkpoints of format 1 compute. Tiles are those of the sample at 0.5 m, scores those of
its val split.

    python tests/benchmarks/bench_alignment.py
    python tests/benchmarks/bench_alignment.py --arch deeplabv3 --encoder resnet101 --steps 2000 --size 256
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import nn

import satseg
from satseg.backend import as_in_format_1, create_model
from satseg.sample import sample


@contextmanager
def as_before() -> Iterator[None]:
    """Let every network that is built compute what it did before."""

    def build(*args: Any, **options: Any) -> nn.Module:
        model = create_model(*args, **options)
        as_in_format_1(model)
        return model

    with patch("satseg.workflows.train.create_model", build), patch("satseg.checkpoint.create_model", build):
        yield


def learn(tiles: Path, output: Path, **options: Any) -> dict[str, Any]:
    """Train a network and score it on val."""
    run = satseg.train(tiles, output=output, settings=satseg.TrainSettings(pictures=False, **options))
    report = satseg.evaluate(run.best, [tiles], settings=satseg.EvaluateSettings(split="val"))
    return {
        "iou": {entry.name: round(entry.iou, 4) for entry in report.classes},
        "boundary_f1": {entry.name: round(entry.boundary_f1, 4) for entry in report.classes},
    }


def main() -> None:
    """Print a line of JSON for each network before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["pspnet", "deeplabv3"])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=128, help="side of the tiles in pixels")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chosen = {"steps": args.steps, "batch_size": args.batch_size, "seed": args.seed, "threads": args.threads}
    with tempfile.TemporaryDirectory() as folder:
        tiles = Path(folder) / "tiles"
        cut = satseg.TileSettings(gsd="0.5m", size=args.size, split=(0.7, 0.3, 0))
        satseg.tile(sample().labelled, labels=sample().labels, output=tiles, settings=cut)
        for arch in args.arch:
            for name, context in (("before", as_before()), ("after", nullcontext())):
                with context:
                    found = learn(tiles, Path(folder) / f"{arch}-{name}", arch=arch, encoder=args.encoder, **chosen)
                print(json.dumps({"arch": arch, "enlarged as": name, **chosen, **found}), flush=True)


if __name__ == "__main__":
    main()
