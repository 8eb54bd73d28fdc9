"""statsmodels' class for comparison, its warnings left out of the tests' own; and random models for both."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import statsmodels.regression.mixed_linear_model as sm
from attrs import frozen

import mmframe as mm
from mmframe.compat import statsmodels as ours

Array = np.ndarray
DIETOX = mm.datasets.load("dietox")
SLEEPSTUDY = mm.datasets.load("sleepstudy")


def quietly(call: Any) -> Any:
    """What statsmodels gives, without its warnings of convergence and boundaries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def ready(model: sm.MixedLM, *, reml: bool) -> sm.MixedLM:
    """statsmodels' likelihood methods want what its `fit` sets."""
    model.reml, model.cov_pen, model.fe_pen, model._freepat, model._cov_sing = reml, None, None, None, 0
    return model


@frozen(eq=False)
class Data:
    endog: Array
    exog: Array
    groups: Array
    exog_re: Array
    vc: Any


def random_data(seed: int, *, groups: int = 25, components: bool = True) -> Data:
    """Unbalanced interleaved groups, two random coefficients, components of two columns and of one."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, size=groups)
    g = rng.permutation(np.repeat(np.arange(groups), sizes))
    n = len(g)
    exog = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    exog_re = np.column_stack([np.ones(n), rng.normal(size=n)])
    W = rng.normal(size=(n, 3))
    b, c = rng.normal(size=(groups, 2)), rng.normal(size=(groups, 3))
    endog = exog @ [1.0, 2.0, -1.0] + (exog_re * b[g]).sum(1) + (W * c[g]).sum(1) + rng.normal(size=n)
    vc = None
    if components:
        rows = [np.flatnonzero(g == k) for k in range(groups)]
        names = [[["p", "q"]] * groups, [["r"]] * groups]
        vc = (["a", "b"], names, [[W[r, :2] for r in rows], [W[r, 2:] for r in rows]])
    return Data(endog, exog, g, exog_re, vc)


def pair(data: Data, *, use_sqrt: bool = True, reml: bool = True) -> tuple[ours.MixedLM, sm.MixedLM]:
    """The same model in both packages."""
    mine = None if data.vc is None else ours.VCSpec(*data.vc)
    their = None if data.vc is None else sm.VCSpec(*data.vc)
    one = ours.MixedLM(data.endog, data.exog, data.groups, data.exog_re, mine, use_sqrt=use_sqrt)
    one.reml = reml
    other = sm.MixedLM(data.endog, data.exog, data.groups, data.exog_re, their, use_sqrt=use_sqrt)
    return one, ready(other, reml=reml)


def random_params(
    seed: int, k_fe: int = 3, k_re: int = 2, k_vc: int = 2
) -> tuple[ours.MixedLMParams, sm.MixedLMParams]:
    """The same parameters for both."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k_re, k_re))
    parts = {"fe_params": rng.normal(size=k_fe), "cov_re": root @ root.T, "vcomp": rng.uniform(0.1, 2.0, size=k_vc)}
    return ours.MixedLMParams.from_components(**parts), sm.MixedLMParams.from_components(
        **{k: v.copy() for k, v in parts.items()}
    )


def dense_loglike(model: ours.MixedLM, params: ours.MixedLMParams, scale: float, *, reml: bool) -> float:
    """By the definition, from the whole covariance matrix of endog."""
    n = len(model.endog)
    V = scale * np.eye(n)
    natural = scale * np.asarray(params.cov_re)
    for k, rows in enumerate(model.row_indices.values()):
        if model.k_re:
            Z = model.exog_re[rows]
            V[np.ix_(rows, rows)] += Z @ natural @ Z.T
        for j, mats in enumerate(model.exog_vc.mats):
            Q = mats[k].toarray() if hasattr(mats[k], "toarray") else np.asarray(mats[k])
            V[np.ix_(rows, rows)] += scale * params.vcomp[j] * Q @ Q.T
    e = model.endog - model.exog @ params.fe_params
    inverse = np.linalg.inv(V)
    p = model.k_fe if reml else 0
    value = -0.5 * ((n - p) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + e @ inverse @ e)
    return value - (0.5 * np.linalg.slogdet(model.exog.T @ inverse @ model.exog)[1] if reml else 0.0)
