"""Predictors without a checkpoint, for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from satseg.checkpoint import Checkpoint, ModelCard
from satseg.inference.network import Network
from satseg.prediction.job import PredictionJob
from satseg.prediction.models import Models
from satseg.prediction.predictor import Predictor
from satseg.prediction.provenance import Provenance
from satseg.prediction.settings import PredictionSettings
from satseg.records import BandSpec


def predictor_of(network: Network, settings: PredictionSettings, *, checkpoint: Checkpoint | None = None) -> Predictor:
    """Return a predictor whose maps name the model ``oracle``."""
    return Predictor(network, Provenance("oracle", settings), settings, checkpoint)


def checkpoint_of(network: Network, *, gsd: tuple[float, float] | None = None) -> Checkpoint:
    """Return a checkpoint of a network of uint8 bands, without a file."""
    bands = tuple(f"band_{number + 1}" for number in range(network.channels))
    card = ModelCard(
        arch="oracle",
        classes=network.classes,
        bands=BandSpec(bands, "uint8", (1.0,) * len(bands), (0.0,) * len(bands)),
        statistics=network.members[0].normalise.statistics,
        gsd=gsd,
        tile_size=64,
    )
    return Checkpoint(Path("oracle"), card)


def use_predictor(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> None:
    """Let commands take a predictor instead of loading the checkpoint that is named."""
    monkeypatch.setattr(Models, "checkpoints", (checkpoint_of(predictor.network),))
    monkeypatch.setattr(Models, "origin", predictor.provenance.model)
    monkeypatch.setattr(PredictionJob, "open_predictor", lambda *_, **__: predictor)
