"""What ``satseg vectorize`` says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_areas_that_nobody_knows_are_left_empty(satseg: Callable, tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "m.png", "w", driver="PNG", width=4, height=4, count=1, dtype="uint8") as mask:
        mask.write(np.eye(4, dtype=np.uint8), 1)
    done = satseg("vectorize", tmp_path / "m.png", "-o", tmp_path / "m.gpkg", "--class-map", "0=background,1=roof")
    assert done.code == 0
    assert [line.split() for line in done.stderr.splitlines() if line.startswith("roof")] == [["roof", "4", "–"]]
