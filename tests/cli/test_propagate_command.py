"""What ``satseg propagate`` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from scene_dates import Dates, write_dates


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Dates:
    return write_dates(tmp_path_factory.mktemp("dates"))


def test_the_table_tells_what_was_kept_and_what_was_left_out(satseg: Callable, dates: Dates, tmp_path: Path) -> None:
    words = ("propagate", dates.labels, "--from", dates.earlier, "--to", dates.later)
    done = satseg(*words, "-o", tmp_path / "labels.tif")
    assert done.code == 0
    rows = [line.split() for line in done.stderr.splitlines()]
    assert [row[0] for row in rows if row and row[0] in ("background", "buildings", "changed,", "without")] == [
        "background",
        "buildings",
        "changed,",
        "without",
    ]
    assert "the ground has moved by -5." in done.stderr
    told = json.loads(satseg(*words, "-o", tmp_path / "again.tif", "--json").stdout)
    assert sum(told["pixels"].values()) + told["changed"] + told["unknown"] == 640 * 640


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("nope.gpkg --from nope.tif --to nada.tif -o l.tif", "nope.tif, nada.tif do not exist"),
        ("l.gpkg --from a.tif -o l.tif", "--to"),
        ("l.gpkg --from a.tif --to b.tif", "--output"),
    ],
)
def test_what_is_missing_is_named(satseg: Callable, words: str, says: str) -> None:
    done = satseg("propagate", *words.split())
    assert done.code in (1, 2)
    assert says in done.stderr
