"""Progress events and their callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """Progress of a task.

    Args:
        task: Name of the task, as a short phrase.
        done: Units done so far.
        total: Units in all, or None while unknown.
        unit: Unit that is counted: ``px``, ``step``, ``tile``, ``s``.
        note: Current state in a few words, such as a loss or a score.
    """

    task: str
    done: float
    total: float | None
    unit: str
    note: str = ""


Progress = Callable[[ProgressEvent], None]
"""Callback that receives the progress of a workflow."""


def no_progress(event: ProgressEvent) -> None:
    """Ignore progress, as the default callback."""
