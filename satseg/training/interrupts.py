"""Interruptions between steps, never within one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Hold Ctrl-C (and SIGTERM, where Python handles it) back until the block ends, then let it act.

    Gives the block a list of the signals that are held back so far.

    Weights that were half updated, or norms that saw a batch which the weights did not, could not be continued
    from exactly. Outside the main thread, where Python delivers no signals, this does nothing.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed while the block ran.
    """
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    if current_thread() is main_thread():
        handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    pending: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pending.append(number)

    for number in handlers:
        signal.signal(number, remember)
    try:
        yield pending
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if pending:
        handlers[pending[0]](pending[0], None)
