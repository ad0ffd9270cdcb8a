"""Measure a network: reads ``{"arch": ..., "workload": {...}}`` from stdin, and writes lines of JSON to stdout.

Each line is ``{"cost": {...}}``, what is known so far; the last one may be ``{"error": ..., "hint": ...}``, or
``{"out_of_memory": true}``.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

from satseg.backend.memory import is_out_of_memory, take_first
from satseg.errors import SatsegError
from satseg.profiling.cost import Workload, measure_cost

task = json.load(sys.stdin)
answers = sys.stdout


def answer(**content: object) -> None:
    """Write a line that is kept even if this process is killed after it."""
    answers.write(json.dumps(content) + "\n")
    answers.flush()


take_first()
try:
    with redirect_stdout(sys.stderr):
        for cost in measure_cost(task["arch"], Workload(**task["workload"])):
            answer(cost=asdict(cost))
except SatsegError as error:
    answer(error=error.message, hint=error.hint)
except Exception as error:
    if not is_out_of_memory(error):
        raise
    answer(out_of_memory=True)
