"""A ``satseg`` for shell scripts in tests that does not import torch again for every command.

Run as a program, this file imports once what the commands need, and then forks for each request. ``warm_satseg``
starts it, and writes a small ``satseg`` script, to be put on ``PATH``, that hands over its words, folder, environment
and three standard streams, and leaves with the exit code that it gets back. ``satseg -c CODE`` runs Python.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps({{"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}})
    socket.send_fds(server, [b"x"], [0, 1, 2])
    server.sendall(request.encode("utf-8", "surrogateescape") + b"\\0")
    sys.exit(int(server.recv(16) or b"70"))
"""


@contextmanager
def warm_satseg(folder: Path) -> Iterator[Path]:
    """Start the server, and yield the folder of the ``satseg`` that stands for it."""
    address = folder / "s"
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "satseg"
    script.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    script.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server.stdout as ready:
        assert ready.readline() == b"ready\n"
    try:
        yield programs
    finally:
        server.kill()
        server.wait()


def within_budget(words: list[str]) -> list[str]:
    """Return a command line that trains as little as the environment says, whatever budget it states."""
    if words[:1] != ["train"]:
        return words
    kept, rest = [], iter(words)
    for word in rest:
        if word in ("--minutes", "--epochs", "--steps"):
            next(rest)
        else:
            kept.append(word)
    steps, size = os.environ.get("SATSEG_TEST_BUDGET", "2 2").split()
    if "--resume" in kept:
        return [*kept, "--steps", str(2 * int(steps)), "--no-pictures"]
    return [*kept, "--steps", steps, "--no-pictures", *([] if "--batch-size" in kept else ["--batch-size", size])]


def _serve(address: str) -> None:
    import geopandas  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import numba  # noqa: F401
    import numpy as np
    import rasterio
    import scipy.ndimage  # noqa: F401
    import torch  # noqa: F401

    import satseg
    from satseg.backend import cores
    from satseg.cli import app  # noqa: F401

    for name in satseg.__all__:
        getattr(satseg, name)
    cores.free_cores = lambda: float(os.cpu_count() or 1)  # not measured: that takes a moment each time
    with tempfile.TemporaryDirectory() as folder:  # loads what numba has compiled, and the drivers of GDAL
        grid = rasterio.transform.from_origin(500_000, 3_000_000, 1, 1)
        path = os.path.join(folder, "classes.tif")
        with rasterio.open(
            path, "w", width=32, height=32, count=1, dtype="uint8", driver="GTiff", crs=32645, transform=grid
        ) as out:
            out.write(np.tri(32, dtype="uint8")[None])
        satseg.vectorize(path, output=path + ".gpkg")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0:
                    server.close()
                    _answer(connection)


def _answer(connection: socket.socket) -> None:
    """Do what one client asks for, and leave the forked process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code: object = 1
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        request = json.loads(b"".join(iter(lambda: connection.recv(1), b"\0")).decode("utf-8", "surrogateescape"))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # New objects for new files: the old ones know the files that the server was started with.
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww")
        )
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        code = _run(request["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        connection.sendall(str(int(code) if isinstance(code, int) else 1).encode())
        os._exit(0)


def _run(words: list[str]) -> object:
    try:
        if words[:1] == ["-c"]:
            exec(compile(words[1], "<page>", "exec"), {"__name__": "__main__"})
            return 0
        from satseg.cli.app import main

        main(within_budget(words))
    except SystemExit as leaving:
        return leaving.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1


if __name__ == "__main__":
    _serve(sys.argv[1])
