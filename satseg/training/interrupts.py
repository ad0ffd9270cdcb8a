"""Defer signals, so that training is interrupted between steps and never within one."""

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
    """Defer Ctrl-C (and SIGTERM, if Python handles it) until the block ends.

    Yields the list of signals deferred so far. A run could not be resumed exactly from half updated weights, or from
    batch norms that have seen one batch more than the weights. Does nothing outside the main thread, because Python
    delivers signals only there.

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
