"""Progress of work on many scenes, told in scenes."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace

from satseg.records import Progress, ProgressEvent


def of_scene(progress: Progress, number: int, scenes: object) -> Progress:
    """Return what takes the progress of one scene among several: a bar that began anew with each would never move.

    Args:
        progress: Told in scenes, and parts of one; in the units of the scene itself where that is alone.
        number: Scenes before it.
        scenes: All of them; of what is no list, nobody knows yet how many there are.
    """
    count = len(scenes) if isinstance(scenes, Sized) else None
    if count == 1:
        return progress

    def tell(event: ProgressEvent) -> None:
        share = min(event.done / event.total, 1.0) if event.total else 0.0
        progress(replace(event, done=number + share, total=count, unit="scene"))

    return tell
