"""Short runs on the small tile set, and what tests ask of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from satseg.records import ProgressEvent, TrainingSummary
from satseg.training.settings import TrainSettings
from satseg.workflows.train import train

STEPS = 9  # of 3 tiles: the epochs of 16 tiles end within steps


def run(tiles: Path, output: Path | None, **more: Any) -> TrainingSummary:
    called = {name: more.pop(name) for name in ("progress", "watch") if name in more}
    goes_on = more.get("resume") and (output is None or (output / "settings.json").exists())
    arch = {} if goes_on else {"arch": "erfnet"}  # whatever packages with pretrained encoders are installed
    choices = {**arch, "steps": STEPS, "batch_size": 3, "threads": 1, "pictures": False} | more
    return train(tiles, output=output, settings=TrainSettings(**choices), **called)


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.safetensors").read_bytes() for name in ("best", "last")}


def interrupt_after(step: int) -> Any:
    def progress(event: ProgressEvent) -> None:
        if event.task == "Training" and event.done == step:
            raise KeyboardInterrupt

    return progress
