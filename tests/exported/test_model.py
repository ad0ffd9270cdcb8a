from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_files import LIMITS, write_onnx

from satseg.exported.graph import Graph
from satseg.exported.model import Gives, OnnxModel, Taken
from satseg.exported.sessions import Sessions
from satseg.raster.bands import Normaliser
from satseg.records import BandStatistics


def model_of(path: Path, *, batch: int | None = None, window: int | None = None, smallest: int = 1) -> OnnxModel:
    taken = Taken(torch.float32, batch=batch)
    return OnnxModel(Sessions(Graph.read(path)), taken, Gives.PROBABILITIES, 3, window=window, smallest=smallest)


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def expected(given: torch.Tensor) -> torch.Tensor:
    return sum((given[:, 0] > limit).long() for limit in LIMITS)  # type: ignore[return-value]


def test_scores_are_those_of_the_file(tmp_path: Path) -> None:
    given = images(2, 64, 80)
    assert (model_of(write_onnx(tmp_path / "net.onnx"))(given).argmax(1) == expected(given)).all()


@pytest.mark.parametrize(("height", "width"), [(32, 50), (64, 64), (65, 64), (150, 70)])
def test_images_of_any_size_go_through_windows_of_one(height: int, width: int, tmp_path: Path) -> None:
    model = model_of(write_onnx(tmp_path / "net.onnx", shape=("n", 3, 64, 64)), window=64)
    given = images(2, height, width)
    assert (model(given).argmax(1) == expected(given)).all()


def test_images_smaller_than_the_smallest_are_padded(tmp_path: Path) -> None:
    model = model_of(write_onnx(tmp_path / "net.onnx", shape=("n", 3, 64, 64)), smallest=64)
    given = images(1, 33, 20)
    assert (model(given).argmax(1) == expected(given)).all()


@pytest.mark.parametrize(("count", "batch"), [(3, 1), (5, 2), (2, 4)])
def test_files_for_batches_of_one_size_take_others(count: int, batch: int, tmp_path: Path) -> None:
    given = images(count, 64, 64)
    found = model_of(write_onnx(tmp_path / "net.onnx", shape=(batch, 3, 64, 64)), batch=batch)(given)
    assert found.shape == (count, 3, 64, 64)
    assert (found.argmax(1) == expected(given)).all()


def test_softmax_of_scores_are_the_probabilities() -> None:
    shares = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]]).view(2, 3, 1, 1)
    assert torch.allclose(Gives.PROBABILITIES.scores(shares, 3).softmax(1), shares, atol=1e-7)
    one = torch.tensor([0.3, 1.0]).view(2, 1, 1)
    assert torch.allclose(Gives.PROBABILITY.scores(one, 2).softmax(1)[:, 1], one, atol=1e-7)
    assert torch.allclose(Gives.SCORE.scores(one, 2).softmax(1)[:, 1], one.sigmoid(), atol=1e-7)
    vote = Gives.CLASSES.scores(torch.tensor([[[2]]], dtype=torch.uint8), 3).softmax(1)
    assert torch.allclose(vote.flatten(), torch.tensor([0.0, 0.0, 1.0]), atol=1e-30)


def test_nan_stays() -> None:
    assert Gives.PROBABILITIES.scores(torch.full((1, 2, 1, 1), torch.nan), 2).isnan().all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_raw_values_come_back_from_normalised_ones(dtype: str) -> None:
    statistics = BandStatistics(9, (1000.3,), (77.7,), (0.0,), (3000.0,))
    raw = torch.from_numpy(np.arange(0, 250, dtype=dtype).reshape(1, 1, 10, 25))
    normaliser = Normaliser(statistics, torch.device("cpu"))
    found = Taken(torch.float32, normaliser).images(normaliser(raw))
    assert (found - raw.float()).abs().max() < 1e-4


def test_a_valid_value_is_never_what_the_file_takes_for_missing() -> None:
    normaliser = Normaliser(BandStatistics(9, (64.0,), (2.0,), (0.0,), (255.0,)), torch.device("cpu"))  # exact
    found = Taken(torch.float32, normaliser, nodata=60.0).images(normaliser(torch.tensor([60, 61]).view(1, 1, 1, 2)))
    assert 60 < found[0, 0, 0, 0] < 60.0001
    assert found[0, 0, 0, 1] == 61
