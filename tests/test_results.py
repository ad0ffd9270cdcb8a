"""What functions return can be read, kept and passed on.

Covers ``records/*``.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import satseg
from satseg.results import Result, Size, as_json


@dataclass(frozen=True, repr=False)
class Part(Result):
    name: str
    score: float = math.nan


@dataclass(frozen=True, repr=False)
class Made(Result):
    path: str
    counts: dict[str, int] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    share: float = math.nan
    note: str | None = None


MADE = Made("maps/<b>&.tif", {"road": 1234, "a<b": 2}, (Part("x", 0.5), Part("y")), ((1, 2), (3, 4)), note="n" * 200)


def test_a_record_is_one_short_line() -> None:
    assert repr(Part("x", 1 / 3)) == "Part(name='x', score=0.3333)"
    assert repr(Part("y")) == "Part(name='y', ...)"
    assert repr(MADE) == "Made(path='maps/<b>&.tif', counts={'road': 1234, 'a<b': 2}, parts=[<Part>, <Part>], ...)"
    assert len(repr(MADE)) <= 120


def test_a_record_is_a_table_in_notebooks_with_nothing_taken_for_html() -> None:
    table = MADE._repr_html_()
    assert "<td>path</td><td>maps/&lt;b&gt;&amp;.tif</td>" in table
    assert "<td>a&lt;b</td><td>2</td>" in table
    assert "<tr><th>name</th><th>score</th></tr><tr><td>x</td><td>0.5</td></tr>" in table
    assert "<tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr>" in table
    assert "share" not in table
    assert table.count("<table>") == table.count("</table>") == 4


def test_long_lists_are_cut_in_tables() -> None:
    table = Made("a", parts=tuple(Part(str(number)) for number in range(100)))._repr_html_()
    assert table.count("<tr>") < 50
    assert "and 60 more" in table


def test_plain_values_are_those_of_json() -> None:
    assert MADE.to_dict() == as_json(MADE)
    assert json.loads(json.dumps(MADE.to_dict(), allow_nan=False))["share"] is None
    assert as_json({"a": np.float32(0.5), 2: np.arange(3), "c": np.int64(7)}) == {"a": 0.5, "2": [0, 1, 2], "c": 7}


def test_records_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Part("x", 0.5))) == Part("x", 0.5)


ENDINGS = ("Summary", "Report", "Score", "Info", "Values", "Benchmark")
PUBLIC = [name for name in satseg.__all__ if name.endswith(ENDINGS)]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_records_show_themselves(name: str) -> None:
    kind: Any = getattr(satseg, name)
    assert is_dataclass(kind)
    assert issubclass(kind, Result)
    assert kind.__repr__ is Result.__repr__
    assert all(entry.name in (kind.__doc__ or "") for entry in fields(kind))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "classes.tif"
    profile = {"driver": "GTiff", "width": 20, "height": 20, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=from_origin(5e5, 5e6, 1, 1), **profile) as out:
        out.write(np.eye(20, dtype=np.uint8), 1)
    return path


def test_a_result_is_what_the_command_prints_as_json(classes: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.gpkg"
    words = ["vectorize", str(classes), "-o", str(out), "--json"]
    done = subprocess.run([sys.executable, "-m", "satseg", *words], capture_output=True, text=True, check=True)
    made = satseg.vectorize(classes, output=out)
    assert json.loads(done.stdout) == made.to_dict()
    assert pickle.loads(pickle.dumps(made)) == made
    assert repr(made).startswith(f"VectorSummary(paths=[{str(out)!r}], ")


def test_a_description_shows_itself(classes: Path) -> None:
    found = satseg.info(classes)
    assert repr(found).startswith(f"FileInfo(path={str(classes)!r}, kind='scene', ")
    assert "<td>EPSG:32633</td>" in found._repr_html_()


def test_sizes_are_width_by_height_for_people_and_by_name_in_json() -> None:
    size = Size(height=1200, width=800)
    assert (str(size), as_json([size])) == ("800 x 1,200", [{"width": 800, "height": 1200}])
    assert np.zeros(size).shape == (1200, 800)
