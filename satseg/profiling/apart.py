"""Measure each network in a separate process, so that memory and failures of one do not affect another."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

from satseg.errors import ArchitectureError
from satseg.profiling.cost import Cost, Workload

_KILLED = -9  # by SIGKILL, a name that Windows lacks


def measure_apart(arch: str, workload: Workload) -> Cost:
    """Measure a network in a new process.

    Args:
        arch: Name of a network, or ``path/to/file.py:function``.
        workload: Images and device.

    Raises:
        ArchitectureError: The network does not exist, or fails at this workload.
    """
    task = json.dumps({"arch": arch, "workload": asdict(workload)})
    command = [sys.executable, "-m", "satseg.profiling"]
    done = subprocess.run(command, input=task, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArchitectureError(
            f"The network {arch} cannot be measured at {workload.size} px: {_reason(done)}.",
            hint="Try a smaller `size` or `batch_size`.",
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ArchitectureError(answer["error"], hint=answer["hint"])
    return Cost(**answer["cost"])


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == _KILLED:
        return "its process was killed, which the system does when memory runs out"
    lines = done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}"]
    return lines[-1].rstrip(".")
