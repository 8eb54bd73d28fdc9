"""Related levels, Var(b) = K ⊗ G: the blocked engine with K, its inverse, dense and sparse, against the dense oracle."""

from __future__ import annotations

import attrs
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from mmframe.design.design import Design
from mmframe.design.relationship import Relationship
from mmframe.likelihood import ordering
from mmframe.likelihood.blocked import BlockedEngine
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.information import second_derivatives, sums
from mmframe.likelihood.pooled import PooledEngine
from tests.likelihood.crossed_designs import Shape
from tests.likelihood.test_blocked import LIMITS, PLANS, close

Array = np.ndarray
SHAPES = (
    Shape((30,), (1,)),
    Shape((30,), (2,), weights=True),
    Shape((30, 12), (1, 1)),
    Shape((24, 10), (2, 1), skewed=True),
    Shape((10, 24, 6), (1, 2, 1)),
)


def pedigree(m: int, seed: int) -> sp.csr_array:
    """The inverse of an additive relationship matrix without inbreeding of the parents' kind (Henderson 1976): animals
    come in order of birth, with none, one or two parents known."""
    rng = np.random.default_rng(seed)
    T, d = sp.lil_array((m, m)), np.ones(m)
    T.setdiag(1.0)
    for i in range(4, m):
        known = rng.integers(0, 3)
        for parent in rng.choice(i, size=known, replace=False):
            T[i, parent] = -0.5
        d[i] = 1.0 - 0.25 * known
    T = sp.csr_array(T)
    return sp.csr_array(T.T @ sp.diags_array(1.0 / d) @ T)


