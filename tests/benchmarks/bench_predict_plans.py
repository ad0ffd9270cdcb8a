"""How much a map depends on how its scene was cut: the share of pixels that change between plans of ``predict``.

Maps one scene with windows of several sizes, and compares each map with that of the largest windows; with windows as
large as the scene, that is one pass over all of it. The plain way (float32, windows of 512 px, half of them
overlapping, all counting alike) is compared with it as well. Pixels that change should be those of which the network
is not sure, so their probabilities are told. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from bench_predict_speed import load, plain_way, train_on_sample

from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.records import PredictionSummary
from satseg.sample import sample
from satseg.workflows.predict import predict

NODATA = 255
PLAIN_WINDOW = 512


def map_scene(
    scene: Path, model: Path, folder: Path, settings: PredictionSettings
) -> tuple[PredictionSummary, np.ndarray, np.ndarray]:
    """Map a scene; return classes (H, W) uint8 and the probability of each pixel's class, (H, W) float in 0..1."""
    names = OutputNames(output=(str(folder / "classes.tif"),), confidence=str(folder / "confidence.tif"))
    summary = predict(scene, output=names, model=model, settings=settings)
    with rasterio.open(folder / "classes.tif") as classes, rasterio.open(folder / "confidence.tif") as confidence:
        return summary, classes.read(1), confidence.read(1) / 255


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="checkpoint; without it, a network is trained on the sample")
    parser.add_argument("--arch", default="erfnet", help="network to train")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to train it")
    parser.add_argument("--scene", type=Path, default=sample().unlabelled)
    parser.add_argument("--windows", type=int, nargs="+", default=[384, 512, 768])
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or train_on_sample(folder, options.arch, options.minutes)
        _, reference, sure = map_scene(
            options.scene, model, folder, PredictionSettings(window=max(options.windows), precision=options.precision)
        )
        valid = reference != NODATA
        plans = {}
        for window in sorted(set(options.windows) - {max(options.windows)}):
            settings = PredictionSettings(window=window, precision=options.precision)
            summary, classes, _ = map_scene(options.scene, model, folder, settings)
            changed = (classes != reference) & valid
            plans[window] = {
                "windows": summary.plan.window,
                "overlap": summary.plan.overlap,
                "forwarded": round(summary.forwarded, 3),
                "changed": round(changed.sum() / valid.sum(), 6),
                "probability_where_changed": round(float(np.median(sure[changed])), 3) if changed.any() else None,
            }
            if window == PLAIN_WINDOW:
                plain, _ = plain_way(load(model, "fp32"), options.scene)
                against = {"reference": plain != reference, "predict": plain != classes}
                plans[window]["plain_way"] = {
                    f"changed_from_{name}": round((found & valid).sum() / valid.sum(), 6)
                    for name, found in against.items()
                }
    found = {
        "scene": options.scene.name,
        "pixels": int(valid.sum()),
        "reference_window": max(options.windows),
        "probability": round(float(np.median(sure[valid])), 3),
        "plans": plans,
    }
    print(json.dumps({"benchmark": "predict_plans", **found, "precision": options.precision}))


if __name__ == "__main__":
    main()
