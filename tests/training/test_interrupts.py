from __future__ import annotations

import os
import signal
from threading import Thread

import pytest

from satseg.training.interrupts import uninterrupted


def test_an_interruption_waits_for_the_end_of_the_block() -> None:
    def work() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]


def test_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="inside"), uninterrupted():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_is_left_alone() -> None:
    def work() -> None:
        with uninterrupted():
            done.append(True)

    done: list[bool] = []
    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_termination_that_python_handles_waits_as_well() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not seen
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
