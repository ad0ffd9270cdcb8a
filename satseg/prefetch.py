"""Prepare what comes next in threads while what is here is used."""

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
    """Map ``make`` over ``items`` in threads, in order, at most ``ahead`` results before they are asked for.

    Args:
        make: Prepares one result; its errors are raised where its result is taken.
        items: What to prepare, finite or not; taken in the thread of the caller.
        workers: Threads.
        ahead: Results that may wait.
        begin: Called first in every thread.

    Yields:
        Results in the order of the items. Closing the generator waits for the threads and drops what is left.
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
    """Run a generator in a thread of its own, at most ``ahead`` items before they are asked for.

    Args:
        items: Generator to run; it is closed in its thread.
        ahead: Items that may wait.

    Yields:
        The items. An error of the generator is raised in their place. Closing this one ends the other.
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
