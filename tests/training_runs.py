"""Short runs on the small tile set, and what tests ask of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from satseg.records import ProgressEvent, TrainingSummary
from satseg.workflows.train import train

STEPS = 9  # of 3 tiles: the epochs of 16 tiles end within steps


def run(tiles: Path, output: Path, **more: Any) -> TrainingSummary:
    return train(tiles, output=output, **({"steps": STEPS, "batch_size": 3, "threads": 1, "pictures": False} | more))


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.safetensors").read_bytes() for name in ("best", "last")}


def interrupt_after(step: int) -> Any:
    def progress(event: ProgressEvent) -> None:
        if event.task == "Training" and event.done == step:
            raise KeyboardInterrupt

    return progress
