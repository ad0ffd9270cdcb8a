"""The whole path in ten lines of Python. Usage: python python_api.py [FOLDER [STEPS]]."""

import sys
from pathlib import Path

from satseg import TrainSettings, evaluate, predict, tile, train
from satseg.sample import sample

folder, steps = Path(sys.argv[1] if len(sys.argv) > 1 else "example"), int(sys.argv[2]) if len(sys.argv) > 2 else 500
scenes = sample()

tile(scenes.labelled, labels=scenes.labels, output=folder / "tiles")
run = train(folder / "tiles", output=folder / "run", settings=TrainSettings(arch="erfnet", steps=steps))
predict(scenes.held_out, model=run.best, output=[folder / "map.tif", folder / "map.gpkg"])
report = evaluate(folder / "map.tif", labels=scenes.labels)
print(f"mean IoU on a scene that training has not seen: {report.mean_iou:.3f}")
