"""GDAL's settings while satseg works: bounded memory, a known number of threads, reads that suit windows."""

from __future__ import annotations

import os
from types import TracebackType

import rasterio
from rasterio.errors import EnvError

CACHE_BYTES = 32 * 2**20


class Environment(rasterio.Env):
    """A context with options for GDAL that an interruption passes through, whenever it comes.

    While a context is left, there is none for a moment. Where Ctrl-C falls into that moment, those around it find
    nothing to leave, and their complaint would take the place of the interruption.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        except EnvError:
            if error is None:
                raise


def gdal_environment(*, threads: int = 1, cache_bytes: int = CACHE_BYTES) -> Environment:
    """Return a context in which GDAL keeps to a block cache and a number of threads.

    GDAL's own default is 5 % of the machine's memory, which on a large node hides that memory grows with the
    scene. What the user has set in the environment about the network stays.

    Args:
        threads: Threads for decoding and encoding compressed blocks.
        cache_bytes: Size of the block cache, shared by all open files.
    """
    network = {name: value for name, value in _NETWORK.items() if name not in os.environ}
    return Environment(GDAL_CACHEMAX=cache_bytes, GDAL_NUM_THREADS=str(threads), **network)


def looking_beside(*, remote: bool) -> Environment:
    """Return a context for opening files: what GDAL looks for beside them.

    Beside remote files nothing, since that takes a request per candidate. Beside local ones, masks, world files and
    statistics are looked for by name: listing a folder of many scenes is slow.
    """
    if "GDAL_DISABLE_READDIR_ON_OPEN" in os.environ:
        return Environment()
    return Environment(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR" if remote else "TRUE")


_NETWORK = {
    "GDAL_HTTP_MAX_RETRY": "4",  # of what may pass: timeouts, 429 and 5xx
    "GDAL_HTTP_RETRY_DELAY": "1",  # seconds, growing with each attempt
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",  # seconds of silence; else a stalled server holds a run for ever
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 * 2**20),  # what GDAL reads ahead is kept until it is used; 16 MB are too few
}
