"""MixedLM: the class of statsmodels as a face of the framework."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmframe.compat.building import results_of
from mmframe.compat.distribution import Distribution
from mmframe.compat.formulas import from_formula, functions_of
from mmframe.compat.grouped import GroupedModel
from mmframe.compat.inputs import from_arrays
from mmframe.compat.likelihood import Likelihood
from mmframe.compat.notices import ConvergenceWarning, SingularMatrixWarning
from mmframe.compat.params import MixedLMParams, as_params
from mmframe.compat.regularized import fit_l1
from mmframe.compat.results import MixedLMResults
from mmframe.compat.schedule import FIT_OPTIONS, default_start, penalized, prepared, stages_of
from mmframe.covariance.domain import Array

_KEYWORDS = ("missing_idx", "model_spec", "formula", "vcomp")
SINGULAR = "The random effects covariance is singular: the MLE is on the boundary of the parameter space."


class MixedLM(GroupedModel):
    """A linear mixed-effects model for groups that are independent of each other.

    endog (n,): the response.   exog (n, k_fe): covariates of the mean.   groups (n,): labels.   exog_re (n, k_re): covariates
    with random coefficients; None, where there are no variance components either, for a random intercept.
    exog_vc: variance components, as a VCSpec, or as a dict of dicts {component: {group: design}}.
    use_sqrt: whether the optimiser sees the Cholesky factor of the covariance, or the covariance itself.
    missing: "none" and "raise" refuse missing values, "drop" leaves their rows out.

    Arrays give arrays, pandas objects and formulas give labelled results. Everything is computed by mmframe: `fit(...).mmframe` is
    its FitResult. Raises DataError and SpecError (both are ValueErrors) for what cannot be fitted.
    """

    def __init__(
        self,
        endog: Any,
        exog: Any,
        groups: Any,
        exog_re: Any = None,
        exog_vc: Any = None,
        use_sqrt: bool = True,
        missing: str = "none",
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            if name not in _KEYWORDS:
                raise ValueError(f"argument {name} not permitted for MixedLM initialization")
        if kwargs.get("vcomp") is not None:
            if exog_vc is not None:
                raise ValueError("vcomp and exog_vc: both were given · allowed: exog_vc alone")
            warnings.warn("vcomp is taken as exog_vc, which is the argument's name", FutureWarning, stacklevel=2)
            exog_vc = kwargs["vcomp"]
        elif isinstance(exog_vc, dict):
            warnings.warn("Using deprecated variance components format", FutureWarning, stacklevel=2)
        self._bind(from_arrays(endog, exog, groups, exog_re, exog_vc, missing), use_sqrt)

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        re_formula: str | None = None,
        vc_formula: Mapping[str, str] | None = None,
        subset: Any = None,
        use_sparse: bool = False,
        missing: str = "none",
        *,
        groups: Any = None,
        use_sqrt: bool = True,
        transforms: Mapping[str, Callable[..., Any]] | None = None,
        eval_env: int | None = None,
    ) -> MixedLM:
        """From formulas and a table.

        formula: `y ~ x`.   re_formula: the random coefficients, `1 + x`; None for an intercept, or for none where there are
        variance components.   vc_formula: {component: formula}, each read within each group; `0 + C(classroom)` is an intercept for
        each classroom.   groups: a column's name, or labels (n,).   subset: rows, as `data.loc` takes them.
        use_sparse: whether `exog_vc.mats` are sparse (computation is, where that helps).
        transforms: {name: function} that formulas may call. eval_env=0: the caller's own functions besides; by default, and with −1,
        formulas call none that are not on the allow-list.
        """
        if groups is None:
            raise AttributeError("'groups' is a required keyword argument in MixedLM.from_formula")
        texts = [formula, re_formula or "", *map(str, (vc_formula or {}).values())]
        functions = dict(transforms or {})
        if eval_env is not None and eval_env >= 0:
            functions = {**functions_of(sys._getframe(1 + eval_env), texts), **functions}
        model = cls.__new__(cls)
        inputs = from_formula(formula, data, groups, re_formula, vc_formula, subset, missing, functions)
        model._bind(inputs, use_sqrt, use_sparse)
        return model

    # likelihood

    @property
    def _likelihood(self) -> Likelihood:
        """The criterion as it stands: REML or ML of the last fit, with its penalties."""
        engine = penalized(self.layout, self.fe_pen, self.cov_pen)
        return Likelihood(self.layout, engine, self.reml, self.use_sqrt)

    def loglike(self, params: Any, profile_fe: bool = True) -> float:
        """The log-likelihood, scale profiled; REML or ML as the last fit was (REML before any), minus its penalties.

        params: MixedLMParams, or the packed covariance parameters in the model's parameterization.
        profile_fe: whether slopes stand at their optimum, or where params has them. −inf outside the parameter space.
        """
        return self._likelihood.value(params, profile_fe)

    def score(self, params: Any, profile_fe: bool = True) -> Array:
        """The gradient of `loglike` by the packed parameters (with the slopes first where profile_fe is False); zero for what
        the last fit held."""
        likelihood = self._likelihood
        point = likelihood.read(params)
        if profile_fe:
            point.fe_params, _ = self.get_fe_params(point.cov_re, point.vcomp)
        parts = (self.score_sqrt if self.use_sqrt else self.score_full)(point, calc_fe=not profile_fe)
        if self._free is not None:
            mask = self._free
            loose = (mask.fe_params, np.asarray(mask.cov_re)[mask._ix], mask.vcomp)
            parts = tuple(np.where(np.asarray(m) != 0, part, 0.0) for part, m in zip(parts, loose, strict=True))  # type: ignore[assignment]
        return np.concatenate(parts[1:] if profile_fe else parts)

    def score_full(self, params: Any, calc_fe: bool = True) -> tuple[Array, Array, Array]:
        """The gradient by slopes (zeros where calc_fe is False), the lower triangle of cov_re, and vcomp."""
        return self._likelihood.score(params, calc_fe)

    def score_sqrt(self, params: Any, calc_fe: bool = True) -> tuple[Array, Array, Array]:
        """As `score_full`, by the Cholesky factor of cov_re and the roots of vcomp."""
        return self._likelihood.score_by_root(params, calc_fe)

    def hessian(self, params: Any) -> tuple[Array, bool]:
        """The second derivatives of the log-likelihood (without penalties) by slopes, the lower triangle of cov_re, and vcomp,
        scale profiled; and whether the covariance is singular there. It is exact there too."""
        return self._likelihood.hessian(params)

    def information(self, params: Any) -> Array:
        """The observed information: minus the Hessian."""
        return -self.hessian(params)[0]

    def get_fe_params(self, cov_re: Any, vcomp: Any, tol: float = 1e-10) -> tuple[Array, bool]:
        """Generalised least squares at cov_re and vcomp (both divided by scale): slopes (k_fe,), and whether the covariance is
        singular: an eigenvalue, or a component, below tol. Slopes are right there too. After a penalized fit, its penalty counts."""
        return self._likelihood.slopes(cov_re, vcomp, tol)

    def get_scale(self, fe_params: Any, cov_re: Any, vcomp: Any) -> float:
        """The residual variance that is best for these slopes, with cov_re and vcomp divided by scale."""
        return self._likelihood.scale(fe_params, cov_re, vcomp)

    def predict(self, params: Any, exog: Any = None) -> Array:
        """exog (the model's own by default) times the slopes: the mean, without random effects."""
        slopes = params.fe_params if isinstance(params, MixedLMParams) else np.asarray(params)[: self.k_fe]
        return np.asarray(np.asarray(self._given.exog if exog is None else exog, dtype=float) @ np.asarray(slopes))

    def get_distribution(self, params: Any, scale: float, exog: Any = None) -> Distribution:
        """The distribution of the response at packed parameters (slopes first, covariances divided by scale); `.rvs(n, rng)`
        draws from it."""
        return Distribution(self, params, scale, exog)

    # fits

    def fit(
        self,
        start_params: Any = None,
        reml: bool = True,
        niter_sa: int = 0,
        do_cg: bool = True,
        fe_pen: Any = None,
        cov_pen: Any = None,
        free: MixedLMParams | None = None,
        full_output: bool = False,
        method: Any = None,
        *,
        niter_em: int = 0,
        niter_sd: int | None = None,
        **fit_kwargs: Any,
    ) -> MixedLMResults:
        """Fit the model by ML or REML: EM steps, steps of steepest descent, then an optimiser.

        start_params: MixedLMParams, or packed, with or without the slopes; by default the framework's start (where no optimiser
        follows, no slopes and variances as large as scale).   niter_em, niter_sa (or niter_sd): numbers of EM steps and of steps
        of steepest descent, for which nothing is done by default.   do_cg: whether an optimiser follows.
        method: its name or a list of names, each continuing where the one before stopped; by default Newton's method with exact
        derivatives. All stages of mmframe will do: bfgs, lbfgs, cg, powell, nm, newton, ...
        fe_pen, cov_pen: penalties on the slopes and on cov_re/scale, objects with `func` and `deriv`.
        free: MixedLMParams of ones and zeros: 0 holds a slope, an entry of cov_re/scale or of vcomp/scale where it starts.
        full_output: whether `hist` tells what the stages did.   fit_kwargs: maxiter, gtol or tol (of bfgs, lbfgs, cg), disp; eps,
        maxcor, ftol and maxls are accepted, and have no meaning here.
        """
        options = self._options(fit_kwargs)
        stages = stages_of(niter_em, niter_sa if niter_sd is None else niter_sd, do_cg, method, options)
        shape = self.layout.shape
        start = None if start_params is None else as_params(start_params, shape, self.use_sqrt, "start_params")
        if free is not None:  # a copy: the caller's own may change
            free = as_params(free, shape, False, "free")
        if start is None and not do_cg:
            start = default_start(self.layout)
        model = prepared(
            self.layout, reml=reml, use_sqrt=self.use_sqrt, stages=stages, start=start, free=free,
            fe_pen=fe_pen, cov_pen=cov_pen,
        )  # fmt: skip
        self._fitting(reml, fe_pen, cov_pen, free)
        found = model.fit()
        if options.get("disp"):
            print(found.stop_reason)
        if do_cg and not found.converged:
            warnings.warn(f"MixedLM optimization failed: {found.stop_reason}", ConvergenceWarning, stacklevel=2)
        if found.singular:
            warnings.warn(SINGULAR, SingularMatrixWarning, stacklevel=2)
        return results_of(self, found, reml=reml, free=free, full_output=full_output)

    def fit_regularized(
        self,
        start_params: Any = None,
        method: Any = "l1",
        alpha: Any = 0,
        ceps: float = 1e-4,
        ptol: float = 1e-6,
        maxit: int = 200,
        **fit_kwargs: Any,
    ) -> MixedLMResults:
        """Fit with penalized slopes.

        method: "l1" for the lasso, with cov_re and vcomp relative to scale as the unpenalized fit has them; or a penalty, which
        `fit` takes as fe_pen.   alpha: the weight, one number or one for each slope; of a penalty what multiplies its weights.
        ceps: slopes smaller than this are zero.   ptol, maxit: of the coordinate descent.   fit_kwargs: for `fit`.
        Friedman, Hastie & Tibshirani (2010), Journal of Statistical Software 33(1).
        """
        if isinstance(method, str):
            if method.lower() != "l1":
                raise ValueError(f"method: {method!r} · allowed: 'l1', or a penalty object")
            unpenalized = self.fit(start_params, **fit_kwargs)
            return fit_l1(self, unpenalized, alpha, ceps, ptol, maxit)
        scaled = copy.copy(method)  # the caller's own stays as it was
        scaled.alpha = alpha
        return self.fit(start_params, fe_pen=scaled, **fit_kwargs)

    def _fitting(self, reml: bool, fe_pen: Any, cov_pen: Any, free: MixedLMParams | None) -> None:
        """What `loglike` and `score` refer to after a fit; results do not."""
        self.reml, self.fe_pen, self.cov_pen, self._free = reml, fe_pen, cov_pen, free

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        unused = sorted(set(given) - set(FIT_OPTIONS))
        if unused:
            plural = "s" if len(unused) > 1 else ""
            message = (
                f"Argument{plural} {', '.join(unused)} not used by MixedLM.fit · allowed: {', '.join(FIT_OPTIONS)}"
            )
            warnings.warn(message, FutureWarning, stacklevel=3)
        return {name: value for name, value in given.items() if name in FIT_OPTIONS}
