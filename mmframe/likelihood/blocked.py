"""The blocked engine: any number of grouping factors, nested or crossed, independent residuals.

The levels are eliminated from Z'V⁻¹Z in an order decided once from the data (blocks.py): sparse rounds (eliminate.py),
then one dense core (core.py). Value, scores and average information come from one pass; the traces of the exact
curvature from one more for each tangent (theory: docs/theory/blocked.md).
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.arrange import Arranged, arrange
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.blocked_effects import BlockedEffects
from mmframe.likelihood.blocks import Plan, make_plan
from mmframe.likelihood.cells import CellStatistics
from mmframe.likelihood.criterion import Solution
from mmframe.likelihood.effects import Effects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation
from mmframe.likelihood.factorization import Factorization, Prior
from mmframe.likelihood.information import Sums, contracted
from mmframe.likelihood.level_moments import level_moments
from mmframe.likelihood.reduce import too_wide
from mmframe.likelihood.related import Related, precision_blocks
from mmframe.likelihood.second_traces import second_traces, second_traces_by_differences
from mmframe.likelihood.stack import full

# Sizes beyond which a pass for each tangent costs more than the Newton steps that exact traces save: columns of the core,
# pairs of the rounds, random effects in all.
_CORE, _LISTED, _COLUMNS = 400, 200_000, 5000
# Columns of the core up to which the exact curvature takes seconds at the end; where K⁻¹ was given it is by differences.
_EXACT, _EXACT_RELATED = 4000, 500


@frozen(eq=False)
class _State:
    """One factorization with what the data say in it. tilde, spread: for each factor Z'V⁻¹Y and (K ⊗ I)Z'V⁻¹Y, (q, m, r)
    in the plan's order."""

    factorization: Factorization
    found: Solution
    cross: Array
    tilde: list[Array]
    spread: list[Array]


