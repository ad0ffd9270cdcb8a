"""Frozen records that several rooms share. Standard library and numpy only, so that every room can import them."""

from __future__ import annotations

from satseg.records.maps import CERTAIN, MapLayer, Plan, Rows
from satseg.records.progress import Progress, ProgressEvent, no_progress
from satseg.records.scenes import DTYPES, BandSpec, BandStatistics, Clipping, SceneInfo
from satseg.records.scores import ClassScore, EvaluationReport, PlaceScore, SizeScore
from satseg.records.summaries import (
    DryRun,
    FinishedMap,
    ObjectWidths,
    PredictionSummary,
    PropagationSummary,
    TileSummary,
    TrainingSummary,
    VectorSummary,
)
from satseg.results import as_json

__all__ = [
    "CERTAIN",
    "DTYPES",
    "BandSpec",
    "BandStatistics",
    "ClassScore",
    "Clipping",
    "DryRun",
    "EvaluationReport",
    "FinishedMap",
    "MapLayer",
    "ObjectWidths",
    "PlaceScore",
    "Plan",
    "PredictionSummary",
    "Progress",
    "ProgressEvent",
    "PropagationSummary",
    "Rows",
    "SceneInfo",
    "SizeScore",
    "TileSummary",
    "TrainingSummary",
    "VectorSummary",
    "as_json",
    "no_progress",
]
