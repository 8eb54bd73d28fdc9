"""GPBoost, which fits by ML, and by default not with the log-likelihood itself but with a stochastic estimate of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from adapter import Adapter, Fit

if TYPE_CHECKING:
    import numpy as np
    from case import Case


def _parts(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The response and the fixed effects' matrix."""
    from formulaic import model_matrix

    both = model_matrix(case.fixed, case.data)
    return both.lhs.to_numpy(float).ravel(), both.rhs.to_numpy(float)


def _model(case: Case, **options: Any) -> Any:
    import gpboost  # type: ignore[import-untyped]

    return gpboost.GPModel(group_data=case.data[list(case.groups)], likelihood="gaussian", **options)


class GPBoost(Adapter):
    """Independent random intercepts. It has random slopes too, but not their correlations, so they are left out.

    With several grouping factors its default is conjugate gradients, and log-determinants from random vectors.
    """

    name = "gpboost"
    module = "gpboost"

    def unable(self, case: Case) -> str:
        if case.reml:
            return "it has no REML"
        if any(term.basis != "1" for term in case.random):
            return "it has no correlated slopes"
        return super().unable(case)

    def fit(self, case: Case) -> float:
        return self.run(case).loglike

    def run(self, case: Case) -> Fit:
        began = time.perf_counter()
        y, X = _parts(case)
        model = _model(case)
        model.fit(y=y, X=X)
        loglike = -float(model.get_current_neg_log_likelihood())
        seconds = time.perf_counter() - began
        return Fit(seconds, loglike, estimates=(model.get_cov_pars().to_numpy()[0], model.get_coef().to_numpy()[0]))

    def exact(self, case: Case, fit: Fit) -> float:
        """By Cholesky factorisation, at the variances and the coefficients of the fit."""
        y, X = _parts(case)
        variances, coefficients = fit.estimates
        model = _model(case, matrix_inversion_method="cholesky")
        return -float(model.neg_log_likelihood(variances, y - X @ coefficients))
