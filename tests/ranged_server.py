"""A web server for tests that answers ranges and keeps a record of them, in a process of its own.

rasterio holds Python's lock in some calls that reach the network, so that a server in a thread would never answer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock
from types import TracebackType

import numpy as np


@dataclass(frozen=True)
class Request:
    """One request: ``GET`` or ``HEAD``, path, and the bytes that were answered."""

    method: str
    path: str
    start: int
    stop: int
    status: int


class RangedServer:
    """Serve a folder on this machine. Use it as a context manager.

    The path ``/fail-2/scene.tif`` is ``scene.tif`` whose first two reads fail with status 503.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self.folder = folder
        self._record = record

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def requests(self) -> list[Request]:
        """Return all requests since the start, or since :meth:`clear`."""
        return [Request(*json.loads(line)) for line in self._record.read_text().splitlines()]

    def clear(self) -> None:
        os.truncate(self._record, 0)

    def times_fetched(self, name: str) -> np.ndarray:
        """Return how many times each byte of a file was sent."""
        times = np.zeros((self.folder / name).stat().st_size, dtype=int)
        for request in self.requests():
            if request.method == "GET" and request.path.endswith(f"/{name}"):
                times[request.start : request.stop] += 1
        return times

    def __enter__(self) -> RangedServer:
        self._record.touch()
        command = [sys.executable, __file__, str(self.folder), str(self._record)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        with self._process.stdout as said:
            self.port = int(said.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering."""
        self._process.terminate()
        self._process.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = RLock()
    failed: dict[str, int] = {}  # noqa: RUF012 - one record for all requests

    def __init__(self, *args: object, folder: Path, record: Path) -> None:
        self._folder, self._record = folder, record
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.split("?")[0]
        fail = re.match(r"/fail-(\d+)(/.*)", path)
        with self.lock:
            failures = self.failed.get(path, 0)
            if fail and with_body and failures < int(fail[1]):
                self.failed[path] = failures + 1
                return self._send(503, b"", (0, 0), 0, with_body=True)
        file = self._folder / (fail[2] if fail else path).lstrip("/")
        if not file.is_file():
            return self._send(404, b"", (0, 0), 0, with_body=with_body)
        size, self._date = file.stat().st_size, file.stat().st_mtime
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(wanted[1]), min(int(wanted[2]) + 1, size)) if wanted else (0, size)
        with file.open("rb") as stream:
            stream.seek(start)
            body = stream.read(stop - start)
        return self._send(206 if wanted else 200, body, (start, stop), size, with_body=with_body)

    def _send(self, status: int, body: bytes, span: tuple[int, int], size: int, *, with_body: bool) -> None:
        with self.lock, self._record.open("a") as record:
            print(json.dumps([self.command, self.path.split("?")[0], *span, status]), file=record)
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if body:
            self.send_header("Last-Modified", formatdate(self._date, usegmt=True))
        if status == 206:
            self.send_header("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{size}")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that have read enough."""


def _serve(folder: str, record: str) -> None:
    handler = partial(_Handler, folder=Path(folder), record=Path(record))
    server = _Server(("127.0.0.1", 0), handler)  # type: ignore[arg-type]
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
