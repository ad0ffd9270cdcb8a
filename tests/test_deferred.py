"""Packages that have been put off load when something is asked of them, and are then what they are anyway.

Covers ``files/ogr``.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from satseg.deferred import put_off


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a package, and put it off."""
    (tmp_path / "parcel" / "inner").mkdir(parents=True)
    (tmp_path / "parcel" / "__init__.py").write_text(
        "import parcel\nasked = hasattr(parcel, 'later')\nlater = 1\ncount = globals().get('count', 0) + 1\n"
        "def __getattr__(name):\n    if name == 'made': return name\n    raise AttributeError(name)\n"
    )
    (tmp_path / "parcel" / "inner" / "__init__.py").write_text("from parcel import later\n")
    (tmp_path / "parcel-1.5.dist-info").mkdir()
    (tmp_path / "parcel-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: parcel\nVersion: 1.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("parcel", "parcel.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    put_off(["parcel"])
    yield "parcel"
    for name in ("parcel", "parcel.inner"):
        sys.modules.pop(name, None)


def loaded(name: str) -> bool:
    return "count" in vars(sys.modules[name])


def test_name_file_and_version_do_not_load_it(package: str) -> None:
    import parcel

    assert (parcel.__name__, parcel.__version__) == ("parcel", "1.5")
    assert parcel.__file__.endswith("__init__.py")
    assert not loaded(package)


def test_an_attribute_loads_it_once(package: str) -> None:
    import parcel

    assert (parcel.later, parcel.count, parcel.made) == (1, 1, "made")
    assert type(parcel) is ModuleType
    assert parcel.asked is False  # while it loads, it has what it has come to
    with pytest.raises(AttributeError):
        _ = parcel.missing


def test_a_submodule_loads_it_first(package: str) -> None:
    import parcel.inner

    assert parcel.inner.later == 1
    assert loaded(package)


def test_threads_meet_it_complete(package: str) -> None:
    import parcel

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append((parcel.later, parcel.count))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(1, 1)] * 8


def test_its_error_reaches_everyone_who_asks(package: str, tmp_path: Path) -> None:
    (tmp_path / "parcel" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    import parcel

    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            _ = parcel.later


def test_what_is_loaded_or_missing_stays_as_it_is(package: str) -> None:
    import parcel

    assert parcel.later == 1
    put_off(["parcel", "no_such_package"])
    assert sys.modules["parcel"] is parcel
    assert "no_such_package" not in sys.modules


HEAVY = (
    "geopandas.array",
    "matplotlib",
    "pandas.core",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.sparse",
    "timm",
    "torch",
)


@pytest.mark.parametrize("words", [["--version"], ["info", "map.tif"], ["vectorize", "map.tif", "-o", "map.gpkg"]])
def test_small_commands_load_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, numpy, rasterio\n"
        "from rasterio.transform import from_origin\n"
        "grid = dict(crs='EPSG:32633', transform=from_origin(5e5, 5e6, 1, 1), width=32, height=32)\n"
        "with rasterio.open('map.tif', 'w', driver='GTiff', count=1, dtype='uint8', **grid) as file:\n"
        "    file.write(numpy.tri(32, dtype='uint8'), 1)\n"
        "from satseg.cli.app import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_kernels_of_others_multiply_matrices_all_the_same() -> None:
    """numba finds BLAS in the compiled module of scipy that satseg puts off."""
    code = (
        "import sys, satseg, numpy, numba\n"
        "assert numba.njit(lambda x: x + 1)(1) == 2\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "assert (numba.njit(lambda a: a @ a)(numpy.eye(2)) == numpy.eye(2)).all()\n"
        "from scipy.linalg import cython_blas, det\n"
        "assert sys.modules['scipy.linalg.cython_blas'] is cython_blas and cython_blas.__file__\n"
        "assert det(numpy.eye(2)) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
