"""MixedLMResults: what a fit found, in the words of statsmodels. Its numbers come from the FitResult and the exact Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen
from scipy.stats import norm

from mmframe.compat import contrasts, resampling, stored
from mmframe.compat.contrasts import ContrastResults, Pairwise, WaldTestResults
from mmframe.compat.effects import by_group
from mmframe.compat.params import MixedLMParams
from mmframe.compat.profiles import profile_variance
from mmframe.compat.sampling import Sampling, sampling
from mmframe.compat.summary import Summary, summarize
from mmframe.covariance.domain import Array
from mmframe.results.result import FitResult

if TYPE_CHECKING:
    from mmframe.compat.mixedlm import MixedLM


@frozen(eq=False)
class State:
    """The numbers of a fit. params: of the profile parameterization.   hist: what the stages did, or None.   penalized: whether the
    criterion had penalties.   slopes (k_fe,): which of them have a sampling error; None for all."""

    params: MixedLMParams
    scale: float
    llf: float
    reml: bool
    converged: bool
    free: MixedLMParams | None = None
    hist: list[dict[str, Any]] | None = None
    penalized: bool = False
    slopes: Any = None


class MixedLMResults:
    """Estimates and what follows from them.

    params, bse, tvalues, pvalues: of the packed parameters of the profile parameterization (covariances divided by scale), slopes
    first.   fe_params, cov_re, vcomp, scale: in the units of the data.   cov_re_unscaled: cov_re / scale.
    mmframe: the FitResult, with all that mmframe knows of the fit.   They carry labels where the data did.
    """

    use_t = False

    def __init__(self, model: MixedLM, state: State, fit: FitResult) -> None:
        self.model, self.mmframe, self.state = model, fit, state
        self.k_fe, self.k_re, self.k_re2, self.k_vc = model.k_fe, model.k_re, model.k_re2, model.k_vc
        self.nobs, self.df_resid = model.nobs, model.df_resid
        self.use_sqrt, self.cov_pen, self.fe_pen = model.use_sqrt, model.cov_pen, model.fe_pen
        self.reml, self.method = state.reml, "REML" if state.reml else "ML"
        self.freepat, self.hist, self.converged = state.free, state.hist, state.converged
        self.params_object, self.scale, self.llf = state.params, state.scale, state.llf
        self.formula = model.formula
        self.k_constant = int(any(name in ("const", "Intercept") for name in model.exog_names))

    # estimates

    @property
    def fe_values(self) -> Array:
        return np.asarray(self.params_object.fe_params)

    @property
    def _names(self) -> list[str]:
        return self.model.data.param_names

    def _named(self, values: Any) -> Any:
        return self.model.data.series(values, self._names)

    @cached_property
    def params(self) -> Any:
        return self._named(self.params_object.get_packed(use_sqrt=False, has_fe=True))

    @cached_property
    def fe_params(self) -> Any:
        """The slopes."""
        return self.model.data.series(self.fe_values.copy(), self.model.data.xnames)

    @cached_property
    def cov_re(self) -> Any:
        """The covariance of the random effects."""
        return self.model.data.frame(self.scale * np.asarray(self.params_object.cov_re), self.model.data.exog_re_names)

    @cached_property
    def cov_re_unscaled(self) -> Any:
        """The covariance of the random effects divided by scale."""
        return self.model.data.frame(np.array(self.params_object.cov_re), self.model.data.exog_re_names)

    @cached_property
    def vcomp(self) -> Array:
        """The variance components."""
        return self.scale * np.asarray(self.params_object.vcomp)

    # errors and tests

    def cov_params(
        self, r_matrix: Any = None, column: Any = None, scale: float | None = None, cov_p: Any = None, other: Any = None
    ) -> Any:
        """The sampling covariance of `params`, of rows of it (`column`), or of linear combinations R cov R' (or R cov other').

        It is the inverse of the observed information of slopes and covariances together; NaN at the boundary, 0 for what is held.
        """
        if column is not None and (r_matrix is not None or other is not None):
            raise ValueError("Column should be specified without other arguments.")
        if other is not None and r_matrix is None:
            raise ValueError("other can only be specified with r_matrix")
        cov = self.sampling.cov if cov_p is None else np.asarray(cov_p, dtype=float)
        if cov_p is None and scale is not None:
            cov = cov * (scale / self.scale)
        if column is not None:
            at = np.asarray(column)
            return cov[at, at] if at.ndim == 0 else cov[np.ix_(at, at)]
        if r_matrix is not None:
            R = np.asarray(r_matrix, dtype=float)
            return R @ cov @ (R if other is None else np.asarray(other, dtype=float)).T
        return self.model.data.frame(cov, self._names)

    @cached_property
    def sampling(self) -> Sampling:
        """The covariance of the parameters, and the standard errors in the units of the data."""
        state = self.state
        return sampling(
            self.model.layout, state.params, state.scale, reml=state.reml, free=state.free, slopes=state.slopes
        )

    @property
    def normalized_cov_params(self) -> Any:
        """`cov_params()` divided by scale."""
        return self.cov_params() / self.scale

    @cached_property
    def _bse(self) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sqrt(np.diag(self.sampling.cov)))

    @cached_property
    def bse(self) -> Any:
        """Standard errors of `params`."""
        return self._named(self._bse)

    @cached_property
    def bse_fe(self) -> Any:
        """Standard errors of the slopes."""
        return self.model.data.series(self._bse[: self.k_fe], self.model.data.xnames)

    @cached_property
    def bse_re(self) -> Any:
        """Standard errors of cov_re, by its lower triangle, and of vcomp, in the units of these (delta method)."""
        return self.model.data.series(self.sampling.natural, self._names[self.k_fe :])

    @cached_property
    def tvalues(self) -> Any:
        with np.errstate(all="ignore"):
            return self._named(np.asarray(self.params) / self._bse)

    @cached_property
    def pvalues(self) -> Any:
        return self._named(2.0 * norm.sf(np.abs(np.asarray(self.tvalues))))

    def conf_int(self, alpha: float = 0.05) -> Any:
        """Wald intervals of `params`, (k, 2)."""
        half = norm.ppf(1.0 - alpha / 2.0) * self._bse
        values = np.asarray(self.params)
        return self.model.data.frame(np.column_stack([values - half, values + half]), self._names, [0, 1])

    @cached_property
    def natural(self) -> tuple[Array, Array]:
        """All parameters in the units of the data, slopes first, and their standard errors."""
        covariances = self.scale * self.params_object.get_packed(use_sqrt=False)
        return np.concatenate([self.fe_values, covariances]), np.concatenate(
            [self._bse[: self.k_fe], self.sampling.natural]
        )

    def t_test(self, r_matrix: Any, use_t: bool | None = None) -> ContrastResults:
        """z tests (t tests with n − k_fe degrees of freedom where use_t) of each row of Rβ = q.

        r_matrix: (rows, k_fe), a pair (R, q), or text such as `x = z, Time = 7`. Raises ValueError for other shapes.
        """
        R, q = contrasts.constraints(r_matrix, self.model.exog_names, (self.k_fe,))
        cov = self.sampling.cov[: self.k_fe, : self.k_fe]
        return contrasts.single(self, R, q, cov, bool(use_t))

    def t_test_pairwise(
        self, term_name: str, method: Any = "hs", alpha: float = 0.05, factor_labels: Sequence[str] | None = None
    ) -> Pairwise:
        """All pairs of levels of a factor of the formula, with p-values adjusted by `method` (hs: Holm-Sidak)."""
        return contrasts.pairwise(self, term_name, method, alpha, factor_labels)

    def _joint(self, r_matrix: Any, cov_p: Any, df: Any, inverse: Any, f: bool) -> ContrastResults:
        names = self._names if isinstance(r_matrix, str) else []
        R, q = contrasts.constraints(r_matrix, names, (self.k_fe, len(self._names)))
        k = R.shape[1]
        cov = self.sampling.cov[:k, :k] if cov_p is None else np.asarray(cov_p, dtype=float)
        used = np.any(R != 0, axis=0)  # what a row leaves out may stand on the boundary
        values = np.asarray(self.params)[:k]
        return contrasts.joint(
            values[used], R[:, used], q, cov[np.ix_(used, used)], self.df_resid if f else None, df, inverse
        )

    def wald_test(
        self, r_matrix: Any, cov_p: Any = None, invcov: Any = None, use_f: bool | None = None, df_constraints: Any = None,
        scalar: bool = True,
    ) -> ContrastResults:  # fmt: skip
        """A chi-square test (F, with n − k_fe denominator degrees of freedom, where use_f) of Rβ = q.

        r_matrix: (rows, k_fe) over the slopes, or over all of `params`; a pair (R, q); or text. scalar: False for the statistic
        as an array (1, 1).
        """
        found = self._joint(r_matrix, cov_p, df_constraints, invcov, bool(use_f))
        if not scalar:
            found.statistic = np.full((1, 1), found.statistic)
        return found

    def f_test(self, r_matrix: Any, cov_p: Any = None, invcov: Any = None) -> ContrastResults:
        """The F test of `wald_test`."""
        return self._joint(r_matrix, cov_p, None, invcov, True)

    def wald_test_terms(
        self, skip_single: bool = False, extra_constraints: Any = None, combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> WaldTestResults:  # fmt: skip
        """A Wald test for each term of the formula."""
        return contrasts.wald_test_terms(self, skip_single, extra_constraints, combine_terms)

    # how well it fits

    @property
    def n_parameters(self) -> int:
        """Free slopes and covariances, and scale."""
        free = self.freepat
        return 1 + (
            len(self._names) if free is None else int(np.count_nonzero(free.get_packed(use_sqrt=False, has_fe=True)))
        )

    @property
    def aic(self) -> float:
        """−2 llf + 2k with k all free parameters, scale among them; under REML too, as lme4's: compare fits with the same exog."""
        return -2.0 * self.llf + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """−2 llf + k log(nobs); see `aic`."""
        return float(-2.0 * self.llf + np.log(self.nobs) * self.n_parameters)

    @property
    def df_modelwc(self) -> int:
        return len(self._names)

    # random effects and rows

    @cached_property
    def random_effects(self) -> dict[Any, pd.Series]:
        """{group: conditional means of its random effects, then of its variance components}."""
        model = self.model
        return by_group(self.mmframe, model.layout, model.data.exog_re_names, model.group_labels)

    @cached_property
    def random_effects_cov(self) -> dict[Any, pd.DataFrame]:
        """{group: conditional covariance of its random effects given the data, slopes held}."""
        model = self.model
        return by_group(self.mmframe, model.layout, model.data.exog_re_names, model.group_labels, self.params_object)

    @cached_property
    def fittedvalues(self) -> Any:
        """exog times the slopes, plus the predicted random effects."""
        return self._rows(self.mmframe.source.fitted)

    @cached_property
    def resid(self) -> Any:
        """endog minus the fitted values."""
        source = self.mmframe.source
        return self._rows(source.response - source.fitted)

    def _rows(self, values: Array) -> Any:
        data = self.model.data
        return pd.Series(values, index=data.row_labels) if data.row_labels is not None else np.asarray(values)

    def predict(self, exog: Any = None, transform: bool = True) -> Any:
        """The mean without random effects, of the model's rows or of new ones.

        exog: data for the formula where the model has one (unless transform is False), else the covariates.
        With random effects, and with intervals: `mmframe.predict`.
        """
        if exog is None:
            return self.model.predict(self.params_object)
        if transform and self.formula is not None:
            found = self.mmframe.predict(exog, level="population")
            assert isinstance(found, pd.Series)
            return found.rename(None)
        matrix = np.asarray(exog, dtype=float)
        if matrix.ndim == 1:
            matrix = matrix[:, None] if self.k_fe == 1 else matrix[None, :]
        values = self.model.predict(self.params_object, matrix)
        return pd.Series(values, index=exog.index) if isinstance(exog, pd.DataFrame) else values

    # more

    def profile_re(
        self, re_ix: int | str, vtype: str = "re", num_low: int = 5, dist_low: float = 1.0, num_high: int = 5,
        dist_high: float = 1.0, **fit_kwargs: Any,
    ) -> Array:  # fmt: skip
        """The profile likelihood of a variance: (num_low + num_high + 1, 2), values and log-likelihoods.

        re_ix: a random effect's place (vtype "re"), or a component's name ("vc").   The grid goes from the estimate − dist_low to the
        estimate + dist_high, in the units of the data; everything else is optimised at each value.
        Raises ValueError for a grid that leaves the parameter space.
        """
        self.model._options(fit_kwargs)
        return profile_variance(self, re_ix, vtype, (num_low, dist_low), (num_high, dist_high))

    def bootstrap(
        self, nrep: int = 100, method: Any = None, disp: int = 0, store: int = 1, rng: Any = None
    ) -> tuple[Array, Array, Array]:
        """A parametric bootstrap: the mean and the standard deviation of `params` over nrep refits, and all of them (nrep, k).

        Responses are drawn from the fitted model with new random effects; rows of one group stay together.
        method: of the refits.   rng: a seed, a Generator or a RandomState.   store: whether `bootstrap_results` keeps them.
        """
        found = resampling.parametric(self, nrep, method, rng)
        if store:
            self.bootstrap_results = found
        return found.mean(axis=0), found.std(axis=0), found

    def summary(
        self, yname: str | None = None, xname_fe: Sequence[str] | None = None, xname_re: Sequence[str] | None = None,
        title: str | None = None, alpha: float = 0.05,
    ) -> Summary:  # fmt: skip
        """The printed summary: estimates in the units of the data."""
        return summarize(self, yname, xname_fe, xname_re, title, alpha)

    def __str__(self) -> str:
        return str(self.summary())

    def save(self, fname: str | Path, remove_data: bool = False) -> None:
        """Write the results as one file without pickle; with the data, unless they are removed. `load` reads it, and `mmframe.load`
        reads its FitResult."""
        if remove_data:
            self.remove_data()
        stored.save(self, fname)

    @classmethod
    def load(cls, fname: str | Path) -> MixedLMResults:
        """Read saved results. Raises StoreError."""
        return stored.load(fname)

    def remove_data(self) -> None:
        """Forget the data, in the model too: estimates, tests and the summary stay."""
        _ = self.sampling
        self.model.remove_data()
        self.mmframe = stored.detached(self.mmframe)
