"""The fit result: a frozen record. Each method is one line that calls a topic's function; there is no mathematics here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.likelihood.effects import Effects
from mmframe.results import (
    anova,
    contrast,
    effects,
    emmeans,
    influence,
    intervals,
    parameters,
    residual,
    simulate,
    summary,
    tables,
)
from mmframe.results.diagnostics import Diagnostics, diagnostics
from mmframe.results.estimates import Estimates
from mmframe.results.predict import encode_rows, predict, put_back
from mmframe.results.source import Source
from mmframe.spec.model import ModelSpec

if TYPE_CHECKING:
    from mmframe.refits.bootstrap import Bootstrap


@frozen(eq=False)
class FitResult:
    """A fitted model. `estimates` are plain numbers; what takes work is computed when it is first asked for.

    spec: what was asked.   source: where effects and tables come from (the fitted model, or a saved file).
    """

    spec: ModelSpec
    estimates: Estimates
    source: Source

    # how well it fits

    @property
    def loglike(self) -> float:
        """The maximised log-likelihood, ML or REML, with all constants (as lme4, nlme and SAS report it)."""
        return self.estimates.loglike

    @property
    def deviance(self) -> float:
        """−2 log L."""
        return -2.0 * self.loglike

    @property
    def aic(self) -> float:
        """−2 log L + 2k, k all parameters, under REML too (lme4's)."""
        return self.deviance + 2 * self.estimates.n_parameters

    @property
    def bic(self) -> float:
        """−2 log L + k log(nobs), k all parameters, under REML too (lme4's)."""
        return self.deviance + math.log(self.nobs) * self.estimates.n_parameters

    @property
    def nobs(self) -> int:
        return self.estimates.nobs

    @property
    def reml(self) -> bool:
        return self.estimates.reml

    # estimates

    @cached_property
    def fixed_effects(self) -> pd.Series:
        """β̂, by generalised least squares."""
        return pd.Series(self.estimates.beta, index=list(self.estimates.columns), name="estimate")

    @cached_property
    def standard_errors(self) -> pd.Series:
        """Roots of the diagonal of (X'V⁻¹X)⁻¹."""
        return pd.Series(
            np.sqrt(np.diag(self.estimates.beta_cov)), index=list(self.estimates.columns), name="std_error"
        )

    @cached_property
    def fixed_effects_cov(self) -> pd.DataFrame:
        names = list(self.estimates.columns)
        return pd.DataFrame(self.estimates.beta_cov, index=names, columns=names)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns of the fixed effects that depend on earlier ones and were left out."""
        return self.estimates.dropped

    @property
    def sigma(self) -> float:
        return math.sqrt(self.estimates.sigma2)

    @property
    def sigma2(self) -> float:
        return self.estimates.sigma2

    def covariance(self, group: str | None = None) -> pd.DataFrame:
        """G of a grouping factor in data units, labelled by the bases; the only factor's where none is named."""
        names = self.estimates.grouping_names
        if group is None and len(names) != 1:
            raise SpecError(Issue("group", "none was named", ", ".join(names) or "(the model has no random effects)"))
        return effects.covariance(self.estimates, names[0] if group is None else group)

    def residual_covariance(self, stratum: Any = None) -> pd.DataFrame:
        """R by point in data units, before weights: of the first stratum, or of a level of `by` (or of `ident`).

        Where variances depend on a covariate it is that at which the variance function is 1.
        Raises SpecError, UnknownNameError.
        """
        return residual.residual_covariance(self.source.residual_tables, stratum)

    def parameters_at(self, confidence: float) -> pd.DataFrame:
        table = self.source.parameter_table
        return parameters.with_intervals(table[table["kind"] != "hidden"].reset_index(drop=True), confidence)

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """name, side, group, kind, row, column, estimate, std_error, lower, upper of every covariance parameter."""
        return self.parameters_at(0.95)

    def starting_values(self) -> dict[str, float]:
        """The covariance parameters by name, as another fit takes them for `start`."""
        table = self.source.parameter_table
        keep = np.isfinite(table["estimate"]) & (table["kind"] != "derived")
        return {str(n): float(v) for n, v in zip(table["name"][keep], table["estimate"][keep], strict=True)}

    # random effects, fitted values, prediction

    @cached_property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """For each grouping factor a table levels x basis of conditional means."""
        return effects.random_effects(self.estimates, self._effects)

    @cached_property
    def random_effects_cov(self) -> dict[str, effects.ConditionalCovariances]:
        """For each grouping factor the conditional covariance by level."""
        return effects.random_effects_cov(self.estimates, self._effects)

    @property
    def _effects(self) -> Effects:
        return self.source.effects

    @cached_property
    def fitted(self) -> pd.Series:
        """Xβ̂ + Zb̂ (+ offset), by the data's index."""
        return pd.Series(self.source.fitted, index=self.source.index, name="fitted")

    def residuals(self, kind: str = "response") -> pd.Series:
        """`response`: y − fitted. `pearson`: that over its standard deviation. `normalized`: without its correlation too,
        L⁻¹ times the residuals of each subject, with LL' their covariance; the same where residuals are independent."""
        if kind not in ("response", "pearson", "normalized"):
            raise SpecError(Issue("residuals", repr(kind), "'response', 'pearson', 'normalized'"))
        source = self.source
        values = source.response - source.fitted if kind == "response" else getattr(source, kind)
        return pd.Series(values, index=self.source.index, name="residual")

    @cached_property
    def _leverage(self) -> Array:
        return influence.leverage(self.source)

    def leverage(self) -> pd.Series:
        """∂ŷ_i/∂y_i of the fitted values at these covariance parameters (lme4's hatvalues), by the data's index.

        Their sum is the effective number of parameters of the mean. Raises SpecError where random effects change within the rows of
        a subject of a residual structure, StoreError for a saved fit.
        """
        return pd.Series(self._leverage, index=self.source.index, name="leverage")

    def cooks_distance(self) -> pd.Series:
        """Cook's distance of each observation by its leverage (lme4's cooks.distance), by the data's index.

        Raises SpecError where subjects of a residual structure have several rows, StoreError for a saved fit.
        """
        found = influence.cooks_distance(self.source, self._leverage)
        return pd.Series(found, index=self.source.index, name="cooks_distance")

    def predict(
        self,
        data: Any = None,
        *,
        level: str = "conditional",
        new_levels: str = "raise",
        interval: str | None = None,
        confidence: float = 0.95,
    ) -> pd.Series | pd.DataFrame:
        """Predictions for the data, or for new data.

        level: "conditional" adds the random effects, and for a new point of a subject what its observed rows say by the
        residual's correlation; "population" does not.   new_levels: "raise", or "population" (no
        random effect).   interval: None (a Series), "confidence" for the mean, "prediction" for a new observation (a
        DataFrame estimate, std_error, lower, upper). Rows with missing values give NaN.
        Raises DataError for levels or categories that were not fitted.
        """
        found = self._effects if level == "conditional" else None
        memory = self.source.memory
        choose = partial(
            predict, memory=memory, level=level, new_levels=new_levels, interval=interval, confidence=confidence
        )
        if data is None:
            return choose(self.source.rows, self.estimates, found)
        conditional = level == "conditional"
        needs_Z = conditional or interval == "prediction"
        further = memory.columns if memory is not None and needs_Z else set()
        encoding, weights = self.source.encoding, self.spec.weights
        rows, kept = encode_rows(
            encoding, self.estimates, data, bases=needs_Z, groups=conditional, weights=weights, further=further
        )
        return put_back(choose(rows, self.estimates, found), kept, data)

    def simulate(self, n: int = 1, seed: int | np.random.Generator | None = None) -> Array:
        """n simulated responses as columns (nobs, n), with new random effects."""
        return simulate.simulate(self.source, n, seed)

    # tables and text

    def coefficients(
        self, df: str = "normal", confidence: float = 0.95, *, information: str | None = None
    ) -> pd.DataFrame:
        """estimate, std_error, df, statistic, p_value, lower, upper of each fixed effect.

        df: "normal" (infinitely many), "residual" (n − p), "satterthwaite", "kenward_roger" (Kenward & Roger 1997, with larger
        standard errors) or "kenward_roger_linear" (the same without second derivatives of Σ). These are equal where Σ is linear in
        variances and covariances; elsewhere only the latter is in this version.   information: what Kenward and Roger's takes for
        the covariance of the covariance parameters, "expected" (as pbkrtest; the default without a residual structure) or
        "observed" (as SAS and mmrm; the default with one). Raises SpecError.
        """
        every = contrast.Hypothesis(
            np.eye(len(self.estimates.columns)), np.zeros(len(self.estimates.columns)), tuple(self.estimates.columns)
        )
        return contrast.table(self, every, df, confidence, information)

    def contrast(
        self,
        hypothesis: Any,
        df: str = "satterthwaite",
        *,
        joint: bool = False,
        confidence: float = 0.95,
        information: str | None = None,
    ) -> pd.DataFrame:
        """Linear contrasts of the fixed effects: each by itself, as `coefficients`; joint: all at once, num_df, den_df, statistic
        (F), p_value.

        hypothesis: a matrix over the coefficients, a DataFrame or a mapping by their names, a pair (matrix, value), or text such as
        `"x - z"`, `"Days = 10"`, `"x = 0, z = 0"`.   df, information: as `coefficients`. Raises SpecError.
        """
        read = contrast.read(hypothesis, self.estimates.columns)
        if joint:
            return contrast.joint(self, read, df, information=information)
        return contrast.table(self, read, df, confidence, information)

    def anova(self, type: int | str = 3, df: str = "satterthwaite", *, information: str | None = None) -> pd.DataFrame:
        """F tests of the terms of the fixed effects: num_df, den_df, statistic, p_value.

        type: 1 (each term after those before it), 2 (after all that do not contain it) or 3 (SAS's: levels with equal weights,
        whatever their coding).   df, information: as `coefficients`. Raises SpecError.
        """
        return anova.anova(self, type, df, information)

    def emmeans(
        self,
        specs: str | Sequence[str],
        df: str = "satterthwaite",
        *,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        contrast: Any = None,
        adjust: str | None = None,
        trend: str | None = None,
        weights: str = "equal",
        confidence: float = 0.95,
        information: str | None = None,
    ) -> pd.DataFrame:
        """Estimated marginal means: the factors, then as `coefficients`; NaN where the data do not determine one.

        specs: a factor, several (`"a * b"` or a list), within others (`"a | b"`, or by=), with a contrast (`"pairwise ~ a"`).
        at: values of covariates (else their means) and levels of factors.   contrast: "pairwise", "revpairwise", "trt.vs.ctrl",
        "eff", "consec", "poly", {name: coefficients} or a matrix; a table with the column `contrast`, a family within each level
        of `by`.   adjust: "none", "tukey" (the default of pairwise), "bonferroni", "holm", "sidak", "mvt".   trend: a covariate,
        for its slopes in place of means.   weights: "equal" or "proportional", of the levels averaged over.   An offset counts
        as zero.   df, information: as `coefficients`. Raises SpecError, UnknownNameError.
        """
        return emmeans.emmeans(
            self, specs, by=by, at=at, contrast=contrast, adjust=adjust, trend=trend, weights=weights,
            df=df, confidence=confidence, information=information,
        )  # fmt: skip

    def conf_int(
        self,
        method: str = "wald",
        confidence: float = 0.95,
        *,
        parameters: Iterable[str] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """lower, upper by name, of the covariance parameters and the fixed effects, or of those that are named.

        method: "wald", or "profile": where the profile of −2 log L by ML is chi-square's quantile above its minimum; with the
        columns lower_at_bound and upper_at_bound, True where the interval ends at the parameter's bound.
        progress: a bar on a terminal. Raises SpecError, UnknownNameError; StoreError for profiles of a saved fit.
        """
        return intervals.conf_int(self, method, confidence, parameters, progress)

    def profile(self, parameter: str, confidence: float = 0.95) -> pd.DataFrame:
        """The profile likelihood of a parameter, all others optimised at each value: value, deviance, zeta (its signed root).

        By ML, also for a fit by REML, as lme4's. Its `attrs` hold the estimate by ML and the interval; `mm.pictures.profile` draws
        it. A covariate of the variance that are fitted values keeps those of the fit. Raises UnknownNameError, SpecError, StoreError.
        """
        from mmframe.refits.profile import profile

        return profile(self, parameter, confidence)

    def bootstrap(
        self,
        n: int = 1000,
        seed: int | None = None,
        *,
        kind: str = "parametric",
        by: str | None = None,
        statistic: Callable[[FitResult], Any] | None = None,
        workers: int | None = None,
        progress: bool = False,
    ) -> Bootstrap:
        """n refits, to responses drawn from the fit or to groups drawn with replacement; the result has `estimates`,
        `standard_errors`, `bias`, `conf_int(method, confidence)`, `failed` and `reasons`.

        kind: "parametric" (new random effects and residuals) or "cases": units that share no random effect and no residual
        subject, or the levels of `by`.   statistic: a function of a FitResult, giving a number or numbers by name; else all
        parameters.   seed: the same seed gives the same numbers, whatever the workers.   workers: processes; None to choose.
        By the fit's own criterion, and by Newton's method. Warns of failed refits (BootstrapWarning). Raises SpecError,
        UnknownNameError; StoreError for a saved fit.
        """
        from mmframe.refits.bootstrap import bootstrap

        return bootstrap(self, n, seed, kind, by, statistic, workers, progress)

    def tidy(self, confidence: float = 0.95) -> pd.DataFrame:
        return tables.tidy(self, confidence)

    def glance(self) -> pd.DataFrame:
        return tables.glance(self)

    def augment(self, *, influence: bool = False) -> pd.DataFrame:
        """A row an observation.   influence: with its leverage and Cook's distance, as `leverage` and `cooks_distance`."""
        return tables.augment(self, influence)

    def summary(self, df: str = "normal", *, information: str | None = None) -> str:
        """Text: the model, how it fits, covariance parameters, fixed effects, its end. df, information: as `coefficients`."""
        return summary.summary(self, df, information)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        state = "converged" if self.converged else "NOT converged"
        return f"<FitResult {self.formula!r}: log-likelihood {self.loglike:.4f}, {state}>"

    @cached_property
    def formula(self) -> str:
        """The model in one line."""
        from mmframe.spec.written import formula_of

        return formula_of(self.spec)

    # what the stages did

    @property
    def converged(self) -> bool:
        """Whether gradient and curvature at the end are those of an optimum (a singular one counts)."""
        return self.estimates.converged

    @property
    def singular(self) -> bool:
        """Whether the optimum is on the boundary: a zero variance, a correlation of ±1."""
        return self.estimates.singular

    @property
    def stop_reason(self) -> str:
        return self.estimates.stop_reason

    @cached_property
    def trace(self) -> pd.DataFrame:
        """stage, iteration, evaluations, value (−2 log L), gradient_norm, seconds."""
        names = ["stage", "iteration", "evaluations", "value", "gradient_norm", "seconds"]
        return pd.DataFrame(list(self.estimates.trace), columns=names)

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """What the fit cost: engine, evaluations by kind, seconds, and the share of each phase."""
        return diagnostics(self.estimates)

    def save(self, path: str | Path) -> Path:
        """Write the fit as one file (JSON and npz in a zip, no pickle); `mmframe.load` reads it."""
        from mmframe.results.store import save

        return save(self, path)
