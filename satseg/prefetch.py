"""Prepare the next items in threads while the current one is used."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    make: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    begin: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:
    """Map ``make`` over ``items`` in threads, in order, with at most ``ahead`` results waiting.

    Args:
        make: Computes one result; its errors are raised when the result is requested.
        items: Items, finite or infinite, iterated in the thread of the caller.
        workers: Number of threads.
        ahead: Number of results computed in advance.
        begin: Called first in every thread.

    Yields:
        Results in the order of the items. Closing the generator waits for the threads and discards the rest.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="satseg", initializer=begin) as pool:
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


def run_ahead(items: Generator[Item, None, None], *, ahead: int) -> Generator[Item, None, None]:
    """Run a generator in its own thread, with at most ``ahead`` items waiting.

    Args:
        items: Generator to run; it is closed in that thread.
        ahead: Number of items computed in advance.

    Yields:
        The items. An error of the generator is raised in the caller. Closing this generator also closes ``items``.
    """
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(ahead)
    stopped = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    break
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)
        finally:
            items.close()

    thread = threading.Thread(target=run, name="satseg-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item without error
    finally:
        stopped.set()
        thread.join()
