"""The plain engine against the dense one, and against least squares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import mmframe as mm
from mmframe.covariance.domain import Array
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.information import sums
from mmframe.likelihood.plain import PlainEngine
from mmframe.model import Model

SLEEP = mm.datasets.load("sleepstudy").assign(w=np.linspace(0.5, 2.0, 180))


def engines(weights: str | None = "w") -> tuple[PlainEngine, DenseEngine]:
    design = Model.of(mm.fit("Reaction ~ Days", SLEEP, weights=weights)).design
    return PlainEngine.reduce(design), DenseEngine.reduce(design)  # type: ignore[return-value]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("held", [None, 900.0])
@pytest.mark.parametrize("beta", [None, np.array([250.0, 9.0])])
def test_the_definition(reml: bool, held: float | None, beta: Array | None) -> None:
    for ours, dense in (engines(), engines(None)):
        a = ours.evaluate((), reml=reml, score=True, sigma2=held, beta=beta)
        b = dense.evaluate((), reml=reml, score=True, sigma2=held, beta=beta)
        assert a is not None and b is not None
        assert a.value == pytest.approx(b.value, rel=1e-12)
        np.testing.assert_allclose(a.beta, b.beta, rtol=1e-10)
        np.testing.assert_allclose(a.beta_cov, b.beta_cov, rtol=1e-9)
        np.testing.assert_allclose(a.beta_score, b.beta_score, rtol=1e-8, atol=1e-9)
        assert a.sigma2_score == pytest.approx(b.sigma2_score, rel=1e-8, abs=1e-12)
        curved = [e.curvature((), (), reml=reml, sigma2=held, beta=beta) for e in (ours, dense)]
        first, second = (sums(c[0], reml=reml) for c in curved if c is not None)
        for name in ("traces", "quadratics", "linear"):
            np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-9)


def test_parts_merge() -> None:
    design = Model.of(mm.fit("Reaction ~ Days", SLEEP, weights="w")).design
    whole = PlainEngine.reduce(design)
    parts = PlainEngine.reduce(design.take(np.arange(70))).merge(PlainEngine.reduce(design.take(np.arange(70, 180))))
    values = [e.evaluate((), reml=True, score=False) for e in (whole, parts)]
    assert values[0] is not None and values[1] is not None
    assert values[0].value == pytest.approx(values[1].value, rel=1e-12)


def test_least_squares_of_many_rows() -> None:
    """statsmodels 0.15: OLS; more rows than V could be written out for. A random effect is then tested beside it."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=20_000), "g": rng.integers(0, 500, 20_000)})
    data["y"] = data["x"] + 0.1 * rng.normal(size=500)[data["g"]] + rng.normal(size=20_000)
    fit, ols = mm.fit("y ~ x", data), smf.ols("y ~ x", data).fit()
    assert fit.estimates.engine == "plain"
    np.testing.assert_allclose(fit.fixed_effects, ols.params, rtol=1e-10)
    np.testing.assert_allclose(fit.standard_errors, ols.bse, rtol=1e-10)
    np.testing.assert_allclose(fit.coefficients(df="kenward_roger")["p_value"], ols.pvalues, rtol=1e-6)
    ml = mm.fit("y ~ x", data, reml=False)
    assert ml.loglike == pytest.approx(ols.llf, rel=1e-12)
    tested = mm.compare(fit, mm.fit("y ~ x + (1 | g)", data)).iloc[1]
    assert tested["p_boundary"] == pytest.approx(tested["p_value"] / 2, rel=1e-9) and tested["p_value"] < 1e-4