def related(design: Design, kind: str, factor: int, extra: int = 5) -> Design:
    """The design with a relationship of one factor, whose levels stand among `extra` others, in another order."""
    m = design.groupings[factor].size
    rng = np.random.default_rng(m)
    inverse = pedigree(m + extra, seed=m)
    place = rng.permutation(m + extra)[:m]
    K = np.linalg.inv(inverse.toarray())
    levels = pd.RangeIndex(m + extra)
    if kind == "K":
        relation = Relationship(K, levels)
    elif kind == "singular K":
        K[1] = K[0]
        K[:, 1] = K[:, 0]
        K[1, 1] = K[0, 0]
        relation = Relationship(K, levels)
    elif kind == "sparse K":
        sizes = [3] * ((m + extra) // 3) + [1] * ((m + extra) % 3)
        parts = [0.5 * np.eye(s) + 0.5 for s in sizes]
        parts[0] = np.ones((3, 3))  # identical
        relation = Relationship(sp.block_diag(parts, format="csr"), levels)
    elif kind == "inverse":
        relation = Relationship(inverse, levels, inverse=True)
    else:
        relation = Relationship(inverse.toarray(), levels, inverse=True)
    groupings = list(design.groupings)
    old = groupings[factor]
    groupings[factor] = attrs.evolve(old, codes=place[old.codes], levels=levels, relationship=relation)
    return attrs.evolve(design, groupings=tuple(groupings))


KINDS = ("K", "singular K", "sparse K", "inverse", "dense inverse")


@pytest.mark.parametrize("plan", ["as it comes", "one round", "rounds to the end"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_value_scores_and_hessian_equal_the_oracle(
    shape: Shape, kind: str, plan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(LIMITS, PLANS[plan], strict=True):
        monkeypatch.setattr(ordering, name, value)
    design = related(shape.design(), kind, len(shape.levels) // 2 if len(shape.levels) == 3 else 0)
    fast, slow = BlockedEngine.reduce(design), DenseEngine.reduce(design)
    for G in (shape.G("regular"), shape.G("singular")):
        singular = any(np.linalg.eigvalsh(g)[0] < 1e-12 for g in G)
        # at a singular G an inverse of K is used with a G that is moved by 1e-10
        exact = not (singular and fast.priors)
        for reml in (True, False):
            a, b = (e.evaluate(G, reml=reml, score=True) for e in (fast, slow))
            assert a is not None
            assert b is not None
            assert a.value == pytest.approx(b.value, rel=1e-9 if exact else 1e-7)
            for s, t in zip(a.score, b.score, strict=True):
                close(s, t, 1e-8 if exact else 1e-5)
            x, y = (e.average(G, shape.tangents(), reml=reml) for e in (fast, slow))
            assert x is not None
            assert y is not None
            close(x[0].quadratics, y[0].quadratics, 1e-8 if exact else 1e-5)
            close(x[0].linear, y[0].linear, 1e-8 if exact else 1e-5)
            if exact:
                found = []
                for engine in (fast, slow):
                    answer = engine.curvature(G, shape.tangents(), reml=reml)
                    assert answer is not None
                    k = shape.tangents()[0].shape[0]
                    inner = sums(answer[0], reml=reml)
                    found.append(second_derivatives(inner, answer[0].solution, np.zeros(k), profiled=True))
                close(found[0], found[1], 1e-6 if fast.priors else 1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_random_effects_equal_the_oracle(shape: Shape, kind: str) -> None:
    """Of all levels that the relationship knows, those without rows too."""
    design, G = related(shape.design(), kind, 0), shape.G("regular")
    beta = np.array([9.0, 1.2])
    fast, slow = (e.reduce(design).effects(design, G, beta) for e in (BlockedEngine, DenseEngine))
    assert fast.b[0].shape[0] == shape.levels[0] + 5
    for name in ("b", "cov", "shift"):
        for a, b in zip(getattr(fast, name), getattr(slow, name), strict=True):
            close(a, b)
    assert fast.joint is not None
    assert slow.joint is not None
    close(fast.joint, slow.joint)
    codes = tuple(f.codes for f in design.groupings)
    Z = tuple(t.Z for t in design.terms)
    close(fast.variance(codes, Z), slow.variance(codes, Z))


def test_the_identity_changes_nothing() -> None:
    shape = Shape((30,), (2,))
    design, G = shape.design(), shape.G("regular")
    plain = PooledEngine.reduce(design).evaluate(G, reml=True, score=True)
    assert plain is not None
    for inverse in (False, True):
        relation = Relationship(sp.eye_array(30, format="csr"), range(30), inverse=inverse)
        known = attrs.evolve(design, groupings=(attrs.evolve(design.groupings[0], relationship=relation),))
        found = BlockedEngine.reduce(known).evaluate(G, reml=True, score=True)
        assert found is not None
        assert found.value == pytest.approx(plain.value, rel=1e-11)
        close(found.score[0], plain.score[0])
        assert "related" in str(PooledEngine.refuses(known))


@pytest.mark.parametrize("inverse", [False, True])
def test_draws_have_the_covariance(inverse: bool) -> None:
    """From white noise that is an identity matrix, the draws are a root of K."""
    precision = pedigree(25, 3)
    K = np.linalg.inv(precision.toarray())
    relation = Relationship(precision, range(25), inverse=True) if inverse else Relationship(K, range(25))
    root = relation.draw(np.eye(25))
    np.testing.assert_allclose(root @ root.T, K, atol=1e-10)


def test_a_sparse_inverse_stays_sparse() -> None:
    """5,000 animals: the core is small beside them."""
    shape = Shape((3000,), (1,), n=4000)
    design = shape.design()
    relation = Relationship(pedigree(5000, 1), range(5000), inverse=True)
    design = attrs.evolve(
        design, groupings=(attrs.evolve(design.groupings[0], levels=pd.RangeIndex(5000), relationship=relation),)
    )
    engine = BlockedEngine.reduce(design)
    assert engine.plan.core_size < 1500
    found = engine.average((np.eye(1),), (np.ones((1, 1, 1)),), reml=True)
    assert found is not None
    assert np.isfinite(found[2].value)
