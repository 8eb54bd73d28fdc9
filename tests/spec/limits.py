"""A clock for hostile input: what runs longer than the limit is stopped, and fails its test."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest


class OutOfTimeError(BaseException):
    """Not an Exception, so that nothing on the way swallows it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails the test where the body takes longer than `seconds` (main thread only)."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    previous = signal.signal(signal.SIGALRM, stop)
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except OutOfTimeError:
        pytest.fail(f"it did not end within {seconds} s")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert time.perf_counter() - started < seconds
