"""The plain engine: no random effects and independent residuals with one variance, where V = I and least squares is all there is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.effects import Effects, TabledEffects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation


@frozen(eq=False)
class PlainEngine(Engine):
    """The triangular factor of [X y] is all that the criterion needs."""

    name: ClassVar[str] = "plain"

    basis: Basis

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        if design.residual is not None:
            return "it takes independent residuals with one variance"
        return "it takes a design without random effects" if design.terms else None

    @classmethod
    def reduce(cls, design: Design) -> PlainEngine:
        return cls(Basis.of(design)[0])

    def merge(self, other: PlainEngine) -> PlainEngine:
        """The engine of both parts of the data."""
        return PlainEngine(self.basis.merge(other.basis)[0])

    @property
    def n(self) -> int:
        return self.basis.n

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
        found = self.basis.solve(self.basis.cross.copy(), 0.0, reml=reml, sigma2=sigma2, beta=beta)
        return None if found is None else self.basis.evaluation(found, ())

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
        """V itself is the only tangent: there is nothing else to move."""
        cross = self.basis.cross.copy()
        found = self.basis.solve(cross, 0.0, reml=reml, sigma2=sigma2, beta=beta)
        if found is None:
            return None
        trace = np.array([float(self.n)])
        curvature = Curvature(cross[None], cross[None, None], trace[None], trace, cross, self.basis.full, self.n, found)
        return curvature, self.basis.evaluation(found, ())

    @property
    def residual_square(self) -> float:
        return self.basis.residual_square

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return ()

    @property
    def unit_scales(self) -> tuple[Array, ...]:
        return ()

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        return TabledEffects((), (), ())
