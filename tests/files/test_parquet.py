from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from satseg.files.parquet import read_table


@pytest.mark.parametrize("name", ["a.parquet", "file:b", "memory:%41.parquet", "d[1]*.parquet"])
def test_tables_are_read_by_exactly_their_names(name: str, tmp_path: Path) -> None:
    table = pa.table({"scene": ["a", "b"], "weight": [1.0, 0.5]})
    with (tmp_path / name).open("wb") as file:
        pq.write_table(table, file)
    assert read_table(tmp_path / name).equals(table)
    assert read_table(tmp_path / name, ["weight"]).equals(table.select(["weight"]))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("scene,labels\n")
    with pytest.raises(pa.ArrowInvalid):
        read_table(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "b.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_no_thread_is_left_that_could_outlive_the_process(tmp_path: Path) -> None:
    pq.write_table(pa.table({f"column {number}": list(range(1000)) for number in range(8)}), tmp_path / "a.parquet")
    code = (
        "import sys, psutil\n"
        "from pathlib import Path\n"
        "from satseg.files.parquet import read_table\n"
        "threads = psutil.Process().num_threads\n"
        "before = threads()\n"
        "read_table(Path(sys.argv[1]))\n"
        "assert threads() == before, (before, threads())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.parquet")], check=True)
