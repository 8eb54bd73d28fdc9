"""Each engine against the dense oracle, the oracle against scipy and differences, merging, pooling and conditioning."""

from __future__ import annotations

import attrs
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import vech, vech_basis
from mmframe.covariance.structure import Points
from mmframe.design.design import Design, DesignTerm
from mmframe.design.grouping import Grouping
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.evaluation import Evaluation
from mmframe.likelihood.information import second_derivatives, sums
from mmframe.likelihood.pooled import PooledEngine
from mmframe.likelihood.reduce import LevelStatistics
from mmframe.testing.designs import design_for

Array = np.ndarray


def two_term_design(seed: int, *, weights: bool = False, groups: int = 12) -> Design:
    """An unbalanced design with two terms on one factor: an intercept and slope, and a third column by itself."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, size=groups)
    n = int(sizes.sum())
    codes = rng.permutation(np.repeat(np.arange(groups), sizes))
    x = rng.normal(size=n)
    X = np.asfortranarray(np.column_stack([np.ones(n), x, rng.normal(5.0, 2.0, size=n)]))
    y = X @ [3.0, 1.0, -0.5] + rng.normal(size=groups)[codes] + rng.normal(size=n)
    terms = (
        DesignTerm("x | g", 0, X[:, :2].copy(order="F"), ("1", "x"), Points.unordered(("1", "x"))),
        DesignTerm("0 + z | g", 0, rng.normal(size=(n, 1)), ("z",), Points.unordered(("z",))),
    )
    w = rng.uniform(0.3, 3.0, size=n) if weights else None
    return Design(X, y, ("a", "b", "c"), (), "y", terms, (Grouping("g", codes, pd.RangeIndex(groups)),), w, None,
                  pd.RangeIndex(n), np.arange(n))  # fmt: skip


def some_G(seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2))
    return (root @ root.T, rng.uniform(0.1, 2.0, size=(1, 1)))


DESIGNS = [(seed, weights) for seed in range(4) for weights in (False, True)]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("seed", "weights"), DESIGNS)
def test_oracle_equals_the_normal_density(seed: int, weights: bool, reml: bool) -> None:
    """ML: the density of y; REML: the density of n − p orthonormal contrasts, and the term log|X'X| (Harville 1974)."""
    design, G = two_term_design(seed, weights=weights), some_G(seed)
    found = DenseEngine.reduce(design).evaluate(G, reml=reml, score=False)
    assert found is not None
    codes = design.groupings[0].codes
    w = np.ones(design.n) if design.weights is None else design.weights
    V = np.diag(1 / w) + sum(
        (codes[:, None] == codes) * (t.Z @ g @ t.Z.T) for t, g in zip(design.terms, G, strict=True)
    )
    if reml:
        K = np.linalg.svd(design.X.T)[2][design.p :].T  # K'X = 0
        density = multivariate_normal(np.zeros(K.shape[1]), found.sigma2 * K.T @ V @ K).logpdf(K.T @ design.y)
        density -= 0.5 * np.linalg.slogdet(design.X.T @ design.X)[1]
    else:
        density = multivariate_normal(design.X @ found.beta, found.sigma2 * V).logpdf(design.y)
    assert found.value == pytest.approx(-2 * density, rel=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(("seed", "weights"), DESIGNS)
@pytest.mark.parametrize("held", ["none", "sigma2", "beta", "both"])
def test_pooled_equals_the_oracle(seed: int, weights: bool, reml: bool, held: str) -> None:
    design, G = two_term_design(seed, weights=weights), some_G(seed)
    how = {
        "sigma2": 1.7 if held in ("sigma2", "both") else None,
        "beta": np.array([2.0, 0.5, -0.2]) if held in ("beta", "both") else None,
    }
    fast = PooledEngine.reduce(design).evaluate(G, reml=reml, score=True, **how)
    slow = DenseEngine.reduce(design).evaluate(G, reml=reml, score=True, **how)
    assert fast is not None
    assert slow is not None
    assert fast.value == pytest.approx(slow.value, rel=1e-9)
    for field in attrs.fields(Evaluation):
        for a, b in zip(
            np.atleast_1d(getattr(fast, field.name)) if field.name != "score" else fast.score,
            np.atleast_1d(getattr(slow, field.name)) if field.name != "score" else slow.score,
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8, err_msg=field.name)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sigma2", [None, 1.4])
def test_scores_and_hessian_equal_differences(seed: int, reml: bool, sigma2: float | None) -> None:
    """Along every entry of G (and σ² where it is held), 1e-6 relative, against central differences of the oracle."""
    design, G = two_term_design(seed, weights=True), some_G(seed)
    oracle = DenseEngine.reduce(design)
    sizes = [3, 1]
    free_sigma = [] if sigma2 is None else [sigma2]

    def split(v: Array) -> tuple[tuple[Array, ...], float | None]:
        first, second = v[:3], v[3:4]
        matrices = (np.tensordot(first, vech_basis(2), axes=1), np.tensordot(second, vech_basis(1), axes=1))
        return matrices, None if sigma2 is None else float(v[4])

    def value(v: Array) -> Array:
        g, s2 = split(v)
        found = oracle.evaluate(g, reml=reml, score=False, sigma2=s2)
        assert found is not None
        return np.asarray(found.value)

    def gradient(v: Array, engine: DenseEngine | PooledEngine = oracle) -> Array:
        g, s2 = split(v)
        found = engine.evaluate(g, reml=reml, score=True, sigma2=s2)
        assert found is not None
        parts = [np.tensordot(vech_basis(len(S)), S, axes=2) for S in found.score]
        return np.concatenate([*parts, [found.sigma2_score]] if sigma2 is not None else parts)

    at = np.concatenate([vech(G[0]), vech(G[1]), free_sigma])
    fast = PooledEngine.reduce(design)
    np.testing.assert_allclose(gradient(at, fast), central_differences(value, at), rtol=1e-6, atol=1e-6)
    tangents = tuple(
        np.concatenate(
            [np.zeros((sum(sizes[:k]), q, q)), vech_basis(q), np.zeros((len(at) - sum(sizes[: k + 1]), q, q))]
        )
        for k, q in enumerate((2, 1))
    )
    dsigma2 = np.zeros(len(at))
    if sigma2 is not None:
        dsigma2[-1] = 1.0
    answer = fast.curvature(G, tangents, reml=reml, sigma2=sigma2)
    assert answer is not None
    hessian = second_derivatives(sums(answer[0], reml=reml), answer[0].solution, dsigma2, profiled=sigma2 is None)
    slow = central_differences(gradient, at)
    np.testing.assert_allclose(hessian, slow, rtol=1e-6, atol=1e-6 * np.max(np.abs(slow)))


@pytest.mark.parametrize("seed", range(3))
def test_curvature_equals_the_oracle(seed: int) -> None:
    """P, Q and T, each in its engine's basis, after the change of basis."""
    design, G = two_term_design(seed), some_G(seed)
    rng = np.random.default_rng(seed)
    tangents = tuple(np.stack([a + a.T for a in rng.normal(size=(3, len(g), len(g)))]) for g in G)
    fast = PooledEngine.reduce(design).curvature(G, tangents, reml=True)
    slow = DenseEngine.reduce(design).curvature(G, tangents, reml=True)
    assert fast is not None
    assert slow is not None
    T = fast[0].basis
    shift = np.eye(len(T))
    shift[:-1, -1] = -PooledEngine.reduce(design).basis.beta0  # the basis is of [X, y − Xβ₀]
    for name in ("P", "Q", "cross"):
        given = np.swapaxes(T, 0, 1) @ getattr(fast[0], name) @ T
        wanted = shift.T @ getattr(slow[0], name) @ shift
        np.testing.assert_allclose(given, wanted, rtol=1e-7, atol=1e-7 * np.max(np.abs(wanted)), err_msg=name)
    np.testing.assert_allclose(fast[0].T, slow[0].T, rtol=1e-8)
    np.testing.assert_allclose(fast[0].trace, slow[0].trace, rtol=1e-8)
    assert fast[1].value == pytest.approx(slow[1].value, rel=1e-10)


@pytest.mark.parametrize("q", [1, 2, 3, 5, 6, 7, 9])
def test_unrolled_and_batched_algebra_agree_with_the_oracle(q: int) -> None:
    """Few groups go through LAPACK, many through unrolled entries, wide bases through LAPACK again."""
    points = Points.unordered(tuple(f"p{k}" for k in range(q)))
    rng = np.random.default_rng(q)
    root = np.tril(rng.normal(size=(q, q))) * 0.5 + np.eye(q)
    tangents = (np.stack([np.eye(q), root @ root.T]),)
    for groups in (7, 90):
        design = design_for(points, groups=groups, seed=q)
        fast, slow = PooledEngine.reduce(design), DenseEngine.reduce(design)
        a = fast.curvature((root @ root.T,), tangents, reml=True)
        b = slow.curvature((root @ root.T,), tangents, reml=True)
        assert a is not None
        assert b is not None
        assert a[1].value == pytest.approx(b[1].value, rel=1e-10)
        np.testing.assert_allclose(a[1].score[0], b[1].score[0], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(a[0].T, b[0].T, rtol=1e-8)


@pytest.mark.parametrize("weights", [False, True])
def test_statistics_of_seven_chunks_merge(weights: bool) -> None:
    """Rows cut at random into 7 chunks, some without a column's variation, merge to the same value and score."""
    design = two_term_design(5, weights=weights, groups=25)
    rng = np.random.default_rng(7)
    which = rng.integers(0, 7, size=design.n)
    which[:2] = 6  # one chunk with fewer rows than columns
    which[2:][which[2:] == 6] = 5
    parts = [LevelStatistics.of(design.take(which == k)) for k in range(7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    widths = tuple(t.width for t in design.terms)
    G = some_G(3)
    a = PooledEngine.from_statistics(merged, widths).evaluate(G, reml=True, score=True)
    b = PooledEngine.reduce(design).evaluate(G, reml=True, score=True)
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(b.value, rel=1e-11)
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-8)
    for s, t in zip(a.score, b.score, strict=True):
        np.testing.assert_allclose(s, t, rtol=1e-7, atol=1e-9)


def balanced(groups: int) -> Design:
    rng = np.random.default_rng(1)
    days = np.tile(np.arange(8.0), groups)
    codes = np.repeat(np.arange(groups), 8)
    X = np.asfortranarray(np.column_stack([np.ones(days.size), days]))
    y = X @ [5.0, 1.0] + rng.normal(size=groups)[codes] + rng.normal(size=days.size)
    term = DesignTerm("days | g", 0, X.copy(order="F"), ("1", "days"), Points.unordered(("1", "days")))
    return Design(X, y, ("1", "days"), (), "y", (term,), (Grouping("g", codes, pd.RangeIndex(groups)),), None, None,
                  pd.RangeIndex(days.size), np.arange(days.size))  # fmt: skip


def test_pooled_statistics_do_not_grow_with_the_number_of_groups() -> None:
    small, large = PooledEngine.reduce(balanced(100)), PooledEngine.reduce(balanced(100_000))
    for name in ("W", "A", "count", "first"):
        assert getattr(small, name).shape == getattr(large, name).shape
    assert large.W.shape[1] == 1
    assert large.A.shape[2] == 2 * 3


@pytest.mark.parametrize("design", [balanced(400), two_term_design(2, groups=300)], ids=["balanced", "few repeats"])
def test_pooling_is_exact(design: Design) -> None:
    statistics = LevelStatistics.of(design)
    widths = tuple(t.width for t in design.terms)
    G = (np.array([[0.8, 0.1], [0.1, 0.2]]), np.array([[0.5]]))[: len(widths)]
    pooled = PooledEngine.from_statistics(statistics, widths).evaluate(G, reml=True, score=True)
    apart = PooledEngine.from_statistics(statistics, widths, pool=False).evaluate(G, reml=True, score=True)
    assert pooled is not None
    assert apart is not None
    assert pooled.value == pytest.approx(apart.value, rel=1e-10)
    for a, b in zip(pooled.score, apart.score, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-9)


def test_random_effects_equal_the_oracle() -> None:
    design, G = two_term_design(9, weights=True), some_G(9)
    beta = np.array([3.0, 1.0, -0.5])
    fast, slow = (e.reduce(design).effects(design, G, beta) for e in (PooledEngine, DenseEngine))
    for name in ("b", "cov", "shift"):
        np.testing.assert_allclose(getattr(fast, name)[0], getattr(slow, name)[0], rtol=1e-8, atol=1e-9, err_msg=name)


def test_a_large_mean_costs_no_digits() -> None:
    """y and a covariate moved by 1e8 give the same log-likelihood and slope: no raw cross-product is ever formed."""
    data = mm.datasets.load("sleepstudy")
    plain = mm.fit("Reaction ~ Days + (1 | Subject)", data)
    moved = data.assign(Reaction=data["Reaction"] + 1e8, Days=data["Days"] + 1e6)
    far = mm.fit("Reaction ~ Days + (1 | Subject)", moved)
    assert far.loglike == pytest.approx(plain.loglike, abs=1e-6)
    assert far.fixed_effects["Days"] == pytest.approx(plain.fixed_effects["Days"], rel=1e-8)


def test_the_engine_is_chosen_by_the_design_or_named() -> None:
    """Penicillin, crossed (R 4.2.2, lme4 1.1-31: REML log-likelihood −165.430294)."""
    from tests.reference.cases import HERE

    file = HERE / "data" / "penicillin.csv"
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    for named, used in ((None, "blocked"), ("blocked", "blocked"), ("dense", "dense")):
        fit = mm.fit(formula, file, engine=named)
        assert fit.estimates.engine == used
        assert fit.loglike == pytest.approx(-165.430294, abs=1e-5)
    with pytest.raises(mm.EngineRefusedError, match="one grouping factor"):
        mm.fit(formula, file, engine="pooled")
    one = mm.datasets.load("sleepstudy")
    fits = [mm.fit("Reaction ~ Days + (Days | Subject)", one, engine=e) for e in (None, "pooled", "blocked", "dense")]
    assert [f.estimates.engine for f in fits] == ["pooled", "pooled", "blocked", "dense"]
    for fit in fits:
        assert fit.loglike == pytest.approx(fits[0].loglike, abs=1e-8)
