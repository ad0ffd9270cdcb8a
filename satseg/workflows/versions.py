"""Versions of Python, satseg and its dependencies, for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from satseg.version import __version__

_OTHERS = ("geopandas", "pyarrow", "numba", "scipy", "timm", "lightning-fabric", "ray")


def versions() -> dict[str, str]:
    """Return versions by name, those of the libraries below GDAL, PROJ and CUDA too. Imports most of them."""
    import numpy
    import pyproj
    import rasterio
    import shapely
    import torch

    from satseg.files.ogr import pyogrio

    found = {
        "satseg": __version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "torch": f"{torch.__version__} ({_devices()})",
        "NumPy": numpy.__version__,
        "rasterio": f"{rasterio.__version__} (GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__})",
        "pyogrio": f"{pyogrio.__version__} (GDAL {pyogrio.__gdal_version_string__})",
        "pyproj": f"{pyproj.__version__} (PROJ {pyproj.proj_version_str})",
        "shapely": f"{shapely.__version__} (GEOS {shapely.geos_version_string})",
    }
    return found | {name: _installed(name) for name in _OTHERS}


def _devices() -> str:
    import torch

    if torch.cuda.is_available():
        names = sorted({torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())})
        return f"CUDA {torch.version.cuda}: {torch.cuda.device_count()} x {', '.join(names)}"
    if torch.backends.mps.is_available():
        return "MPS"
    return f"CUDA {torch.version.cuda}, no GPU here" if torch.version.cuda else "without CUDA"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
