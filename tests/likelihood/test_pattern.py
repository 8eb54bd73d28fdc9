"""The pattern and the banded engine against the dense oracle, and the oracle's derivatives against differences."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array
from mmframe.likelihood.information import sums
from mmframe.optimize.problem import Problem
from tests.likelihood.residual_models import MODELS, build

pytestmark = pytest.mark.filterwarnings("ignore::mmframe.errors.IdentifiabilityWarning")


def somewhere(model: mm.Model, seed: int = 2) -> Array:
    """Coordinates well inside."""
    rng = np.random.default_rng(seed)
    flats = []
    for term in model.covariance.terms:
        values = {}
        for p in term.params:
            values[p.name] = p.domain.sample(rng)
            if p.start is not None and not p.scale_power and not np.isfinite(getattr(p.domain, "high", 1.0)):
                values[p.name] = p.domain.unflatten(np.full(p.domain.count, p.start * 1.1))
        flats.append(
            np.concatenate([np.atleast_1d(p.domain.flatten(values[p.name])) for p in term.params] or [np.zeros(0)])
        )
    return model.covariance.theta(tuple(flats), 1.3)


def gradient_at(problem: Problem, theta: Array) -> Array:
    return problem.gradient(theta)[1]


# Models whose residual is a Markov chain, or independent, within the levels of at most one factor.
CHAINS = [
    "ar1", "car1 irregular", "ident", "ident x power", "intercept, ar1", "slope, exp", "above: school", "G: ar1", "G: block",
    "G: by",
]  # fmt: skip
CROSSED = [
    "above: school", "nested: school/s", "crossed: item", "crossed: item + s", "crossed: school, item, s, by arm",
    "heterogeneous", "G: kronecker", "G: by",
]  # fmt: skip
EACH = [
    *(("pattern", name) for name in MODELS),
    *(("banded", name) for name in CHAINS),
    *(("bordered", name) for name in CROSSED),
]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("engine", "name"), EACH)
def test_value_gradient_and_hessian_of_the_oracle(engine: str, name: str, reml: bool) -> None:
    fast, slow = (build(name, e, reml=reml) for e in (engine, "dense"))
    theta = somewhere(fast)
    a, b = (Problem(m.engine, m.covariance, reml) for m in (fast, slow))
    (value, gradient), (expected, slope) = a.gradient(theta), b.gradient(theta)
    assert value == pytest.approx(expected, rel=1e-10)
    size = np.max(np.abs(slope))
    np.testing.assert_allclose(gradient, slope, atol=1e-8 * size)
    hessian, curved = a.hessian(theta), b.hessian(theta)
    np.testing.assert_allclose(hessian, curved, atol=1e-7 * np.max(np.abs(curved)))
    by_value = central_differences(lambda v: np.asarray(b.value(v)), theta, np.ones(theta.size))
    np.testing.assert_allclose(slope, by_value, atol=1e-5 * size)
    by_gradient = central_differences(partial(gradient_at, b), theta, np.maximum(np.abs(theta), 1e-3))
    np.testing.assert_allclose(curved, by_gradient, atol=1e-6 * np.max(np.abs(curved)))


@pytest.mark.parametrize(("engine", "name"), EACH)
def test_information_sums_of_the_oracle(engine: str, name: str) -> None:
    """P, Q and T through what does not depend on the basis."""
    found = []
    for one in (engine, "dense"):
        model = build(name, one)
        theta = somewhere(model)
        G, R, sigma2 = model.covariance.matrices(theta)
        dG, dR, _ = model.covariance.tangents(theta)
        answer = model.engine.curvature(G, dG, reml=True, sigma2=sigma2, R=R, R_tangents=dR)
        assert answer is not None
        found.append((sums(answer[0], reml=True), answer[1]))
    (a, at_a), (b, at_b) = found
    for field in ("traces", "quadratics", "linear"):
        x, y = getattr(a, field), getattr(b, field)
        np.testing.assert_allclose(x, y, atol=1e-8 * np.max(np.abs(y)), err_msg=field)
    np.testing.assert_allclose(at_a.beta, at_b.beta, rtol=1e-9)
    np.testing.assert_allclose(at_a.beta_cov, at_b.beta_cov, rtol=1e-8)


@pytest.mark.parametrize(("engine", "name"), [pair for pair in EACH if MODELS[pair[1]][0]])
def test_random_effects_of_the_oracle(engine: str, name: str) -> None:
    fast, slow = (build(name, e) for e in (engine, "dense"))
    theta = somewhere(fast)
    effects = []
    for model in (fast, slow):
        G, R, _ = model.covariance.matrices(theta)
        effects.append(model.engine.effects(model.design, G, np.array([1.0, 0.5, -0.2]), R))
    a, b = effects
    for field in ("b", "cov", "shift"):
        for x, y in zip(getattr(a, field), getattr(b, field), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-9, err_msg=field)
    codes = tuple(g.codes for g in fast.design.groupings)
    Z = tuple(
        np.column_stack([t.Z for t in fast.design.terms if t.grouping == k]) for k in range(len(fast.design.groupings))
    )
    np.testing.assert_allclose(a.variance(codes, Z), b.variance(codes, Z), rtol=1e-8)


@pytest.mark.parametrize("parameterization", ["natural", "profile", "log_cholesky"])
@pytest.mark.parametrize("name", ["us", "intercept, ar1", "G: by"])
def test_one_optimum_in_every_parameterization(name: str, parameterization: str) -> None:
    best = build(name, None).fit()
    other = build(name, None, parameterization=parameterization).fit()
    assert best.converged and other.converged
    assert other.loglike == pytest.approx(best.loglike, abs=1e-6)


def test_rows_in_any_order_are_one_model() -> None:
    """Missing visits go by their label: shuffled rows change nothing."""
    model = build("us", None)
    data = model.design
    order = np.random.default_rng(3).permutation(data.n)
    again = type(model.engine).reduce(data.take(order))
    theta = somewhere(model)
    G, R, _ = model.covariance.matrices(theta)
    by_pattern = dict(zip(map(bytes, _flat(model.engine.residual_index)), R, strict=True))
    moved = tuple(by_pattern[bytes(key)] for key in _flat(again.residual_index))
    a = model.engine.evaluate(G, reml=True, score=False, sigma2=1.0, R=R)
    b = again.evaluate(G, reml=True, score=False, sigma2=1.0, R=moved)
    assert a is not None and b is not None and a.value == pytest.approx(b.value, rel=1e-12)


def _flat(index: tuple[tuple[Array, ...], ...]) -> list[Array]:
    return [np.sort(stack, axis=0) for stratum in index for stack in stratum]


def test_many_subjects_of_a_pattern_are_compressed() -> None:
    """The triangular factor of a pattern's data says what they all say."""
    rng = np.random.default_rng(5)
    m, p = 3, 2
    subject = np.repeat(np.arange(400), m)
    data = {"s": subject, "v": np.tile(np.arange(m), 400), "x": rng.normal(size=400 * m), "y": rng.normal(size=400 * m)}
    builder = mm.ModelBuilder().fixed("y ~ x").residual("us(v | s)")
    fast, slow = builder.build(data), builder.engine("dense").build(data)
    assert sum(len(s.Y) for s in fast.engine.stacks) <= m * (p + 1)  # type: ignore[attr-defined]
    theta = somewhere(fast)
    a, b = (Problem(k.engine, k.covariance, True) for k in (fast, slow))
    assert a.value(theta) == pytest.approx(b.value(theta), rel=1e-11)
    np.testing.assert_allclose(a.hessian(theta), b.hessian(theta), rtol=1e-7, atol=1e-6)


def test_identifiability_is_told() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for random, residual in ((["1 | s"], "cs(visit | s)"), (["1 | s"], "us(visit | s)")):
            builder = mm.ModelBuilder().fixed("y ~ x").residual(residual)
            for term in random:
                builder = builder.random(term)
            from tests.likelihood.residual_models import table

            builder.build(table())
    told = [str(w.message) for w in caught if issubclass(w.category, mm.IdentifiabilityWarning)]
    assert len(told) == 2
    assert all("sd(Intercept | s)" in text and "cannot be told apart" in text for text in told)
