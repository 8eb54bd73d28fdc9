"""What engines of a structured residual share: block algebra over some columns, around it the criterion.

An engine answers for the columns E that it was given, the basis Y or more (bordered.py): E'V⁻¹E and log|V| at a point; the
scores of G and R when rows are weighted by V⁻¹ − V⁻¹E D E'V⁻¹; and the sums of second order. From E = Y the
criterion and its derivatives follow here, the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.criterion import Solution
from mmframe.likelihood.effects import Effects, TabledEffects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation

Scores = tuple[tuple[Array, ...], tuple[Array, ...]]


@frozen(eq=False)
class Second:
    """Sums along k tangents over c columns: P (k, c, c) = E'V⁻¹V_jV⁻¹E, Q (k, k, c, c) = E'V⁻¹V_jV⁻¹V_lV⁻¹E, T (k, k), trace (k,)
    = tr V⁻¹V_j.   bend (k, k): see `Curvature`."""

    P: Array
    Q: Array
    T: Array
    trace: Array
    bend: Array | float = 0.0


@frozen(eq=False)
class Pulled:
    """Random effects of each factor from the columns: cov (m, q, q) = Var(b | y); moved (m, q, c) = G Z'V⁻¹E.   whole: the joint
    covariance of all effects, level by level and factor by factor, where there are several factors and not too many."""

    cov: tuple[Array, ...]
    moved: tuple[Array, ...]
    whole: Array | None = None


class ResidualEngine(Engine):
    """An engine with R. A state is whatever an engine wants to keep of one point, with `cross` (c, c) and `logdet`."""

    @property
    @abstractmethod
    def basis(self) -> Basis: ...

    @abstractmethod
    def at(self, G: tuple[Array, ...], R: tuple[Array, ...]) -> Any:
        """The state at one point; None where V is not positive definite."""

    @abstractmethod
    def scores(self, state: Any, weight: Array) -> Scores:
        """∂/∂G and ∂/∂R for the weight D (c, c) of the columns."""

    @abstractmethod
    def second(self, state: Any, tangents: tuple[Array, ...], R_tangents: tuple[Array, ...], weight: Array) -> Second:
        """The sums of second order along k tangents."""

    @abstractmethod
    def pulled(self, design: Design, G: tuple[Array, ...], R: tuple[Array, ...]) -> Pulled:
        """What the columns say of the random effects. `design` is the one that the engine was reduced from."""

    @property
    def n(self) -> int:
        return self.basis.n

    @property
    def residual_square(self) -> float:
        return self.basis.residual_square

    def _solved(
        self, G: tuple[Array, ...], R: tuple[Array, ...], reml: bool, sigma2: float | None, beta: Array | None
    ) -> tuple[Any, Solution] | None:
        state = self.at(G, R)
        if state is None:
            return None
        cross = 0.5 * (state.cross + state.cross.T)
        found = self.basis.solve(cross, state.logdet, reml=reml, sigma2=sigma2, beta=beta)
        return None if found is None else (state, found)

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
        solved = self._solved(G, R, reml, sigma2, beta)
        if solved is None:
            return None
        state, found = solved
        return self.basis.evaluation(found, *(self.scores(state, found.weight) if score else ((), ())))

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
        solved = self._solved(G, R, reml, sigma2, beta)
        if solved is None:
            return None
        state, found = solved
        made = self.second(state, tangents, R_tangents, found.weight)
        k, r = made.P.shape[:2]
        P, Q = np.empty((k + 1, r, r)), np.empty((k + 1, k + 1, r, r))
        T = np.empty((k + 1, k + 1))
        P[:k], P[k] = made.P, state.cross
        Q[:k, :k], Q[:k, k], Q[k] = made.Q, made.P, P
        trace = np.append(made.trace, float(self.n))
        T[:k, :k], T[k], T[:, k] = made.T, trace, trace
        curvature = Curvature(P, Q, T, trace, state.cross, self.basis.full, self.n, found, made.bend)
        return curvature, self.basis.evaluation(found, *self.scores(state, found.weight))

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        found, p = self.pulled(design, G, R), self.basis.p
        gamma, out = self.basis.gamma(beta), self.basis.full[:, :p]
        b = tuple(moved[..., : p + 1] @ gamma for moved in found.moved)
        shift = tuple(moved[..., : p + 1] @ out for moved in found.moved)
        return TabledEffects(b, found.cov, shift, found.whole)


def not_for(design: Design) -> str | None:
    """Why no engine of a structured residual takes a design; None where one may."""
    if design.residual is None:
        return "it takes a structured residual, and this one is independent"
    related = [g.name for g in design.groupings if g.relationship is not None]
    if related:
        return f"it takes levels that are independent, and those of {related[0]} are related"
    return None


def levels_of_terms(design: Design) -> tuple[int, ...]:
    """The number of levels of each term's factor."""
    return tuple(design.groupings[t.grouping].size for t in design.terms)


def units_of_terms(design: Design) -> tuple[Array, ...]:
    """For each term the root mean square of its weighted columns."""
    return tuple(np.sqrt(np.mean(design.weighted(t.Z) ** 2, axis=0)) for t in design.terms)


def basis_columns(design: Design) -> tuple[Basis, Array]:
    """The basis of a design and its columns (n, p+1), the last one the residual itself."""
    basis, columns = Basis.of(design)
    Y = np.column_stack(columns)
    Y[:, -1] *= np.sqrt(basis.residual_square)
    return basis, Y
