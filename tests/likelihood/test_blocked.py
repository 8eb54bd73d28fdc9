"""The blocked engine against the dense oracle and the pooled engine, over plans of every kind."""

from __future__ import annotations

from functools import cache

import attrs
import numpy as np
import pandas as pd
import pytest

from mmframe.covariance.structure import Points
from mmframe.design.design import Design, DesignTerm
from mmframe.design.grouping import Grouping
from mmframe.errors import EngineRefusedError
from mmframe.likelihood import blocks, ordering
from mmframe.likelihood.blocked import BlockedEngine
from mmframe.likelihood.cells import CellStatistics
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Evaluation
from mmframe.likelihood.information import Sums, second_derivatives, sums
from mmframe.likelihood.pooled import PooledEngine
from tests.likelihood.crossed_designs import SHAPES, Shape

Array = np.ndarray
# columns that go to the core at once, columns up to which fill goes to the core, density of a dense rest, pairs, products
LIMITS = ("SMALL", "DENSE", "_FULL", "MAX_PAIRS", "MAX_PRODUCTS")
PLANS = {
    "as it comes": tuple(getattr(ordering, name) for name in LIMITS),
    "one round": (0, 1500, 0.3, 10**7, 10**7),
    "rounds to the end": (0, 0, 2.0, 10**7, 10**7),
    "rounds and core": (12, 0, 2.0, 10**7, 10**7),
    "dense products": (0, 1500, 0.3, 200, 200),
}
KINDS = ("regular", "singular", "zero", "large")


@pytest.fixture(params=list(PLANS))
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in zip(LIMITS, PLANS[request.param], strict=True):
        monkeypatch.setattr(ordering, name, value)
    return str(request.param)


def close(a: Array, b: Array, relative: float = 1e-8) -> None:
    np.testing.assert_allclose(a, b, rtol=0.0, atol=relative * max(float(np.max(np.abs(b))), 1e-300))


def hessian(engine: Engine, shape: Shape, G: tuple[Array, ...], *, reml: bool, sigma2: float | None = None) -> Array:
    answer = engine.curvature(G, shape.tangents(), reml=reml, sigma2=sigma2)
    assert answer is not None
    k = shape.tangents()[0].shape[0]
    found = sums(answer[0], reml=reml)
    return second_derivatives(found, answer[0].solution, np.zeros(k), profiled=sigma2 is None)


