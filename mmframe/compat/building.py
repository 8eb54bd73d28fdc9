"""From what the framework found to results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mmframe.compat.params import MixedLMParams
from mmframe.compat.results import MixedLMResults, State
from mmframe.covariance.domain import Array
from mmframe.likelihood.penalty import PenalizedEngine, Penalty
from mmframe.optimize.found import Found
from mmframe.results.result import FitResult
from mmframe.results.source import FittedSource

if TYPE_CHECKING:
    from mmframe.compat.mixedlm import MixedLM


def results_of(
    model: MixedLM, fit: FitResult, *, reml: bool, free: MixedLMParams | None, full_output: bool
) -> MixedLMResults:
    """The results of a fit."""
    layout = model.layout
    source = fit.source
    assert isinstance(source, FittedSource)
    point = source.found.point
    params = layout.params(fit.estimates.beta, point.flats, point.sigma2)
    penalized = model.fe_pen is not None or model.cov_pen is not None
    hist = history(source.found, model.nobs) if full_output else None
    state = State(params, point.sigma2, fit.loglike, reml, fit.converged, free, hist, penalized)
    return MixedLMResults(model, state, fit)


def history(found: Found, nobs: int) -> list[dict[str, Any]]:
    """For each stage: fopt (−llf / nobs at its end), iterations, fcalls and gcalls up to there, values (llf) by iteration."""
    out: list[dict[str, Any]] = []
    for name in dict.fromkeys(row.stage for row in found.trace[1:]):  # the first is the start
        rows = [row for row in found.trace if row.stage == name]
        out.append(
            {
                "stage": name,
                "fopt": 0.5 * rows[-1].value / nobs,
                "iterations": len(rows),
                "fcalls": rows[-1].evaluations,
                "gcalls": rows[-1].evaluations,
                "values": [-0.5 * row.value for row in rows],
                "converged": found.converged,
                "warnflag": 0 if found.converged else 1,
            }
        )
    return out


def at_slopes(
    model: MixedLM, unpenalized: MixedLMResults, slopes: Array, used: Array, penalty: Penalty
) -> MixedLMResults:
    """The results with other slopes, at the same covariances relative to scale. used: the slopes that have a sampling error.
    penalty: what they minimise besides, in the engine's order."""
    layout, before = model.layout, unpenalized.params_object
    reml = unpenalized.reml
    source = unpenalized.mmframe.source
    assert isinstance(source, FittedSource)
    params = MixedLMParams.from_components(slopes, np.array(before.cov_re), vcomp=np.array(before.vcomp))
    evaluation = layout.model.engine.evaluate(
        layout.matrices(params), reml=reml, score=True, beta=layout.inward(slopes)
    )
    assert evaluation is not None
    scale = evaluation.sigma2
    flats = tuple(scale * f for f in layout.flats(params))
    point = evolve(source.found.point, flats=flats, sigma2=scale, value=evaluation.value)
    reason = f"{source.found.reason}; then l1: coordinate descent in the slopes"
    found = evolve(source.found, point=point, evaluation=evaluation, reason=reason)
    engine = PenalizedEngine(layout.model.engine, penalty)
    fit = evolve(layout.model.using(criterion="reml" if reml else "ml"), engine=engine).result(found)
    state = evolve(unpenalized.state, params=params, scale=scale, llf=-0.5 * evaluation.value, slopes=used)
    return MixedLMResults(model, state, fit)
