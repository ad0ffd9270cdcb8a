"""pyogrio, which reads and writes vector files. All of the package imports it from here.

It loads geopandas and pandas for functions that satseg does not use; until they are needed, they wait.
"""

from __future__ import annotations

from satseg.deferred import put_off

put_off(("geopandas", "pandas"))

import pyogrio  # noqa: E402
from pyogrio.errors import DataLayerError, DataSourceError  # noqa: E402

__all__ = ["DataLayerError", "DataSourceError", "pyogrio"]
