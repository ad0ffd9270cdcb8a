"""Measure each network in a separate process, so that memory and failures of one do not affect another."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

from satseg.errors import ArchitectureError
from satseg.profiling.cost import Cost, Workload

_KILLED = -9  # by SIGKILL, a name that Windows lacks


def measure_apart(arch: str, workload: Workload) -> Cost:
    """Measure a network in a new process.

    Args:
        arch: Name of a network, or ``path/to/file.py:function``.
        workload: Images and device.

    Returns:
        Its cost; where memory ran out, what was measured before.

    Raises:
        ArchitectureError: The network does not exist, or fails at this workload.
    """
    task = json.dumps({"arch": arch, "workload": asdict(workload)})
    command = [sys.executable, "-m", "satseg.profiling"]
    done = subprocess.run(command, input=task, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    costs = [Cost(**answer["cost"]) for answer in answers if "cost" in answer]
    last = answers[-1] if answers else {}
    if "error" in last:
        raise ArchitectureError(last["error"], hint=last["hint"])
    if costs and (done.returncode == _KILLED or "out_of_memory" in last):
        return replace(costs[-1], out_of_memory="inference" if costs[-1].inference_ms is None else "training")
    if done.returncode:
        raise ArchitectureError(
            f"The network {arch} cannot be measured at {workload.size} px: {_reason(done)}.",
            hint="Try a smaller `size` or `batch_size`.",
        )
    return costs[-1]


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == _KILLED:
        return "its process was killed, which the system does when memory runs out"
    lines = done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}"]
    return lines[-1].rstrip(".")
