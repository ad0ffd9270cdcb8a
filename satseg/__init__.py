"""satseg: from georeferenced scenes and a few labels to polygons.

Every command of the command line is a function here, imported when it is first used:

    from satseg import tile, train, evaluate, predict, vectorize
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from satseg.backend import create_model, list_architectures
    from satseg.errors import SatsegError
    from satseg.raster.source import SceneSource
    from satseg.vectorization.options import PolygonOptions
    from satseg.workflows.benchmark import benchmark
    from satseg.workflows.demo import demo
    from satseg.workflows.evaluate import evaluate
    from satseg.workflows.info import info
    from satseg.workflows.label_values import label_values
    from satseg.workflows.models import models
    from satseg.workflows.predict import OutputNames, predict, predict_scenes
    from satseg.workflows.predict_settings import PredictionSettings
    from satseg.workflows.tile import tile
    from satseg.workflows.train import train
    from satseg.workflows.vectorize import vectorize

_PUBLIC = {
    "OutputNames": "satseg.workflows.predict",
    "PolygonOptions": "satseg.vectorization.options",
    "PredictionSettings": "satseg.workflows.predict_settings",
    "SatsegError": "satseg.errors",
    "SceneSource": "satseg.raster.source",
    "benchmark": "satseg.workflows.benchmark",
    "create_model": "satseg.backend",
    "demo": "satseg.workflows.demo",
    "evaluate": "satseg.workflows.evaluate",
    "info": "satseg.workflows.info",
    "label_values": "satseg.workflows.label_values",
    "list_architectures": "satseg.backend",
    "models": "satseg.workflows.models",
    "predict": "satseg.workflows.predict",
    "predict_scenes": "satseg.workflows.predict",
    "tile": "satseg.workflows.tile",
    "train": "satseg.workflows.train",
    "vectorize": "satseg.workflows.vectorize",
}

__all__ = [
    "OutputNames",
    "PolygonOptions",
    "PredictionSettings",
    "SatsegError",
    "SceneSource",
    "__version__",
    "benchmark",
    "create_model",
    "demo",
    "evaluate",
    "info",
    "label_values",
    "list_architectures",
    "models",
    "predict",
    "predict_scenes",
    "tile",
    "train",
    "vectorize",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'satseg' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
