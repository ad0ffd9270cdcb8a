from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from satseg.errors import OutputError
from satseg.mapfile.map_work import MapWork, stored_identity
from satseg.records import MapLayer

LAYERS = {MapLayer.CLASSES: 1, MapLayer.PROBABILITIES: 2}


def work(folder: Path, *, resume: bool = True, **identity: object) -> MapWork:
    return MapWork(folder, {"scene": "a", "plan": (1, 2)} | identity, height=9, width=5, layers=LAYERS, resume=resume)


def cell(value: int, rows: int = 3) -> dict[MapLayer, np.ndarray]:
    return {layer: np.full((bands, rows, 5), value, np.uint8) for layer, bands in LAYERS.items()}


def test_rows_that_were_committed_are_there_after_a_kill(tmp_path: Path) -> None:
    with work(tmp_path / "w") as first:
        first.write(0, 0, cell(1))
        first.commit(3)
        first.write(3, 0, cell(2))
    with work(tmp_path / "w") as again:
        assert again.finished == 3
        assert (again.rasters[MapLayer.CLASSES].read(0, 3) == 1).all()
        again.commit(6)
    with work(tmp_path / "w") as third:
        assert third.finished == 6


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_line_that_was_cut_off_does_not_count(tmp_path: Path, cut: int) -> None:
    with work(tmp_path / "w") as first:
        first.commit(3)
        first.commit(678)
    journal = tmp_path / "w" / "rows.log"
    journal.write_bytes(journal.read_bytes()[:-cut])
    with work(tmp_path / "w") as again:
        assert again.finished == 3
        again.commit(5)
    with work(tmp_path / "w") as third:
        assert third.finished == 5


def test_another_map_is_not_continued(tmp_path: Path) -> None:
    work(tmp_path / "w").close()
    with pytest.raises(OutputError, match=r"its settings was none, now it is 1 \(and scene\)"):
        work(tmp_path / "w", scene="b", settings=1)
    assert stored_identity(tmp_path / "w") == {"scene": "a", "plan": [1, 2]}
    work(tmp_path / "w", resume=False, scene="b").close()
    assert stored_identity(tmp_path / "w") == {"scene": "b", "plan": [1, 2]}


def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    work(tmp_path / "w").remove()
    assert list(tmp_path.iterdir()) == []
