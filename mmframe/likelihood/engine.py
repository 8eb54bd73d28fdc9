"""The engine: what evaluates the criterion from reduced data. Engines speak matrices, never θ or φ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.evaluation import Curvature, Evaluation

if TYPE_CHECKING:
    from mmframe.design.design import Design


@frozen(eq=False)
class Effects:
    """The random effects of one grouping factor with m levels and q basis columns over all its terms.

    b (m, q): conditional means given y.   cov (m, q, q): their conditional covariance, relative to σ², β held.
    shift (m, q, p): G Z'V⁻¹X, by which an error in β moves b.
    """

    b: Array
    cov: Array
    shift: Array


class Engine(ABC):
    """Evaluates −2 log L of one design. All passes over the rows happen in `reduce`.

    `G` is a tuple of one (q_k, q_k) matrix a term, relative to σ². Engines keep no state between evaluations.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def refuses(cls, design: Design) -> str | None:
        """None when this engine can evaluate the design; else the reason, in words that the user sees."""

    @classmethod
    @abstractmethod
    def reduce(cls, design: Design) -> Engine:
        """Reduce the design to what the criterion needs."""

    @abstractmethod
    def evaluate(
        self,
        G: tuple[Array, ...],
        *,
        reml: bool,
        score: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
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
    ) -> tuple[Curvature, Evaluation] | None:
        """P, Q and T along k tangents, given as one array (k, q_k, q_k) a term, and the evaluation with its scores."""

    n: int  # rows

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

    @classmethod
    @abstractmethod
    def effects(cls, design: Design, G: tuple[Array, ...], beta: Array) -> tuple[Effects, ...]:
        """The random effects of each grouping factor at (G, β), from the design's rows."""
