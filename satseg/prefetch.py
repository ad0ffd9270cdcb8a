"""Prepare what comes next in threads while what is here is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    make: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Generator[Result, None, None]:
    """Map ``make`` over ``items`` in threads, in order, at most ``ahead`` results before they are asked for.

    Args:
        make: Prepares one result; its errors are raised where its result is taken.
        items: What to prepare, finite or not.
        workers: Threads.
        ahead: Results that may wait.

    Yields:
        Results in the order of the items. Closing the generator waits for the threads and drops what is left.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="satseg-read") as pool:
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
