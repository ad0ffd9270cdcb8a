"""Every benchmark runs to its end, at sizes that say nothing about speed, and prints lines of JSON.

Covers ``benchmarks/bench_*.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("benchmarks")
SMALLEST = {
    "bench_alignment": "--arch pspnet --steps 2 --size 64 --batch-size 2 --threads 1",
    "bench_elevation": "--steps 2 --size 64 --batch-size 2",
    "bench_export": "erfnet --size 64 --repeats 1",
    "bench_many_scenes": "--scenes 40 --repeats 1",
    "bench_predict_memory": "--small 600 600 --large 1200 900",
    "bench_predict_objects": "--size 512 --threads 1",
    "bench_predict_onnx": "--size 256 --window 64 --passes 1 --rounds 1",
    "bench_predict_plans": "--minutes 0.05 --windows 256 384",
    "bench_predict_speed": "--size 512 --plain 512 --passes 1 --minutes 0.05",
    "bench_regularize": "--copies 1 --alone 10",
    "bench_start": "--sides 256 --scene-side 256 --repeats 1",
    "bench_step": "--networks erfnet --size 64 --batch-size 2 --repeats 1",
    "bench_threads": "--batch-size 2 --side 256 --repeats 4",
    "bench_tile": "--side 512 --repeats 1 --threads 1 --sides 256 512 --polygons 1000",
    "bench_train": "--size 64 --batch-size 2 --steps 8",
    "bench_vectorize": "--side 256 --simplified-side 256 --command-side 256 --command-simplified-side 256 "
    "--growth-side 512",
}


def test_every_benchmark_has_a_smallest_size() -> None:
    assert sorted(SMALLEST) == sorted(path.stem for path in FOLDER.glob("bench_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_benchmark_runs_to_its_end(name: str) -> None:
    words = [sys.executable, str(FOLDER / f"{name}.py"), *SMALLEST[name].split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    assert all(isinstance(line, dict) for line in lines)
