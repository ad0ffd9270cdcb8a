"""Run an ONNX file in onnxruntime, on the threads that the caller may use."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from satseg.errors import CheckpointError, NetworkError, one_line
from satseg.exported.graph import Graph

_FATAL = 4  # what else onnxruntime has to say comes as an exception, too


class Sessions:
    """A file in onnxruntime. Several threads may run it at once.

    Each caller computes on as many threads as torch may take in it. A single one needs no others: all callers share a
    session then. Sessions with threads of their own belong to one caller at a time, so that none wait for each other.

    Args:
        graph: What is run.
        content: The file, where something else than what is on disk is run.

    Raises:
        CheckpointError: onnxruntime cannot run it.
    """

    def __init__(self, graph: Graph, content: bytes | None = None) -> None:
        self._graph = graph
        self._content = content
        self._lock = threading.Lock()
        self._alone = self._open(1)
        self._idle: dict[int, list[Any]] = defaultdict(list)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return what comes out, for what goes in.

        Raises:
            NetworkError: It does not run on images of this shape.
        """
        try:
            with self._session(torch.get_num_threads()) as session:
                found: np.ndarray = session.run([self._graph.output.name], {self._graph.input.name: images})[0]
        except Exception as error:  # onnxruntime has no common one
            raise NetworkError(
                f"{self._graph.path} does not run on images of {images.shape[3]} x {images.shape[2]} px, "
                f"{images.shape[1]} bands and a batch of {len(images)}: {one_line(error)}."
            ) from error
        return found

    @contextmanager
    def _session(self, threads: int) -> Iterator[Any]:
        if threads == 1:
            yield self._alone
            return
        with self._lock:
            idle = self._idle[threads]
            session = idle.pop() if idle else None
        session = session or self._open(threads)
        try:
            yield session
        finally:
            with self._lock:
                idle.append(session)

    def _open(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _FATAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # cores are for those that work
        file = str(self._graph.path) if self._content is None else self._content
        try:
            return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"{self._graph.path} cannot be run by onnxruntime: {one_line(error)}.") from error