@frozen(eq=False)
class BlockedEngine(Engine):
    """Statistics of several grouping factors in the order of elimination.

    data: Z'Z where the plan wants it.   H: Z'Y by factor, (q, m, p+1).   related: known relationships between levels;
    priors: of factors whose K⁻¹ was given.
    factor_of: the grouping of each term.   term_widths: q_k of each term.
    """

    name: ClassVar[str] = "blocked"

    plan: Plan
    statistics: CellStatistics
    data: Arranged
    H: tuple[Array, ...]
    factor_of: tuple[int, ...]
    term_widths: tuple[int, ...]
    related: Related
    priors: dict[int, Prior]

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        if design.residual is not None:
            return "it takes independent residuals with one variance"
        if not design.terms:
            return "it takes a design with random effects, and this one has none"
        return too_wide(design)

    @classmethod
    def reduce(cls, design: Design) -> BlockedEngine:
        factors = tuple(t.grouping for t in design.terms)
        names = tuple(g.name for g in design.groupings)
        related = Related(tuple(g.relationship for g in design.groupings))
        widths = tuple(t.width for t in design.terms)
        return cls.from_statistics(CellStatistics.of(design), names, factors, widths, related)

    @classmethod
    def from_statistics(
        cls,
        statistics: CellStatistics,
        names: tuple[str, ...],
        factor_of: tuple[int, ...],
        term_widths: tuple[int, ...],
        related: Related | None = None,
    ) -> BlockedEngine:
        related = related or Related((None,) * len(names))
        statistics = related.transform(statistics)
        sizes, widths = statistics.sizes, statistics.widths
        pattern = related.pattern(statistics.cells, widths)
        plan = make_plan(names, sizes, widths, pattern, constant=not related.precise)
        blocks = tuple(full(level.W) for level in statistics.levels)
        data = arrange(plan, statistics.cells, blocks)
        H = tuple(
            np.ascontiguousarray(level.products.transpose(0, 2, 1)[:, order])
            for level, order in zip(statistics.levels, plan.order, strict=True)
        )
        priors = {g: _prior(plan, g, *related.precision(g)) for g in related.precise}
        return cls(plan, statistics, data, H, factor_of, term_widths, related, priors)

    def describe(self) -> str:
        return self.plan.describe()

    @property
    def basis(self) -> Basis:
        return self.statistics.basis

    @property
    def n(self) -> int:
        return self.basis.n

    @property
    def p(self) -> int:
        return self.basis.p

    @cached_property
    def _places(self) -> tuple[slice, ...]:
        """Where each term stands among the columns of its factor."""
        used = [0] * len(self.plan.sizes)
        out = []
        for g, q in zip(self.factor_of, self.term_widths, strict=True):
            out.append(slice(used[g], used[g] + q))
            used[g] += q
        return tuple(out)

    def _by_factor(self, matrices: tuple[Array, ...]) -> tuple[Array, ...]:
        """Matrices (..., q_k, q_k) of the terms, block by block in those of the factors."""
        lead = matrices[0].shape[:-2]
        out = tuple(np.zeros((*lead, q, q)) for q in self.plan.widths)
        for g, place, G in zip(self.factor_of, self._places, matrices, strict=True):
            out[g][..., place, place] = G
        return out

    def _by_term(self, matrices: list[Array]) -> tuple[Array, ...]:
        return tuple(
            np.ascontiguousarray(matrices[g][place, place])
            for g, place in zip(self.factor_of, self._places, strict=True)
        )

    def _state(
        self, G: tuple[Array, ...], reml: bool, sigma2: float | None, beta: Array | None, *, keep: bool = False
    ) -> _State | None:
        factorization = Factorization.of(self.data, self._by_factor(G), self.priors, keep=keep)
        if factorization is None:
            return None
        taken, _, tilde, spread = factorization.solve([h.copy() for h in self.H])
        cross = self.basis.cross - taken
        found = self.basis.solve(cross, factorization.logdet, reml=reml, sigma2=sigma2, beta=beta)
        return None if found is None else _State(factorization, found, cross, tilde, spread)

    def _scores(self, state: _State, traces: list[Array]) -> tuple[Array, ...]:
        out = []
        for sums, tilde, spread in zip(traces, state.tilde, state.spread, strict=True):
            moved = spread @ state.found.weight
            out.append(sums - np.einsum("ami,bmi->ab", moved, tilde, optimize=True))
        return self._by_term(out)

    def evaluate(
        self,
        G: tuple[Array, ...],
        *,
        reml: bool,
        score: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
    ) -> Evaluation | None:
        state = self._state(G, reml, sigma2, beta)
        if state is None:
            return None
        return self.basis.evaluation(state.found, self._scores(state, state.factorization.traces()) if score else ())

    def curvature(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        *,
        reml: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
    ) -> tuple[Curvature, Evaluation] | None:
        state = self._state(G, reml, sigma2, beta, keep=True)
        if state is None:
            return None
        traces = state.factorization.traces()
        moved = self._by_factor(tangents)
        k, r = tangents[0].shape[0], self.p + 1
        P, Q = np.empty((k + 1, r, r)), np.empty((k + 1, k + 1, r, r))
        along = [np.einsum("kab,bmi->akmi", dG, x, optimize=True) for dG, x in zip(moved, state.spread, strict=True)]
        P[:k] = sum(np.einsum("ami,akmj->kij", x, a, optimize=True) for x, a in zip(state.tilde, along, strict=True))
        P[k] = state.cross
        # Y'V⁻¹V_jV⁻¹V_lV⁻¹Y = X_j' (Z'V⁻¹Z) X_l with X_l = dG_l Z'V⁻¹Y: Z'V⁻¹ is applied to the pseudo-data Z X_l.
        wide = [np.ascontiguousarray(a.transpose(0, 2, 1, 3)).reshape(a.shape[0], a.shape[2], k * r) for a in along]
        inner = self._inner(state, wide)
        gram = sum(np.einsum("ami,amj->ij", x, y, optimize=True) for x, y in zip(wide, inner, strict=True))
        Q[:k, :k] = np.asarray(gram).reshape(k, r, k, r).transpose(0, 2, 1, 3)
        Q[:k, k] = P[:k]
        Q[k] = P
        T = np.empty((k + 1, k + 1))
        T[:k, :k] = self._second_traces(state, G, moved)
        trace = np.zeros(k + 1)
        trace[:k] = sum(np.einsum("kab,ab->k", dG, s) for dG, s in zip(moved, traces, strict=True))
        trace[k] = self.n
        T[k], T[:, k] = trace, trace
        curvature = Curvature(P, Q, T, trace, state.cross, self.basis.full, self.n, state.found)
        return curvature, self.basis.evaluation(state.found, self._scores(state, traces))

    def _second_traces(self, state: _State, G: tuple[Array, ...], moved: tuple[Array, ...]) -> Array:
        if self.priors:
            return second_traces_by_differences(self.data, self._by_factor(G), self.priors, moved)
        return second_traces(self.data, state.factorization, moved)

    @property
    def prefers_average(self) -> bool:
        plan = self.plan
        listed = sum(r.count for r in plan.rounds)
        large = plan.core_size > _CORE or listed > _LISTED or plan.columns > _COLUMNS
        return bool(self.priors) or (bool(plan.rounds) and large)

    @property
    def exact_is_affordable(self) -> bool:
        return self.plan.core_size <= (_EXACT_RELATED if self.priors else _EXACT)

    def average(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        *,
        reml: bool,
        sigma2: float | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
    ) -> tuple[Sums, Solution, Evaluation] | None:
        state = self._state(G, reml, sigma2, None)
        if state is None:
            return None
        gamma = state.found.gamma
        moved = self._by_factor(tangents)
        k = tangents[0].shape[0]
        # V⁻¹V_jV⁻¹e has the coordinates dG_j Z'V⁻¹e
        X = [np.einsum("kab,bm->amk", dG, x @ gamma) for dG, x in zip(moved, state.spread, strict=True)]
        along = np.empty((k + 1, self.p + 1))
        along[:k] = sum(np.einsum("amk,ami->ki", a, x, optimize=True) for a, x in zip(X, state.tilde, strict=True))
        along[k] = state.cross @ gamma
        inner = np.empty((k + 1, k + 1))
        inner[:k, :k] = sum(
            np.einsum("amj,aml->jl", x, y, optimize=True) for x, y in zip(X, self._inner(state, X), strict=True)
        )
        inner[k] = along @ gamma
        inner[:, k] = inner[k]
        evaluation = self.basis.evaluation(state.found, self._scores(state, state.factorization.traces()))
        return contracted(along, inner, state.found), state.found, evaluation

    def moments(
        self, G: tuple[Array, ...], tangents: tuple[Array, ...], *, reml: bool, R: tuple[Array, ...] = ()
    ) -> tuple[tuple[Array, ...], float] | None:
        """MIVQUE as for every engine; where its traces cost too much, quadratic forms of one factor each."""
        if not self.prefers_average:
            return super().moments(G, tangents, reml=reml)
        solved = level_moments(self.statistics, self._by_factor(G), self._by_factor(tangents))
        if solved is None:
            return None
        theta, sigma2 = solved
        return tuple(np.tensordot(theta, t, axes=1) for t in tangents), sigma2

    def _inner(self, state: _State, X: list[Array]) -> list[Array]:
        """Z'V⁻¹Z X by factor, (q, m, r)."""
        return state.factorization.solve(self._gram(X))[2]

    @cached_property
    def _cells(self) -> list[tuple[int, int, int, int, sp.csr_array]]:
        """Z_i'Z_j of the cells as sparse matrices in the plan's order: (g, h, column of g, column of h, matrix)."""
        place, sizes = self.plan.place, self.plan.sizes
        out = []
        for (g, h), cells in self.statistics.cells.items():
            at = (place[g][cells.rows], place[h][cells.cols])
            for a, b in itertools.product(range(cells.W.shape[0]), range(cells.W.shape[1])):
                out.append((g, h, a, b, sp.coo_array((cells.W[a, b], at), shape=(sizes[g], sizes[h])).tocsr()))
        return out

    def _gram(self, X: list[Array]) -> list[Array]:
        """Z'Z X by factor."""
        out = [np.einsum("abm,bmr->amr", D, x, optimize=True) for D, x in zip(self.data.diagonal, X, strict=True)]
        for g, h, a, b, matrix in self._cells:  # of a factor with itself those above the diagonal
            out[g][a] += matrix @ X[h][b]
            out[h][b] += matrix.T @ X[g][a]
        return out

    @property
    def residual_square(self) -> float:
        return self.basis.residual_square

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return tuple(self.plan.sizes[g] for g in self.factor_of)

    @cached_property
    def unit_scales(self) -> tuple[Array, ...]:
        scales = [np.sqrt(np.einsum("aam->a", D) / self.n) for D in self.data.diagonal]
        return tuple(scales[g][place] for g, place in zip(self.factor_of, self._places, strict=True))

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        factorization = Factorization.of(self.data, self._by_factor(G), self.priors)
        assert factorization is not None, "the fit ended where the criterion is finite"
        _, t, _, _ = factorization.solve([h.copy() for h in self.H])
        return BlockedEffects(
            self.plan, self.basis, self.related, factorization, tuple(t), np.asarray(beta, dtype=float)
        )


def _prior(plan: Plan, g: int, matrix: sp.csr_array, logdet: float) -> Prior:
    """K⁻¹ of a factor in the plan's order."""
    own, cells = precision_blocks(matrix, plan.widths[g])
    diagonal = tuple(
        own if h == g else np.zeros((q, q, m)) for h, (q, m) in enumerate(zip(plan.widths, plan.sizes, strict=True))
    )
    order = plan.order[g]
    return Prior(sp.csr_array(matrix[order][:, order]), arrange(plan, {(g, g): cells}, diagonal), logdet)
