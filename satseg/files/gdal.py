"""GDAL settings: bounded memory, a known number of threads, and network options."""

from __future__ import annotations

import os
from types import TracebackType

import rasterio
from rasterio.errors import EnvError

CACHE_BYTES = 32 * 2**20


class Environment(rasterio.Env):
    """A context with GDAL options that does not mask Ctrl-C.

    While rasterio leaves a context, there is briefly none. If Ctrl-C arrives at that moment, outer contexts fail to
    leave, and their error would replace the interruption.
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
    """Return a context that limits GDAL's block cache and threads.

    GDAL's default cache is 5 % of the machine's memory, which on a large node hides that memory grows with the scene.
    Network options that the user has set in the environment are kept.

    Args:
        threads: Threads for decoding and encoding compressed blocks.
        cache_bytes: Size of the block cache, shared by all open files.
    """
    network = {name: value for name, value in _NETWORK.items() if name not in os.environ}
    return Environment(GDAL_CACHEMAX=cache_bytes, GDAL_NUM_THREADS=str(threads), **network)


def looking_beside(*, remote: bool) -> Environment:
    """Return a context for opening files that determines how GDAL finds sidecars.

    For remote files it finds none, since that takes a request per candidate. For local files it tests masks, world
    files and statistics by name, since listing a folder of many scenes is slow.
    """
    if "GDAL_DISABLE_READDIR_ON_OPEN" in os.environ:
        return Environment()
    return Environment(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR" if remote else "TRUE")


_NETWORK = {
    "GDAL_HTTP_MAX_RETRY": "4",  # after timeouts, 429 and 5xx
    "GDAL_HTTP_RETRY_DELAY": "1",  # seconds, growing with each attempt
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",  # seconds of silence, after which a stalled transfer is aborted
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 * 2**20),  # of read-ahead; the default of 16 MB is too small
}
