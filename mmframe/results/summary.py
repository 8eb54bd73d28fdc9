"""The printed summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmframe.spec.written import term_text, variance_text

if TYPE_CHECKING:
    from mmframe.results.result import FitResult


LAWS = {
    "normal": "Wald, normal",
    "residual": "t, n - p degrees of freedom",
    "between_within": "t, degrees of freedom between and within groups",
    "containment": "t, degrees of freedom by containment",
    "satterthwaite": "t, Satterthwaite's degrees of freedom",
    "kenward_roger": "t, Kenward and Roger's errors and degrees of freedom",
    "kenward_roger_linear": "t, Kenward and Roger's errors and degrees of freedom, without second derivatives",
}


def summary(fit: FitResult, df: str = "normal", information: str | None = None) -> str:
    """Text: the model, how it fits, covariance parameters, fixed effects, and how the fit ended."""
    e = fit.estimates
    effects = fit.coefficients(df, information=information)
    if df == "normal":
        effects = effects.drop(columns="df")
    criterion = "REML" if e.reml else "ML"
    lines = [
        "Linear mixed-effects model",
        f"  formula      {fit.formula}",
        f"  criterion    {criterion} (engine {e.engine})",
        f"  data         {e.nobs} rows" + (f", {e.n_missing} more dropped for missing values" if e.n_missing else ""),
    ]
    for name, levels in zip(e.grouping_names, e.grouping_levels, strict=True):
        related = " (related)" if name in fit.spec.relationship else ""
        lines.append(f"  groups       {name}: {len(levels)} levels{related}")
    if fit.spec.residual is not None:
        lines.append(f"  residual     {term_text(fit.spec.residual)}")
    if fit.spec.variance:
        lines.append(f"  variance     {variance_text(fit.spec)}")
    if e.dropped:
        lines.append(f"  dropped      {', '.join(e.dropped)} (depend on the columns before them)")
    lines += [
        "",
        f"  log-likelihood {fit.loglike:.4f}   deviance {fit.deviance:.4f}   AIC {fit.aic:.4f}   BIC {fit.bic:.4f}",
        "",
        "Covariance parameters",
        _table(fit.parameters[["name", "estimate", "std_error", "lower", "upper"]].set_index("name")),
        "",
        f"Fixed effects ({LAWS[df]})",
        _table(effects) if len(e.columns) else "  (none)",
        *(
            ["  (a singular fit: what is at a bound is taken as known)"]
            if e.singular and df not in ("normal", "residual")
            else []
        ),
        "",
        f"  {'converged' if e.converged else 'NOT CONVERGED'}: {e.stop_reason}",
        f"  {fit.diagnostics.line}",
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "" if np.isnan(value) else str(value)
    return f"{value:.5g}" if 1e-4 <= abs(value) < 1e7 or value == 0 else f"{value:.3e}"


def _table(frame: pd.DataFrame) -> str:
    shown = frame.astype(object).map(lambda v: _number(float(v)))
    if "p_value" in frame:
        shown["p_value"] = [("<1e-16" if p < 1e-16 else f"{p:.3g}") for p in frame["p_value"]]
    shown.index.name = None
    text = shown.to_string(justify="right")
    return "\n".join("  " + line for line in text.splitlines())
