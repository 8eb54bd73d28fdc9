"""Covariance parameters of a fit under the names that reference cases and SAS listings give them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

import mmframe as mm

Case = dict[str, Any]

# A case's name of a shape parameter: the fit's.
SHAPES = {
    "rho": "rho",
    "phi": "rho",  # of an AR(1) in continuous time
    "phi_per_30_days": "rho",
    "theta": "theta",
    "range": "range",
    "nugget": "nugget",
    "delta": "delta",
}
# SAS orders visits by their first appearance in the data where no CLASS order says otherwise.
SAS_ORDER = {"fev_us_full_reml": [1, 2, 3, 0], "fev_us_int_reml": [1, 2, 3, 0]}


def estimate(fit: mm.FitResult, name: str) -> float:
    return float(fit.parameters.set_index("name")["estimate"][name])


def shape(case: Case, fit: mm.FitResult, name: str) -> float:
    """A shape parameter of the residual, in the case's own terms."""
    if name == "phi" and case["residual"]["structure"] == "arma(1,1)":
        return estimate(fit, "residual.phi")
    value = estimate(fit, f"residual.{SHAPES[name]}")
    return value**30 if name == "phi_per_30_days" else value


def stratum_variances(fit: mm.FitResult, levels: list[str]) -> list[float]:
    """Of each stratum of a variance function, from the ratios of standard deviations to the first."""
    ratios = [1.0, *(estimate(fit, f"residual.ratio[{level}]") for level in levels[1:])]
    return [fit.sigma2 * ratio**2 for ratio in ratios]


def sas_parameter(
    case: Case, fit: mm.FitResult, name: str, stratum: str | None, order: list[int]
) -> tuple[float, float]:
    """A parameter as SAS names it, and the scale on which it is compared; `order` of the visits."""
    at = f"[{stratum}]" if stratum else ""
    if match := re.fullmatch(r"TOEPH\((\d)\)", name):
        return estimate(fit, f"residual.rho[{match[1]}]{at}"), 1.0
    if match := re.fullmatch(r"Rho\((\d)\)", name):
        visits = case["residual"]["time_levels"][int(match[1]) - 1 :][:2]
        return estimate(fit, f"residual.rho[{', '.join(visits)}]{at}"), 1.0
    if name in ("AR(1)", "ARH(1)", "CSH"):
        return estimate(fit, f"residual.rho{at}"), 1.0
    if name.startswith("SP("):
        value = estimate(fit, "residual.range")
        return value, value
    if case["residual"]["time"] is None:
        assert name == "Residual", name
        return fit.sigma2, fit.sigma2
    S = fit.residual_covariance(stratum).to_numpy()[np.ix_(order, order)]
    if match := re.fullmatch(r"(UN|Var|TOEP)\((\d)(?:,(\d))?\)", name):
        i = int(match[2]) - 1
        j = {"UN": int(match[3] or 1) - 1, "Var": i, "TOEP": 0}[match[1]]
        return float(S[i, j]), float(np.sqrt(S[i, i] * S[j, j]))
    assert name in ("CS", "Residual", "Variance"), name
    beside = 0.0 if case["residual"]["structure"] != "compound_symmetry" else float(S[1, 0])
    return (beside if name == "CS" else float(S[0, 0]) - beside), float(S[0, 0])
