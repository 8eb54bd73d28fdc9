"""The engine: what evaluates the criterion from reduced data. Engines speak matrices, never θ or φ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mmframe.covariance.domain import Array
from mmframe.likelihood.criterion import Solution
from mmframe.likelihood.effects import Effects
from mmframe.likelihood.evaluation import Curvature, Evaluation
from mmframe.likelihood.information import Kind, Sums, moment_estimates, second_derivatives, sums

if TYPE_CHECKING:
    from mmframe.design.design import Design


class Engine(ABC):
    """Evaluates −2 log L of one design. All passes over the rows happen in `reduce`.

    `G` is a tuple of one (q_k, q_k) matrix a term, relative to σ². `R` holds the residual's covariance, relative to σ²
    too, at each stack of patterns (..., m, m) that `residual_index` asks for; it is empty where residuals are independent
    with one variance. Engines keep no state between evaluations.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def refuses(cls, design: Design) -> str | None:
        """None when this engine can evaluate the design; else the reason, in words that the user sees."""

    @classmethod
    def suits(cls, design: Design) -> bool:
        """Whether to take this engine where others can evaluate the design as well."""
        return True

    @classmethod
    @abstractmethod
    def reduce(cls, design: Design) -> Engine:
        """Reduce the design to what the criterion needs."""

    def of(self, design: Design) -> Engine:
        """The same kind of engine for another design of the same terms."""
        return type(self).reduce(design)

    @abstractmethod
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
        """The criterion at one point; None where it is not finite. σ² and β are profiled unless a value is held."""

    @abstractmethod
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
        """P, Q and T along k tangents, given as one array (k, q_k, q_k) a term and (k, ..., m, m) a stack of R, and the
        evaluation with its scores."""

    @property
    @abstractmethod
    def n(self) -> int:
        """Rows."""

    @property
    @abstractmethod
    def residual_square(self) -> float:
        """The (weighted) sum of squares that ordinary least squares leaves."""

    @property
    @abstractmethod
    def levels_per_term(self) -> tuple[int, ...]:
        """The number of levels m_k of each term's grouping factor (EM divides by it)."""

    @property
    @abstractmethod
    def unit_scales(self) -> tuple[Array, ...]:
        """For each term the root mean square of its basis columns within levels, (q_k,): makes G free of units."""

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        """For each stratum of the residual the indices (..., m, d) at which R is wanted."""
        return ()

    @abstractmethod
    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        """The random effects of each grouping factor at (G, β). `design` is the one that the engine was reduced from."""

    def describe(self) -> str:
        """How the design is held, in words for the user; one line or a table."""
        return f"{self.n:,} rows, reduced by the engine {self.name}"

    @property
    def held_effects(self) -> int:
        """How many entries of β stand at given values, and are no parameters."""
        return 0

    @property
    def prefers_average(self) -> bool:
        """Whether the traces of the exact curvature cost so much more than the rest that steps should do without."""
        return False

    @property
    def exact_is_affordable(self) -> bool:
        """Whether the exact curvature can be had at all in reasonable time: else errors of variances are by average
        information too."""
        return True

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
        """What average information needs, without traces, and the evaluation with its scores."""
        answer = self.curvature(G, tangents, reml=reml, sigma2=sigma2, R=R, R_tangents=R_tangents)
        if answer is None:
            return None
        return sums(answer[0], reml=reml), answer[0].solution, answer[1]

    def hessian(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        dsigma2: Array,
        *,
        reml: bool,
        sigma2: float | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
        average: bool = False,
    ) -> tuple[Array, Evaluation] | None:
        """Second derivatives along k directions (tangents, dsigma2 (k,)) with β profiled, and σ² where none is given: (k, k),
        without the curvature of the coordinates; and the evaluation with its scores. None where that is not finite."""
        if average:
            answer = self.average(G, tangents, reml=reml, sigma2=sigma2, R=R, R_tangents=R_tangents)
        else:
            exact = self.curvature(G, tangents, reml=reml, sigma2=sigma2, R=R, R_tangents=R_tangents)
            answer = exact and (sums(exact[0], reml=reml), exact[0].solution, exact[1])
        if answer is None:
            return None
        kind: Kind = "average" if average else "observed"
        if not tangents and not R_tangents:  # no term: σ² alone moves, and V/σ² stands still
            return second_derivatives(answer[0].still(dsigma2.size), answer[1], dsigma2, profiled=False), answer[2]
        inside = second_derivatives(answer[0], answer[1], dsigma2, profiled=sigma2 is None, kind=kind)
        return inside + answer[0].bend, answer[2]

    def moments(
        self, G: tuple[Array, ...], tangents: tuple[Array, ...], *, reml: bool, R: tuple[Array, ...] = ()
    ) -> tuple[tuple[Array, ...], float] | None:
        """(G_k, σ²) in data units from quadratic forms whose expectations are linear in them; None where that fails.

        tangents span the entries of the G_k. Here MIVQUE at V(G, R): Σ_l tr(P V_j P V_l) θ_l = y'P V_j P y (Rao 1971).
        """
        still = tuple(np.zeros((len(tangents[0]), *r.shape)) for r in R) if tangents else ()
        answer = self.curvature(G, tangents, reml=reml, R=R, R_tangents=still)
        return None if answer is None else moment_estimates(sums(answer[0], reml=reml), G, tangents)
