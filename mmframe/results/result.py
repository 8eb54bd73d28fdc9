"""The fit result: the record of a fit, with tables and inference. Each method is one line that calls a topic's function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.results import anova, contrast, emmeans, intervals, summary, tables
from mmframe.results.diagnostics import Diagnostics, diagnostics
from mmframe.results.law import How, law_of
from mmframe.results.record import FitRecord
from mmframe.results.robust import Robust

if TYPE_CHECKING:
    from mmframe.refits.bootstrap import Bootstrap


@frozen(eq=False)
class FitResult(FitRecord):
    """A fitted model: what the fit found, and what can be asked of it."""

    # tables and text

    def coefficients(
        self,
        df: str = "normal",
        confidence: float = 0.95,
        *,
        information: str | None = None,
        robust: str | None = None,
        cluster: Any = None,
    ) -> pd.DataFrame:
        """estimate, std_error, df, statistic, p_value, lower, upper of each fixed effect.

        df: "normal" (infinitely many), "residual" (n − p), "between_within" (of nested groups), "containment" (SAS's),
        "satterthwaite", "kenward_roger" (Kenward & Roger 1997, with larger standard errors) or "kenward_roger_linear" (the same
        without second derivatives of Σ).   information: what Kenward and Roger's takes for the covariance of the covariance
        parameters, "expected" (as pbkrtest; the default without a residual structure) or "observed" (as SAS and mmrm; the
        default with one).   robust, cluster: a cluster-robust covariance, as `robust_cov`; with its own Satterthwaite degrees of
        freedom. Raises SpecError, StoreError.
        """
        columns = tuple(self.estimates.columns)
        every = contrast.Hypothesis(np.eye(len(columns)), np.zeros(len(columns)), columns)
        return contrast.table(self, every, law_of(self, How(df, information, robust, cluster)), confidence)

    def contrast(
        self,
        hypothesis: Any,
        df: str = "satterthwaite",
        *,
        joint: bool = False,
        confidence: float = 0.95,
        information: str | None = None,
        robust: str | None = None,
        cluster: Any = None,
    ) -> pd.DataFrame:
        """Linear contrasts of the fixed effects: each by itself, as `coefficients`; joint: all at once, num_df, den_df, statistic
        (F), p_value.

        hypothesis: a matrix over the coefficients, a DataFrame or a mapping by their names, a pair (matrix, value), or text such as
        `"x - z"`, `"Days = 10"`, `"x = 0, z = 0"`.   df, information, robust, cluster: as `coefficients`. Raises SpecError.
        """
        read = contrast.read(hypothesis, self.estimates.columns)
        law = law_of(self, How(df, information, robust, cluster))
        return contrast.joint(self, read, law) if joint else contrast.table(self, read, law, confidence)

    def anova(
        self,
        type: int | str = 3,
        df: str = "satterthwaite",
        *,
        information: str | None = None,
        robust: str | None = None,
        cluster: Any = None,
    ) -> pd.DataFrame:
        """F tests of the terms of the fixed effects: num_df, den_df, statistic, p_value.

        type: 1 (each term after those before it), 2 (after all that do not contain it) or 3 (SAS's: levels with equal weights,
        whatever their coding).   df, information, robust, cluster: as `coefficients`. Raises SpecError.
        """
        return anova.anova(self, type, law_of(self, How(df, information, robust, cluster)))

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
        robust: str | None = None,
        cluster: Any = None,
    ) -> pd.DataFrame:
        """Estimated marginal means: the factors, then as `coefficients`; NaN where the data do not determine one.

        specs: a factor, several (`"a * b"` or a list), within others (`"a | b"`, or by=), with a contrast (`"pairwise ~ a"`).
        at: values of covariates (else their means) and levels of factors.   contrast: "pairwise", "revpairwise", "trt.vs.ctrl",
        "eff", "consec", "poly", {name: coefficients} or a matrix; a table with the column `contrast`, a family within each level
        of `by`.   adjust: "none", "tukey" (the default of pairwise), "bonferroni", "holm", "sidak", "mvt".   trend: a covariate,
        for its slopes in place of means.   weights: "equal" or "proportional", of the levels averaged over.   An offset counts
        as zero.   df, information, robust, cluster: as `coefficients`. Raises SpecError, UnknownNameError.
        """
        law = law_of(self, How(df, information, robust, cluster))
        asked = emmeans.Asked(by, at, contrast, adjust, trend, weights, confidence)
        return emmeans.emmeans(self, specs, asked, law)

    def robust_cov(self, kind: str = "CR2", cluster: Any = None) -> pd.DataFrame:
        """The cluster-robust covariance of the fixed effects, (p, p).

        kind: "CR0" (the sandwich), "CR1", "CR2" (unbiased where the model is right) or "CR3" (near the jackknife).   cluster: a
        grouping factor, a column of the fixed effects or one value a row; None for the units that the model takes as
        independent. Raises SpecError, UnknownNameError; StoreError for a saved fit.
        """
        names = list(self.estimates.columns)
        return pd.DataFrame(Robust.of(self.source, kind, cluster).cov, index=names, columns=names)

    def conf_int(
        self,
        method: str = "wald",
        confidence: float = 0.95,
        *,
        parameters: Iterable[str] | None = None,
        n: int = 1000,
        seed: int | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """lower, upper by name, of the covariance parameters and the fixed effects, or of those that are named.

        method: "wald", or "profile": where the profile of −2 log L by ML is chi-square's quantile above its minimum; with the
        columns lower_at_bound and upper_at_bound, True where the interval ends at the parameter's bound; or "bootstrap": quantiles
        of n parametric refits by `seed` (see `bootstrap`, which has other kinds and intervals).
        progress: a bar on a terminal. Raises SpecError, UnknownNameError; StoreError for profiles of a saved fit.
        """
        return intervals.conf_int(self, method, confidence, parameters, n, seed, progress)

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
