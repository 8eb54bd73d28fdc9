"""What happens in a fit, as plain values that JSON can hold."""

from __future__ import annotations

import math
from typing import Any

from mmframe.api import FitResult, Model, StageOutcome, TraceRow

Event = dict[str, Any]


def started(model: Model) -> Event:
    return {
        "event": "fit_started",
        "formula": model.spec.formula,
        "random": [term.label for term in model.spec.random],
        "criterion": "reml" if model.spec.reml else "ml",
        "stages": [stage.name for stage in model.stages],
        "rows": model.design.n,
    }


def iterated(row: TraceRow) -> Event:
    return {
        "event": "iteration",
        "stage": row.stage,
        "iteration": row.iteration,
        "evaluations": row.evaluations,
        "value": _finite(row.value),
        "gradient_norm": _finite(row.gradient_norm),
        "seconds": row.seconds,
    }


def stage_finished(name: str, outcome: StageOutcome, value: float) -> Event:
    return {
        "event": "stage_finished",
        "stage": name,
        "reason": outcome.reason.name.lower(),
        "message": outcome.message or outcome.reason.value,
        "value": _finite(value),
    }


def finished(result: FitResult) -> Event:
    return {
        "event": "fit_finished",
        "converged": result.converged,
        "stop_reason": result.stop_reason,
        "loglike": _finite(result.loglike),
        "parameters": {str(n): _finite(v) for n, v in result.parameters.set_index("name")["estimate"].items()},
    }


def _finite(number: float) -> float | None:
    """JSON has no NaN and no infinity: null."""
    return float(number) if math.isfinite(number) else None
