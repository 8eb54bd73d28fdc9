"""Who watches: the sinks of this context, and the file that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

from mmframe_trace.bar import Bar
from mmframe_trace.events import Event
from mmframe_trace.lines import Lines

VARIABLE = "MMFRAME_TRACE"


class Sink(Protocol):
    """Where events go."""

    def tell(self, fit: str, event: Event) -> None: ...

    def close(self) -> None: ...


_SINKS: ContextVar[tuple[Sink, ...]] = ContextVar("_SINKS", default=())


def watching() -> tuple[Sink, ...]:
    """The sinks that hear of a fit now."""
    named = os.environ.get(VARIABLE)
    return (*_SINKS.get(), *((Lines(Path(named)),) if named else ()))


@contextmanager
def _heard_by(sink: Sink) -> Iterator[None]:
    token = _SINKS.set((*_SINKS.get(), sink))
    try:
        yield
    finally:
        _SINKS.reset(token)
        sink.close()


@contextmanager
def recording(path: str | Path) -> Iterator[None]:
    """Inside it each event of each fit is appended to a file, as a line of JSON. The file need not exist, its folder must.

    Raises nothing for a file that cannot be written: mmframe warns, and the fit goes on.
    """
    with _heard_by(Lines(Path(path))):
        yield


@contextmanager
def showing(bar: Bar | None = None) -> Iterator[None]:
    """Inside it each fit has a line with a bar on standard error."""
    with _heard_by(bar or Bar()):
        yield
