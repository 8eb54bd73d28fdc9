"""The record of a fit: how well it fits, its estimates, random effects and predictions. Each method is one line that calls a topic's
function; there is no mathematics here."""

from __future__ import annotations

import math
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.likelihood.effects import Effects
from mmframe.results import effects, influence, parameters, residual, simulate
from mmframe.results.estimates import Estimates
from mmframe.results.predict import encode_rows, predict, put_back
from mmframe.results.source import Source
from mmframe.spec.model import ModelSpec


@frozen(eq=False)
class FitRecord:
    """What was found. `estimates` are plain numbers; what takes work is computed when it is first asked for.

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

    @cached_property
    def parameters_cov(self) -> pd.DataFrame:
        """The asymptotic covariance of the estimates of `parameters`; NaN where there is no standard error."""
        table = self.source.parameter_table
        shown = (table["kind"] != "hidden").to_numpy()
        names = table["name"][shown].to_list()
        return pd.DataFrame(self.source.parameter_cov[np.ix_(shown, shown)], index=names, columns=names)

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
