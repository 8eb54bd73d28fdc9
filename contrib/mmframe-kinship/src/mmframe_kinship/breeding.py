"""Breeding values with their prediction error variances, reliabilities and accuracies.

The prediction error variance of û is that of Henderson's mixed model equations, in which the fixed effects are estimated too:
PEV = Var(u | y, β) + T Var(β̂) T', with T (m, p) how û moves with the fixed effects that are taken off the data. Column j of T is
the prediction from the j-th column of X as data, with all effects and variances held.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmframe.api import FitResult, Model, Relationship
from mmframe_kinship._reading import shown
from mmframe_kinship.pedigrees import Pedigree

Array = NDArray[np.float64]


def reliability(fit: FitResult, factor: str, *, inbreeding: Pedigree | pd.Series[float] | None = None) -> pd.DataFrame:
    """estimate, pev, std_error, reliability, accuracy of each level's effect, (m, 5), by level.

    pev: the variance of û − u, in units of the data squared; std_error its root.   reliability: 1 − PEV/((1 + F)σ²_a), the squared
    correlation of û and u; accuracy its root. At the variances of the fit, as if known.   inbreeding: F by animal, or the pedigree
    that has it: needed where the fit has the inverse of K. Where it has K, K_ii takes the place of 1 + F.
    One held fit a column of the fixed effects. Raises ValueError: a factor that the fit does not have, or with more than an intercept;
    F missing; a variance of zero. mmframe's StoreError for a saved fit.
    """
    if factor not in fit.random_effects:
        raise ValueError(f"reliability: factor {factor!r} · allowed: {', '.join(map(repr, fit.random_effects))}")
    effects = fit.random_effects[factor]
    if list(effects.columns) != ["Intercept"]:
        raise ValueError(
            f"reliability: {factor!r} has the columns {', '.join(map(repr, effects.columns))} · allowed: a random intercept only"
        )
    variance = float(fit.covariance(factor).to_numpy()[0, 0])
    if not variance > 0.0:
        raise ValueError(f"reliability: the variance of {factor!r} is zero, so there is nothing to predict")
    own = variance * _diagonal(fit, factor, effects.index, inbreeding)
    known = fit.random_effects_cov[factor]
    conditional = np.array([known[level].iat[0, 0] for level in effects.index])
    moved = _moved(fit, factor)
    pev = conditional + np.einsum("ij,jk,ik->i", moved, fit.fixed_effects_cov.to_numpy(), moved)
    share = 1.0 - pev / own
    # rounding may take an animal of which nothing is known below zero
    share = np.where(np.abs(share) < 1e-10, 0.0, share)
    with np.errstate(invalid="ignore"):
        accuracy = np.sqrt(share)
    return pd.DataFrame(
        {
            "estimate": effects["Intercept"],
            "pev": pev,
            "std_error": np.sqrt(pev),
            "reliability": share,
            "accuracy": accuracy,
        },
        index=effects.index,
    )


def _moved(fit: FitResult, factor: str) -> Array:
    """T (m, p): û is linear in what is left of the response after Xβ, so a column of X is added to that, and û taken off. (The column
    alone would be a response that X explains entirely, of which the likelihood is not finite.)"""
    model = Model.of(fit)
    X, offset = model.design.X, model.design.offset
    held = {str(name): float(value) for name, value in fit.starting_values().items()}
    held |= dict.fromkeys(map(str, fit.fixed_effects.index), 0.0)
    own = fit.random_effects[factor]["Intercept"].to_numpy()
    left = (fit.fitted + fit.residuals()).to_numpy() - np.asarray(fit.predict(level="population"))
    out: Array = np.zeros((own.size, X.shape[1]))
    for j, column in enumerate(X.T):
        size = np.sqrt(np.mean(left**2) / np.mean(column**2))
        response = left + size * column + (0.0 if offset is None else offset)
        moved = model.responding(response).holding(held).fit().random_effects[factor]["Intercept"].to_numpy()
        out[:, j] = (moved - own) / size
    return out


def _diagonal(fit: FitResult, factor: str, levels: pd.Index, inbreeding: Pedigree | pd.Series[float] | None) -> Array:
    """K_ii by level."""
    if inbreeding is not None:
        F = inbreeding.inbreeding if isinstance(inbreeding, Pedigree) else inbreeding
        return np.asarray(1.0 + F.to_numpy(dtype=np.float64)[_places(F.index, levels)])
    given = (fit.spec.relationship or {}).get(factor)
    if given is None:
        return np.ones(len(levels))
    if not isinstance(given, (Relationship, pd.DataFrame)) or (isinstance(given, Relationship) and given.inverse):
        raise ValueError(
            f"reliability: the relationship of {factor!r} is an inverse, or a file, which does not show who is inbred"
            " · give inbreeding=, a pedigree or F by animal"
        )
    known = given if isinstance(given, Relationship) else Relationship(given)
    return np.asarray(known.matrix.diagonal())[_places(known.levels, levels)]


def _places(known: pd.Index, levels: pd.Index) -> NDArray[np.intp]:
    """Labels are compared as they are, and then as text, as mmframe does."""
    places = known.get_indexer(levels)
    if np.any(places < 0):
        places = known.map(str).get_indexer(levels.map(str))
    if np.any(places < 0):
        raise ValueError(
            f"reliability: no inbreeding for {int(np.sum(places < 0))} of the levels ({shown(levels[places < 0])})"
            " · give the whole pedigree"
        )
    return np.asarray(places, dtype=np.intp)
