"""satseg: from georeferenced scenes and a few labels to polygons.

Every command of the command line is a function here:

    tile            cut scenes and their labels into tiles
    train           train a network on them
    evaluate        compare a network, a map or polygons with labels
    predict         map a scene with a network; predict_scenes maps many
    propagate       carry labels from the scene of one date to that of another
    vectorize       turn class rasters into polygons
    export          write a network to a file for programs without satseg
    info            describe a file; label_values lists the values of labels
    models          list the networks; benchmark measures what they cost here
    demo            run the whole path on sample scenes

From labels to a map:

    import satseg

    satseg.tile("scene.tif", labels="buildings.gpkg")
    run = satseg.train(settings=satseg.TrainSettings(minutes=10))
    satseg.predict("other.tif", model=run.best, output=["map.tif", "map.gpkg"])

Files are named by text or ``pathlib.Path``; where several are taken, one alone will do. ``~`` is not expanded. Lengths
and areas are texts with a unit, ``"0.5m"``, ``"2px"``, ``"10m2"``, or numbers of metres or square metres. What is
neither is refused before any work, by a :class:`SatsegError` that says what to do (``error.hint``).

Functions return records (:class:`Result`): fields by name, a table in notebooks, ``to_dict()`` as plain values
for JSON. At the prompt and in notebooks they draw how far they are; in scripts with ``progress=satseg.progress_bar()``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from satseg.deferred import put_off_extension
from satseg.openmp import wait_briefly
from satseg.version import __version__

wait_briefly()  # here, since torch is loaded by whatever comes first
put_off_extension("scipy.linalg.cython_blas")  # numba looks whether it is there; no kernel multiplies matrices

if TYPE_CHECKING:
    from satseg.backend import Architecture, create_model, list_architectures
    from satseg.errors import (
        ArchitectureError,
        AreaError,
        CheckpointError,
        ClassRasterError,
        LabelError,
        NetworkError,
        OutputError,
        ReadError,
        ResumeError,
        SatsegError,
        SceneError,
        ScoreError,
        TileError,
        TrainingError,
        UsageError,
    )
    from satseg.evaluation.settings import EvaluateSettings
    from satseg.exporting.settings import ExportSettings
    from satseg.prediction.settings import OutputNames, PredictionSettings
    from satseg.progress import ProgressBar, progress_bar
    from satseg.propagation.settings import PropagateSettings
    from satseg.raster.source import SceneSource
    from satseg.records import (
        ClassScore,
        EvaluationReport,
        FinishedMap,
        ObjectWidths,
        PlaceScore,
        PredictionSummary,
        Progress,
        ProgressEvent,
        PropagationSummary,
        SceneInfo,
        SizeScore,
        TileSummary,
        TrainingSummary,
        VectorSummary,
        no_progress,
    )
    from satseg.results import Result
    from satseg.tiling.settings import TileSettings
    from satseg.training.augmentation import Augmentation
    from satseg.training.settings import TrainSettings
    from satseg.vectorization.settings import PolygonSettings, VectorizeSettings
    from satseg.workflows.benchmark import Benchmark, benchmark
    from satseg.workflows.demo import DemoSummary, demo
    from satseg.workflows.evaluate import evaluate
    from satseg.workflows.export import ExportSummary, export
    from satseg.workflows.info import FileInfo, info
    from satseg.workflows.label_values import LabelValues, label_values
    from satseg.workflows.models import models
    from satseg.workflows.predict import predict, predict_scenes
    from satseg.workflows.propagate import propagate
    from satseg.workflows.tile import tile
    from satseg.workflows.train import train
    from satseg.workflows.vectorize import vectorize

_PUBLIC = {
    "satseg.evaluation.settings": ("EvaluateSettings",),
    "satseg.exporting.settings": ("ExportSettings",),
    "satseg.progress": ("ProgressBar", "progress_bar"),
    "satseg.backend": ("Architecture", "create_model", "list_architectures"),
    "satseg.errors": (
        "AreaError",
        "ArchitectureError",
        "CheckpointError",
        "ClassRasterError",
        "LabelError",
        "NetworkError",
        "OutputError",
        "ReadError",
        "ResumeError",
        "SatsegError",
        "SceneError",
        "ScoreError",
        "TileError",
        "TrainingError",
        "UsageError",
    ),
    "satseg.raster.source": ("SceneSource",),
    "satseg.records": (
        "ClassScore",
        "EvaluationReport",
        "FinishedMap",
        "ObjectWidths",
        "PlaceScore",
        "PredictionSummary",
        "Progress",
        "ProgressEvent",
        "PropagationSummary",
        "SceneInfo",
        "SizeScore",
        "TileSummary",
        "TrainingSummary",
        "VectorSummary",
        "no_progress",
    ),
    "satseg.results": ("Result",),
    "satseg.training.augmentation": ("Augmentation",),
    "satseg.training.settings": ("TrainSettings",),
    "satseg.vectorization.settings": ("PolygonSettings", "VectorizeSettings"),
    "satseg.workflows.benchmark": ("Benchmark", "benchmark"),
    "satseg.workflows.demo": ("DemoSummary", "demo"),
    "satseg.workflows.evaluate": ("evaluate",),
    "satseg.workflows.export": ("ExportSummary", "export"),
    "satseg.workflows.info": ("FileInfo", "info"),
    "satseg.workflows.label_values": ("LabelValues", "label_values"),
    "satseg.workflows.models": ("models",),
    "satseg.workflows.predict": ("predict", "predict_scenes"),
    "satseg.prediction.settings": (
        "OutputNames",
        "PredictionSettings",
    ),
    "satseg.propagation.settings": ("PropagateSettings",),
    "satseg.tiling.settings": ("TileSettings",),
    "satseg.workflows.propagate": ("propagate",),
    "satseg.workflows.tile": ("tile",),
    "satseg.workflows.train": ("train",),
    "satseg.workflows.vectorize": ("vectorize",),
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names}  # imported when first used

__all__ = [
    "Architecture",
    "ArchitectureError",
    "AreaError",
    "Augmentation",
    "Benchmark",
    "CheckpointError",
    "ClassRasterError",
    "ClassScore",
    "DemoSummary",
    "EvaluateSettings",
    "EvaluationReport",
    "ExportSettings",
    "ExportSummary",
    "FileInfo",
    "FinishedMap",
    "LabelError",
    "LabelValues",
    "NetworkError",
    "ObjectWidths",
    "OutputError",
    "OutputNames",
    "PlaceScore",
    "PolygonSettings",
    "PredictionSettings",
    "PredictionSummary",
    "Progress",
    "ProgressBar",
    "ProgressEvent",
    "PropagateSettings",
    "PropagationSummary",
    "ReadError",
    "Result",
    "ResumeError",
    "SatsegError",
    "SceneError",
    "SceneInfo",
    "SceneSource",
    "ScoreError",
    "SizeScore",
    "TileError",
    "TileSettings",
    "TileSummary",
    "TrainSettings",
    "TrainingError",
    "TrainingSummary",
    "UsageError",
    "VectorSummary",
    "VectorizeSettings",
    "__version__",
    "benchmark",
    "create_model",
    "demo",
    "evaluate",
    "export",
    "info",
    "label_values",
    "list_architectures",
    "models",
    "no_progress",
    "predict",
    "predict_scenes",
    "progress_bar",
    "propagate",
    "tile",
    "train",
    "vectorize",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'satseg' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
