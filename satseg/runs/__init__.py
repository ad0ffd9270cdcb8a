"""Training runs on disk: settings, log, checkpoints, states and record."""

from __future__ import annotations

from satseg.runs.folder import (
    RUNS,
    Run,
    claim_output,
    newest_begun,
    newest_finished,
    newest_model,
    newest_run,
    next_output,
)

__all__ = [
    "RUNS",
    "Run",
    "claim_output",
    "newest_begun",
    "newest_finished",
    "newest_model",
    "newest_run",
    "next_output",
]
