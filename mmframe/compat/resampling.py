"""The parametric bootstrap of a fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mmframe.compat.notices import ConvergenceWarning
from mmframe.compat.schedule import prepared, stages_of
from mmframe.covariance.domain import Array
from mmframe.results.source import FittedSource

if TYPE_CHECKING:
    from mmframe.compat.results import MixedLMResults


def parametric(results: MixedLMResults, nrep: int, method: Any, rng: Any) -> Array:
    """`params` of refits to responses drawn from the fitted model: (nrep, k). Warns of refits that did not converge."""
    if not isinstance(nrep, (int, np.integer)) or isinstance(nrep, bool) or nrep < 1:
        raise ValueError(f"nrep: {nrep!r} · allowed: a number of refits, at least 1")
    model = results.model
    source = rng if isinstance(rng, (np.random.Generator, np.random.RandomState)) else np.random.default_rng(rng)
    law = model.get_distribution(results.params_object.get_packed(use_sqrt=False, has_fe=True), results.scale)
    out, failed = [], 0
    for _ in range(nrep):
        layout = evolve(model.layout, model=model.layout.model.responding(law.rvs(rng=source)))
        fit = prepared(
            layout, reml=results.reml, use_sqrt=results.use_sqrt, stages=stages_of(0, 0, True, method, {}),
            start=results.params_object, free=results.freepat, fe_pen=results.fe_pen, cov_pen=results.cov_pen,
        ).fit()  # fmt: skip
        assert isinstance(fit.source, FittedSource)
        point = fit.source.found.point
        params = layout.params(fit.estimates.beta, point.flats, point.sigma2)
        out.append(params.get_packed(use_sqrt=False, has_fe=True))
        failed += not fit.converged
    if failed:
        warnings.warn(f"bootstrap: {failed} of {nrep} refits did not converge", ConvergenceWarning, stacklevel=3)
    return np.array(out)
