"""The bordered engine: a structured residual with random effects that cross its subjects.

Effects whose levels lie within one subject stay with the subjects' blocks; those of the other factors, with the wide Z_g and
the prior Γ = ⊕ I ⊗ G_f, border them: V = V₀ + Z_gΓZ_g', V₀ block-diagonal. An engine of the blocks answers for the
columns E = [Y Z_g], and all else is algebra of matrices of that many columns, with M = E'V₀⁻¹E, a root Λ of Γ and
C = Λ(I + Λ'M_ggΛ)⁻¹Λ' = Var(b_g | y) (theory: docs/theory/bordered.md):

    V⁻¹Y = V₀⁻¹EΦ,  Φ = [I; −C M_gy],      V⁻¹ − V⁻¹YDY'V⁻¹ = V₀⁻¹ − V₀⁻¹E(ΦDΦ' + C)E'V₀⁻¹.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mmframe.covariance.domain import Array, psd_root
from mmframe.design.design import Design
from mmframe.design.distinct import constant_within
from mmframe.likelihood.banded import BandedEngine
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.pattern import PatternEngine
from mmframe.likelihood.patterns import largest_block
from mmframe.likelihood.residual_engine import (
    Pulled,
    ResidualEngine,
    Scores,
    Second,
    levels_of_terms,
    not_for,
    units_of_terms,
)

# Columns of the border, and entries of all columns, beyond which this costs too much.
MAX_BORDER, MAX_ENTRIES = 1500, 60_000_000
_WHOLE = 4000  # effects up to which their joint covariance is written out


@frozen(eq=False)
class _Split:
    """Which grouping factors and terms stay with the blocks, and which border them."""

    local: tuple[int, ...]
    border: tuple[int, ...]
    local_terms: tuple[int, ...]
    border_terms: tuple[int, ...]

    @classmethod
    def of(cls, design: Design) -> _Split:
        assert design.residual is not None
        local: list[int] = []
        border: list[int] = []
        for f, grouping in enumerate(design.groupings):
            (local if constant_within(design.residual.subject, grouping.codes) else border).append(f)
        terms = range(len(design.terms))
        return cls(
            tuple(local),
            tuple(border),
            tuple(k for k in terms if design.terms[k].grouping in local),
            tuple(k for k in terms if design.terms[k].grouping in border),
        )

    def inside(self, design: Design) -> Design:
        """The design without the border."""
        terms = tuple(
            attrs.evolve(design.terms[k], grouping=self.local.index(design.terms[k].grouping)) for k in self.local_terms
        )
        return attrs.evolve(design, terms=terms, groupings=tuple(design.groupings[f] for f in self.local))


@frozen(eq=False)
class _State:
    """inner: the blocks' state.   M: E'V₀⁻¹E.   C (g, g).   Phi (r + g, r).   cross, logdet: those of V."""

    inner: Any
    M: Array
    C: Array
    Phi: Array
    cross: Array
    logdet: float


@frozen(eq=False)
class BorderedEngine(ResidualEngine):
    """inside: an engine of the blocks with the columns [Y Z_g].   columns: for each bordering term where its columns stand in
    Z_g, (levels, q).   levels: m_k of each term.   units: see `unit_scales`."""

    name: ClassVar[str] = "bordered"

    inside: PatternEngine | BandedEngine
    split: _Split
    columns: tuple[NDArray[np.intp], ...]
    levels: tuple[int, ...]
    units: tuple[Array, ...]

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        reason = not_for(design)
        if reason is not None:
            return reason
        split = _Split.of(design)
        if not split.border:
            return "it takes random effects that cross the subjects of the residual, and here there are none"
        width = sum(design.groupings[design.terms[k].grouping].size * design.terms[k].width for k in split.border_terms)
        if width > MAX_BORDER or width * design.n > MAX_ENTRIES:
            return f"it writes out the {width:,} effects that cross the subjects for {design.n:,} rows, and that is too many"
        return cls._engine(split.inside(design)).refuses(split.inside(design))

    @classmethod
    def suits(cls, design: Design) -> bool:
        """Where the blocks alone are much smaller than what their crossing ties together."""
        return 4 * largest_block(_Split.of(design).inside(design)) < largest_block(design)

    @staticmethod
    def _engine(inside: Design) -> type[PatternEngine] | type[BandedEngine]:
        able = BandedEngine.refuses(inside) is None
        return BandedEngine if able and BandedEngine.suits(inside) else PatternEngine

    @classmethod
    def reduce(cls, design: Design) -> BorderedEngine:
        split = _Split.of(design)
        wide, columns, start = [], [], 0
        for f in split.border:
            grouping = design.groupings[f]
            mine = [design.terms[k] for k in split.border_terms if design.terms[k].grouping == f]
            Z = np.hstack([design.weighted(t.Z) for t in mine])
            part = np.zeros((design.n, grouping.size, Z.shape[1]))
            part[np.arange(design.n), grouping.codes] = Z
            wide.append(part.reshape(design.n, -1))
            at = start + np.arange(grouping.size * Z.shape[1]).reshape(grouping.size, Z.shape[1])
            columns += np.split(at, np.cumsum([t.width for t in mine])[:-1], axis=1)
            start += at.size
        order = [k for f in split.border for k in split.border_terms if design.terms[k].grouping == f]
        by_term = [columns[order.index(k)] for k in split.border_terms]
        inside = split.inside(design)
        engine = cls._engine(inside).with_columns(inside, np.hstack(wide))
        return cls(engine, split, tuple(by_term), levels_of_terms(design), units_of_terms(design))

    @property
    def basis(self) -> Basis:
        return self.inside.basis

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        return self.inside.residual_index

    @property
    def width(self) -> int:
        return sum(c.size for c in self.columns)

    def describe(self) -> str:
        return f"{self.inside.describe()}; bordered by {self.width:,} effects that cross them"

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return self.levels

    @property
    def unit_scales(self) -> tuple[Array, ...]:
        return self.units

    def _of(self, matrices: tuple[Array, ...], terms: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(matrices[k] for k in terms)

    def _spread(self, matrices: tuple[Array, ...]) -> Array:
        """⊕ I ⊗ G (..., g, g) from the matrices (..., q, q) of the bordering terms."""
        lead = matrices[0].shape[:-2]
        out = np.zeros((*lead, self.width, self.width))
        for at, g in zip(self.columns, matrices, strict=True):
            out[..., at[:, :, None], at[:, None, :]] = g[..., None, :, :]
        return out

    def at(self, G: tuple[Array, ...], R: tuple[Array, ...]) -> _State | None:
        inner = self.inside.at(self._of(G, self.split.local_terms), R)
        if inner is None:
            return None
        M, r = 0.5 * (inner.cross + inner.cross.T), self.basis.p + 1
        root = self._spread(tuple(psd_root(g) for g in self._of(G, self.split.border_terms)))
        L = np.linalg.cholesky(root.T @ M[r:, r:] @ root + np.eye(self.width))
        half = np.linalg.solve(L, root.T)
        C = half.T @ half
        Phi = np.vstack([np.eye(r), -C @ M[r:, :r]])
        cross = M[:r, :r] - M[:r, r:] @ C @ M[r:, :r]
        logdet = inner.logdet + 2.0 * float(np.sum(np.log(np.diag(L))))
        return _State(inner, M, C, Phi, cross, logdet)

    def _weight(self, state: _State, weight: Array) -> Array:
        """ΦDΦ' + C in the border's block: the weight of all columns."""
        out = state.Phi @ weight @ state.Phi.T
        r = self.basis.p + 1
        out[r:, r:] += state.C
        return np.asarray(out)

    def scores(self, state: _State, weight: Array) -> Scores:
        r = self.basis.p + 1
        local, residual = self.inside.scores(state.inner, self._weight(state, weight))
        MZ = state.M[r:]
        whole = state.M[r:, r:] - MZ @ self._weight(state, weight) @ MZ.T
        border = tuple(np.sum(whole[at[:, :, None], at[:, None, :]], axis=0) for at in self.columns)
        found = dict(zip((*self.split.local_terms, *self.split.border_terms), (*local, *border), strict=True))
        return tuple(found[k] for k in range(len(found))), residual

    def second(
        self, state: _State, tangents: tuple[Array, ...], R_tangents: tuple[Array, ...], weight: Array
    ) -> Second:
        r, M, C, Phi = self.basis.p + 1, state.M, state.C, state.Phi
        local = self._of(tangents, self.split.local_terms)
        made = self.inside.second(state.inner, local, R_tangents, self._weight(state, weight))
        moved = self._spread(self._of(tangents, self.split.border_terms))  # (k, g, g)
        MG = M[:, r:] @ moved  # E'V₀⁻¹Z_gΓ_j, (k, c, g)
        P = made.P + MG @ M[r:]
        half = MG @ M[r:, r:]
        Q, T = made.Q.copy(), made.T.copy()
        for j in range(len(P)):
            for i in range(len(P)):
                Q[j, i] += MG[j] @ made.P[i, r:] + made.P[j, :, r:] @ MG[i].T + half[j] @ MG[i].T
                T[j, i] += np.sum(moved[j] * made.P[i, r:, r:]) + np.sum(moved[i] * made.P[j, r:, r:])
                T[j, i] += np.sum((moved[j] @ M[r:, r:]) * (M[r:, r:] @ moved[i]))
        CP = C @ P[:, r:, r:]
        T -= 2.0 * np.einsum("ab,jiba->ji", C, Q[:, :, r:, r:])
        T += np.einsum("jab,iba->ji", CP, CP)
        inner = Q - np.einsum("jxa,ab,iby->jixy", P[:, :, r:], C, P[:, r:], optimize=True)
        trace = made.trace + np.einsum("jab,ab->j", moved, M[r:, r:]) - np.einsum("jaa->j", CP)
        Q_out = np.einsum("xa,jixy,yb->jiab", Phi, inner, Phi, optimize=True)
        return Second(Phi.T @ P @ Phi, Q_out, T, trace, made.bend)

    def pulled(self, design: Design, G: tuple[Array, ...], R: tuple[Array, ...]) -> Pulled:
        state = self.at(G, R)
        if state is None:
            raise np.linalg.LinAlgError("the residual covariance is not positive definite")
        r = self.basis.p + 1
        inside = self.inside.pulled(self.split.inside(design), self._of(G, self.split.local_terms), R)
        said = state.C @ state.M[r:, :r]  # Γ Z_g'V⁻¹Y
        cov: dict[int, Array] = {}
        moved: dict[int, Array] = {}
        places: dict[int, NDArray[np.intp]] = {}
        for f in self.split.border:
            terms = [i for i, k in enumerate(self.split.border_terms) if design.terms[k].grouping == f]
            places[f] = np.concatenate([self.columns[i] for i in terms], axis=1)
            cov[f] = state.C[places[f][:, :, None], places[f][:, None, :]]
            moved[f] = said[places[f]]
        reach = {}
        for f, own, columns in zip(self.split.local, inside.cov, inside.moved, strict=True):
            # an error of the border moves the effects of the blocks
            reach[f] = columns[:, :, r:]
            moved[f] = columns[:, :, :r] - reach[f] @ said
            cov[f] = own + reach[f] @ state.C @ reach[f].swapaxes(1, 2)
        order = range(len(design.groupings))
        return Pulled(
            tuple(cov[f] for f in order),
            tuple(moved[f] for f in order),
            self._joint(state, inside, reach, places, order),
        )

    def _joint(
        self, state: _State, inside: Pulled, reach: dict[int, Array], places: dict[int, NDArray[np.intp]], order: range
    ) -> Array | None:
        """Var(b | y) of all effects, level by level and factor by factor; None where there are too many."""
        total = self.width + sum(x.shape[0] * x.shape[1] for x in reach.values())
        if len(order) < 2 or total > _WHOLE:
            return None
        alone = inside.whole
        if alone is None and inside.cov:
            alone = np.asarray(block_diag(*inside.cov[0]))
        local = np.vstack([np.zeros((0, self.width)), *(reach[f].reshape(-1, self.width) for f in self.split.local)])
        # [effects of the blocks; effects of the border] = ... + [−reach; I] b_g
        through = np.vstack([-local, np.eye(self.width)])
        joint = through @ state.C @ through.T
        if alone is not None:
            joint[: len(alone), : len(alone)] += alone
        starts = dict(
            zip(self.split.local, np.cumsum([0, *(reach[f][..., 0].size for f in self.split.local)]), strict=False)
        )
        wanted = [
            starts[f] + np.arange(reach[f][..., 0].size) if f in reach else len(local) + places[f].ravel()
            for f in order
        ]
        index = np.concatenate(wanted)
        return np.asarray(joint[np.ix_(index, index)])
