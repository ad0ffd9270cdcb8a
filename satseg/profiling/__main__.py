"""Measure a network: reads ``{"arch": ..., "workload": {...}}`` from stdin, writes its cost or an error as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

from satseg.errors import SatsegError
from satseg.profiling.cost import Workload, measure_cost

task = json.load(sys.stdin)
answer: dict[str, object]
try:
    with redirect_stdout(sys.stderr):
        answer = {"cost": asdict(measure_cost(task["arch"], Workload(**task["workload"])))}
except SatsegError as error:
    answer = {"error": error.message, "hint": error.hint}
json.dump(answer, sys.stdout)