@cache
def oracle(shape: Shape, kind: str, reml: bool, sigma2: float | None) -> tuple[Evaluation, Array]:
    engine, G = DenseEngine.reduce(shape.design()), shape.G(kind)
    found = engine.evaluate(G, reml=reml, score=True, sigma2=sigma2)
    assert found is not None
    return found, hessian(engine, shape, G, reml=reml, sigma2=sigma2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_blocked_equals_the_oracle(plan: str, shape: Shape, kind: str) -> None:
    """Value, β, scores and Hessian, ML and REML, to 1e-8 of their size."""
    design, G = shape.design(), shape.G(kind)
    fast = BlockedEngine.reduce(design)
    for reml in (True, False):
        for sigma2 in (None, 1.3):
            a = fast.evaluate(G, reml=reml, score=True, sigma2=sigma2)
            assert a is not None
            b, slow_hessian = oracle(shape, kind, reml, sigma2)
            assert a.value == pytest.approx(b.value, rel=1e-9)
            assert a.sigma2_score == pytest.approx(b.sigma2_score, rel=1e-7, abs=1e-7)
            errors = np.sqrt(np.diag(b.beta_cov))  # with large variances β is determined to these only
            assert np.all(np.abs(a.beta - b.beta) <= 1e-8 * (np.abs(b.beta) + errors))
            close(a.beta_cov, b.beta_cov)
            for s, t in zip(a.score, b.score, strict=True):
                close(s, t)
            close(hessian(fast, shape, G, reml=reml, sigma2=sigma2), slow_hessian)


@pytest.mark.parametrize("kind", KINDS)
def test_blocked_equals_pooled_on_one_factor(plan: str, kind: str) -> None:
    shape = Shape((70,), (2,), n=400, weights=True)
    design, G = shape.design(), shape.G(kind)
    fast, slow = BlockedEngine.reduce(design), PooledEngine.reduce(design)
    a, b = fast.evaluate(G, reml=True, score=True), slow.evaluate(G, reml=True, score=True)
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(b.value, rel=1e-11)
    close(a.score[0], b.score[0])
    close(hessian(fast, shape, G, reml=True), hessian(slow, shape, G, reml=True))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_average_information_equals_the_oracle(plan: str, shape: Shape) -> None:
    """Without traces, against P and Q of the oracle; and the evaluation that comes with it."""
    design, G = shape.design(), shape.G("singular")
    for reml in (True, False):
        fast = BlockedEngine.reduce(design).average(G, shape.tangents(), reml=reml)
        slow = DenseEngine.reduce(design).average(G, shape.tangents(), reml=reml)
        assert fast is not None
        assert slow is not None
        assert fast[0].traces is None
        close(fast[0].quadratics, slow[0].quadratics)
        close(fast[0].linear, slow[0].linear)
        assert fast[2].value == pytest.approx(slow[2].value, rel=1e-10)
        close(fast[2].score[0], slow[2].score[0])
        assert isinstance(fast[0], Sums)


@pytest.mark.parametrize("kind", ["regular", "singular"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_random_effects_equal_the_oracle(plan: str, shape: Shape, kind: str) -> None:
    """Means, covariances, shifts, the joint covariance, and the variance of rows with some levels unknown."""
    design, G = shape.design(), shape.G(kind)
    beta = np.array([9.0, 1.2])
    fast = BlockedEngine.reduce(design).effects(design, G, beta)
    slow = DenseEngine.reduce(design).effects(design, G, beta)
    for name in ("b", "cov", "shift"):
        for a, b in zip(getattr(fast, name), getattr(slow, name), strict=True):
            close(a, b)
    assert fast.joint is not None
    assert slow.joint is not None
    close(fast.joint, slow.joint)
    codes = tuple(np.where(np.arange(design.n) % (5 + g) == 0, -1, f.codes) for g, f in enumerate(design.groupings))
    Z = tuple(t.Z for t in design.terms)
    close(fast.variance(codes, Z), slow.variance(codes, Z))


@pytest.mark.parametrize("weights", [False, True])
def test_statistics_of_seven_chunks_merge(weights: bool) -> None:
    """Rows cut at random, so that levels and cells are missing from parts, give the same plan and the same numbers."""
    shape = Shape((30, 12, 5), (2, 1, 1), n=200, weights=weights)
    design, G = shape.design(), shape.G("regular")
    which = np.random.default_rng(2).integers(0, 7, size=design.n)
    parts = [CellStatistics.of(design.take(which == k)) for k in range(7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    names = tuple(g.name for g in design.groupings)
    whole = BlockedEngine.reduce(design)
    joined = BlockedEngine.from_statistics(merged, names, whole.factor_of, whole.term_widths)
    assert joined.plan.describe() == whole.plan.describe()
    a, b = (e.evaluate(G, reml=True, score=True) for e in (joined, whole))
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(b.value, rel=1e-12)
    close(a.beta, b.beta)
    for s, t in zip(a.score, b.score, strict=True):
        close(s, t)


def test_several_terms_on_one_factor_share_its_levels(plan: str) -> None:
    """Two terms on g0 and one on g1: the score of each term is its block of the factor's."""
    design = Shape((25, 10), (2, 1)).design()
    both = design.terms[0]
    split = tuple(
        DesignTerm(f"{c}", 0, both.Z[:, [c]].copy(order="F"), (f"{c}",), Points.unordered((f"{c}",))) for c in range(2)
    )
    design = attrs.evolve(design, terms=(split[0], design.terms[1], split[1]))
    G = (np.array([[0.7]]), np.array([[0.4]]), np.array([[0.2]]))
    a = BlockedEngine.reduce(design).evaluate(G, reml=True, score=True)
    b = DenseEngine.reduce(design).evaluate(G, reml=True, score=True)
    assert a is not None
    assert b is not None
    assert a.value == pytest.approx(b.value, rel=1e-11)
    for s, t in zip(a.score, b.score, strict=True):
        close(s, t)


def test_nested_designs_take_no_dense_detour() -> None:
    """20,000 pupils in 1,000 classes in 50 schools: nothing dense, and entries in proportion to the levels."""
    shape = Shape((20_000, 1_000, 50), (1, 1, 1), nested=((0, 1), (1, 2)), n=60_000, seed=4)
    plan = BlockedEngine.reduce(shape.design()).plan
    assert plan.core_size <= ordering.SMALL
    entries = sum(e.rows.size for e in plan.edges.values())
    assert entries <= 2 * 20_000 + 1_000
    assert plan.fill == 0
    assert sum(r.count for r in plan.rounds) <= 3 * 20_000 + 3_000


def test_separate_crossed_blocks_stay_sparse() -> None:
    """Pupils x teachers within each of 300 schools, 3,000 teachers: the fill stays within schools."""
    rng = np.random.default_rng(3)
    n, schools = 60_000, 300
    school = rng.integers(0, schools, size=n)
    pupil, teacher = school * 60 + rng.integers(0, 60, size=n), school * 10 + rng.integers(0, 10, size=n)
    one = np.ones((n, 1), order="F")
    point = Points.unordered(("1",))
    terms = tuple(DesignTerm(f"1 | {k}", k, one, ("1",), point) for k in range(2))
    codes = [pd.factorize(c, sort=True)[0].astype(np.intp) for c in (pupil, teacher)]
    groupings = tuple(Grouping(str(k), c, pd.RangeIndex(c.max() + 1)) for k, c in enumerate(codes))
    y = rng.normal(size=n) + rng.normal(size=20_000)[pupil] + rng.normal(size=3_000)[teacher]
    design = Design(one, y, ("1",), (), "y", terms, groupings, None, None, pd.RangeIndex(n), np.arange(n))
    engine = BlockedEngine.reduce(design)
    assert engine.plan.core_size <= ordering.SMALL
    assert sum(e.rows.size for (g, _), e in engine.plan.edges.items() if g == 1) < schools * 10 * 10 / 2
    assert "block-sparse" in engine.plan.describe()
    found = engine.evaluate((np.eye(1), np.eye(1)), reml=True, score=True)
    assert found is not None
    assert np.isfinite(found.value)


def test_a_core_that_does_not_fit_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CORE", 10)
    with pytest.raises(
        EngineRefusedError, match=r"columns are left that depend on each other \(g0: .*allowed: up to 10"
    ):
        BlockedEngine.reduce(Shape((30, 12), (1, 1)).design())


def test_the_description_names_every_factor_and_its_block(plan: str) -> None:
    text = BlockedEngine.reduce(Shape((40, 20, 5), (1, 2, 1), nested=((0, 1), (1, 2))).design()).plan.describe()
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["g0", "g1", "g2"]
    if plan == "rounds to the end":
        assert "diagonal" in lines[1]
        assert "block-diagonal, 2 x 2" in lines[2]
        assert lines[-1].endswith("dense core: 0 x 0")
    if plan == "as it comes":
        assert "in the core of 85 columns" in lines[1]


def test_the_order_of_a_star_of_many_nodes() -> None:
    """One level joined to 50,000 others: degree times the number of nodes is beyond 32 bits."""
    import scipy.sparse as sp

    n = 50_001
    hub, leaves = np.zeros(n - 1, dtype=np.int32), np.arange(1, n, dtype=np.int32)
    star = sp.coo_array(
        (np.ones(2 * n - 2), (np.concatenate([hub, leaves]), np.concatenate([leaves, hub]))), shape=(n, n)
    ).tocsr()
    star.indices, star.indptr = star.indices.astype(np.int32), star.indptr.astype(np.int32)
    chosen = ordering._independent_set(star)
    assert 0 not in chosen
    assert chosen.size == n - 1
