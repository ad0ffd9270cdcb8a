from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_files import write_onnx

from satseg.backend.cores import torch_threads
from satseg.errors import CheckpointError, NetworkError
from satseg.exported.graph import Graph
from satseg.exported.sessions import Sessions


def images(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, side, side)).astype(np.float32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of all sessions that are opened."""
    found: list[Any] = []
    plain = onnxruntime.InferenceSession

    def noting(file: Any, options: Any, **more: Any) -> Any:
        found.append(options)
        return plain(file, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", noting)
    return found


def test_callers_with_one_thread_share_a_session(tmp_path: Path, opened: list[Any]) -> None:
    with torch_threads(1):
        sessions = Sessions(Graph.read(write_onnx(tmp_path / "net.onnx")))
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(sessions.run, [images()] * 8))
    assert all((result == results[0]).all() for result in results)
    assert [options.intra_op_num_threads for options in opened] == [1]


def test_sessions_take_the_threads_of_torch_and_do_not_spin(tmp_path: Path, opened: list[Any]) -> None:
    sessions = Sessions(Graph.read(write_onnx(tmp_path / "net.onnx")))
    with torch_threads(2):
        for _ in range(3):  # one after the other: a session that is idle serves again
            sessions.run(images())
    assert [options.intra_op_num_threads for options in opened] == [1, 2]
    assert {options.get_session_config_entry("session.intra_op.allow_spinning") for options in opened} == {"0"}


def test_images_that_do_not_fit_are_refused_in_one_sentence(tmp_path: Path) -> None:
    sessions = Sessions(Graph.read(write_onnx(tmp_path / "net.onnx", shape=(1, 3, 64, 64))))
    with pytest.raises(
        NetworkError, match=r"net\.onnx does not run on images of 32 x 32 px, 3 bands and a batch of 1: "
    ):
        sessions.run(images(32))


def test_what_onnxruntime_cannot_run_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_onnx(tmp_path / "net.onnx"))
    model.graph.node[1].op_type = "Unheard"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(CheckpointError, match=r"odd\.onnx cannot be run by onnxruntime: .*Unheard"):
        Sessions(Graph.read(tmp_path / "odd.onnx"))
