"""The hooks: every event of a fit goes to who watches. mmframe finds this module by its entry point."""

from __future__ import annotations

from contextvars import ContextVar
from uuid import uuid4

from mmframe.api import FitResult, Model, StageOutcome, TraceRow, hookimpl
from mmframe_trace import events
from mmframe_trace.watching import watching

# The fit of this context: fits in several threads, or processes that share a file, are told apart by it.
_FIT: ContextVar[str] = ContextVar("_FIT", default="")


def _tell(event: events.Event) -> None:
    for sink in watching():
        sink.tell(_FIT.get(), event)


@hookimpl
def mmframe_fit_started(model: Model) -> None:
    _FIT.set(uuid4().hex[:12])
    if watching():
        _tell(events.started(model))


@hookimpl
def mmframe_iteration(row: TraceRow) -> None:
    if watching():
        _tell(events.iterated(row))


@hookimpl
def mmframe_stage_finished(name: str, outcome: StageOutcome, value: float) -> None:
    if watching():
        _tell(events.stage_finished(name, outcome, value))


@hookimpl
def mmframe_fit_finished(result: FitResult) -> None:
    if watching():
        _tell(events.finished(result))
