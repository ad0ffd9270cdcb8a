"""The waiting of threads is settled before torch is loaded, unless users have done so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from satseg.openmp import wait_briefly

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process in which nothing is set, and torch is not loaded."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # whatever is set below is taken back
        monkeypatch.delenv(name)
    return monkeypatch


def test_both_runtimes_are_told(fresh: pytest.MonkeyPatch) -> None:
    assert wait_briefly()
    assert int(os.environ["GOMP_SPINCOUNT"]) > 0
    assert int(os.environ["KMP_BLOCKTIME"]) > 0
    assert "OMP_WAIT_POLICY" not in os.environ  # which neither would spin with


@pytest.mark.parametrize("name", VARIABLES)
def test_what_users_set_stays_alone(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv(name, "1")
    assert not wait_briefly()
    assert [other for other in VARIABLES if other in os.environ] == [name]


def test_nothing_is_set_once_torch_is_loaded(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "torch", torch)
    assert not wait_briefly()
    assert not any(name in os.environ for name in VARIABLES)


@pytest.mark.skipif("backend: OpenMP" not in torch.__config__.parallel_info(), reason="torch has no OpenMP here")
@pytest.mark.skipif(sys.platform != "linux", reason="the OpenMP of GNU is that of Linux")
@pytest.mark.parametrize(("given", "count"), [({}, "3000"), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_the_openmp_of_torch_takes_it_from_the_package(given: dict[str, str], count: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", "import satseg.backend.device, torch"],
        env=environment | given | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{count}'" in done.stderr
