"""Satterthwaite's and Kenward and Roger's inference for each built-in structure, on each side, against the naive dense computations.

The response of each model is drawn from the structure itself, at values inside the domain, so that the estimates are inside too.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.covariance.derivative import flatten_phi
from mmframe.covariance.domain import Array, Box, PositiveDefinite, psd_root, vech
from mmframe.covariance.structure import Param
from mmframe.registry.registry import STRUCTURE, default_registry
from tests.results import test_kenward_roger, test_satterthwaite

HYPOTHESES = test_satterthwaite.HYPOTHESES
VISITS = 4
# A seed at which no estimate is at a bound.
SEEDS = {("const_power", "residual"): 14, ("factor_analytic", "random"): 9}

# What stands before the bar of a term with these structures; the residual's is without `0 +`.
BASES = {
    "known": ("known(0 + item, matrix=K | s)", None),
    "heterogeneous": ("heterogeneous(ar1(0 + visit) | s)", "heterogeneous(ar1(visit) | s)"),
    "reduced_rank": ("reduced_rank(0 + factor(visit) | s)", None),  # never positive definite: random effects only
    "factor_analytic": ("factor_analytic(0 + factor(visit) | s)", "factor_analytic(visit | s)"),
    "variance_component": ("variance_component(1 | s)", None),  # one variance of a residual is sigma itself
    "random_walk": ("random_walk(0 + visit | s)", "sum(random_walk(visit), diag(one) | s)"),
    "const_power": (None, "const_power(v)"),
    "exp": (None, "exp(v)"),
    "fixed": (None, "fixed(v)"),
    "ident": (None, "ident(arm)"),
    "power": (None, "power(v)"),
}
FACTORS = {"compound_symmetry", "diagonal", "unstructured", "heterogeneous_compound_symmetry"}


def cases() -> list[tuple[str, str, str]]:
    """(structure, side, how it is written) of all that are built in."""
    out = []
    for entry in default_registry().of_kind(STRUCTURE):
        name = entry.name.removeprefix("mmframe/")
        basis = "factor(visit)" if name in FACTORS else "t" if name.startswith(("spatial", "matern")) else "visit"
        plain = (f"{name}(0 + {basis} | s)", f"{name}({'visit' if name in FACTORS else basis} | s)")
        for side, text in zip(("random", "residual"), BASES.get(name, plain), strict=True):
            if text is not None:
                out.append((name, side, text))
    return out


@cache
def table(side: str) -> pd.DataFrame:
    """Two rows a visit for random effects, whose variances would not be told from the residual's otherwise; some are missing."""
    rng = np.random.default_rng(11)
    subjects, rows = (18, 2) if side == "random" else (30, 1)
    s, visit = np.repeat(np.arange(subjects), VISITS * rows), np.tile(np.arange(1, VISITS + 1), subjects * rows)
    data = pd.DataFrame({"s": s, "visit": visit, "t": 0.8 * visit + 0.4 * (visit == 3), "one": 1})
    data["arm"] = np.where(s % 3 == 0, "a", "b")
    data["x"], data["v"] = rng.normal(size=s.size), rng.uniform(0.2, 5.0, s.size)
    data["item"] = rng.integers(0, 3, s.size).astype(str)
    data["y"] = rng.normal(size=s.size)
    return data[rng.random(s.size) < 0.85].reset_index(drop=True)


def model_of(name: str, side: str, text: str, engine: str | None = None, **how: Any) -> mm.Model:
    y, data = how.pop("y", None), table(side)
    builder = mm.ModelBuilder().fixed("y ~ x + arm").engine(engine)
    if name == "known":
        K = pd.DataFrame(np.eye(3) + 0.3, index=list("012"), columns=list("012"))
        basis, group = "0 + item", "s"
        builder = builder.random(f"{basis} | {group}", structure={"name": "known", "matrix": K.to_numpy()})
    elif side == "random":
        builder = builder.random(text)
    elif "|" in text:
        builder = builder.residual(text)
    else:
        builder = builder.variance(text)
    return builder.parameterization(how.get("parameterization")).build(data if y is None else data.assign(y=y))


def inside(param: Param) -> Any:
    """A value well inside the domain: unequal variances about 2, correlations about a half."""
    domain = param.domain
    if isinstance(domain, PositiveDefinite):
        d = np.arange(domain.dim)
        sd = 1.0 + 0.2 * d
        return domain.unflatten(vech(np.outer(sd, sd) * 0.5 ** np.abs(d[:, None] - d)))
    assert isinstance(domain, Box)
    shape = 0.2 * np.arange(domain.count)
    if param.scale_power == 2:
        value = 2.0 + shape
    elif param.scale_power == 1:  # loadings
        value = 1.5 - shape
    elif np.isfinite(domain.low) and np.isfinite(domain.high):
        value = domain.low + (domain.high - domain.low) * (0.75 - 0.1 * shape)
    elif np.isfinite(domain.low):
        value = domain.low + (param.start or 1.5) - min(domain.low, 0.0) + shape
    else:
        value = 0.8 + shape
    return domain.unflatten(np.asarray(value, dtype=float) * np.ones(domain.count))


@cache
def drawn(name: str, side: str, text: str) -> Array:
    """A response whose covariance is the model's at those values."""
    model = model_of(name, side, text, "dense")
    covariance, rng = model.covariance, np.random.default_rng(SEEDS.get((name, side), 8))
    flats = tuple(flatten_phi(t.params, {p.name: inside(p) for p in t.params}) for t in covariance.terms)
    G, R = covariance.matrices_at(flats)
    engine = model.engine
    V = np.linalg.inv(engine._inverse(G, R)[0])  # type: ignore[attr-defined]  # with a residual variance of 1 where it is independent
    mean = 1.0 + 0.5 * table(side)["x"].to_numpy()
    return np.asarray(mean + psd_root(V) @ rng.normal(size=(psd_root(V).shape[1])))


@pytest.mark.parametrize(("name", "side", "text"), cases(), ids=lambda value: value if "(" not in value else "")
def test_naive_computations_agree(name: str, side: str, text: str) -> None:
    y = drawn(name, side, text)
    fit = model_of(name, side, text, y=y).fit()
    assert fit.converged and not fit.singular, fit.parameters
    dense = model_of(name, side, text, "dense", y=y, parameterization="natural")
    expected = test_satterthwaite.naive(dense, fit, HYPOTHESES, reml=True)
    np.testing.assert_allclose(fit.contrast(HYPOTHESES)["df"], expected, rtol=1e-5)
    test_kenward_roger.agrees(fit, dense, reml=True)
