"""GDAL's settings while satseg works: bounded memory, a known number of threads, reads that suit windows."""

from __future__ import annotations

import rasterio

CACHE_BYTES = 32 * 2**20


def gdal_environment(*, threads: int = 1, cache_bytes: int = CACHE_BYTES) -> rasterio.Env:
    """Return a context in which GDAL keeps to a block cache and a number of threads.

    GDAL's own default is 5 % of the machine's memory, which on a large node hides that memory grows with the
    scene.

    Args:
        threads: Threads for decoding and encoding compressed blocks.
        cache_bytes: Size of the block cache, shared by all open files.
    """
    return rasterio.Env(
        GDAL_CACHEMAX=cache_bytes,
        GDAL_NUM_THREADS=str(threads),
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",  # else a remote folder is listed for every scene
        CPL_VSIL_CURL_ALLOWED_EXTENSIONS="",
        GDAL_HTTP_MULTIPLEX="YES",
        VSI_CACHE=True,
    )
