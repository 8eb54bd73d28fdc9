"""Where a result's heavier parts come from: the fitted model, computed when asked for; or a saved file."""

from __future__ import annotations

import importlib.metadata
import platform
from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import pandas as pd
from attrs import fields, frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.model import CovarianceModel
from mmframe.covariance.parameterization import ABSOLUTE
from mmframe.covariance.report import Reported
from mmframe.covariance.term import BoundTerm
from mmframe.design.design import Design
from mmframe.design.fixed_summary import FixedSummary, summarize
from mmframe.design.kept import Encoding
from mmframe.design.relationship import Relationship
from mmframe.likelihood.effects import Effects
from mmframe.likelihood.engine import Engine
from mmframe.optimize.found import Found
from mmframe.optimize.stage import TraceRow
from mmframe.results.estimates import Estimates, TermEstimate
from mmframe.results.memory import ResidualMemory
from mmframe.results.parameters import parameter_table
from mmframe.results.predict import Rows, conditional_part
from mmframe.results.residual import Table, drawn, tables, unmixed, whitened
from mmframe.results.second_order import second_term
from mmframe.results.sensitivity import Sensitivity, sensitivity
from mmframe.results.uncertainty import Uncertainty, uncertainty
from mmframe.spec.model import ModelSpec

_TRACE = tuple(f.name for f in fields(TraceRow))


class Source(ABC):
    """What a result can be asked for beyond its estimates."""

    @property
    @abstractmethod
    def estimates(self) -> Estimates: ...

    @property
    @abstractmethod
    def parameter_table(self) -> pd.DataFrame: ...

    @property
    @abstractmethod
    def parameter_cov(self) -> Array:
        """The covariance of the rows of the table, (rows, rows)."""

    @property
    @abstractmethod
    def sensitivity(self) -> Sensitivity:
        """How the covariance of β̂ moves with the covariance parameters. Raises EngineRefusedError, StoreError."""

    @property
    @abstractmethod
    def second_order(self) -> tuple[Array, Array]:
        """Φ Σ_jl W_jl R_jl Φ (p, p), R_jl of the second derivatives of Σ, with the observed and the expected information for W.
        Raises EngineRefusedError, StoreError."""

    @property
    @abstractmethod
    def kept_sensitivity(self) -> Sensitivity | None:
        """What a file keeps: None where it would take long."""

    @property
    @abstractmethod
    def fixed_summary(self) -> FixedSummary:
        """The terms and the columns of the fixed effects, for tests of terms and marginal means."""

    @property
    @abstractmethod
    def effects(self) -> Effects: ...

    @property
    @abstractmethod
    def fitted(self) -> Array: ...

    @property
    @abstractmethod
    def population(self) -> Array:
        """The fixed part with the offset, (n,)."""

    @property
    @abstractmethod
    def response(self) -> Array: ...

    @property
    @abstractmethod
    def weights(self) -> Array | None: ...

    @property
    @abstractmethod
    def index(self) -> pd.Index: ...

    @property
    @abstractmethod
    def encoding(self) -> Encoding: ...

    @property
    @abstractmethod
    def residual_tables(self) -> tuple[Table, ...]:
        """Σ of each stratum of the residual by point, in data units."""

    @property
    @abstractmethod
    def pearson(self) -> Array:
        """Response residuals over their standard deviations, (n,)."""

    @property
    @abstractmethod
    def normalized(self) -> Array:
        """Response residuals over their standard deviations and without their correlation, (n,)."""

    @property
    @abstractmethod
    def relationships(self) -> tuple[Relationship | None, ...]:
        """K of each grouping factor."""

    @property
    @abstractmethod
    def memory(self) -> ResidualMemory | None:
        """The rows of a structured residual, for prediction; None where residuals are independent."""

    @property
    @abstractmethod
    def residual_flats(self) -> tuple[Array, ...]:
        """The natural parameters of each stratum of a structured residual, in data units."""

    @property
    def residual_variance(self) -> Array:
        """The residual's variance of each row, after weights: (n,)."""
        if self.memory is not None:
            return self.memory.own_variance()
        variance = np.full(self.index.size, self.estimates.sigma2)
        return variance if self.weights is None else np.asarray(variance / self.weights)

    @abstractmethod
    def precision(self, columns: Array) -> Array:
        """R⁻¹ times columns (n, k). Raises StoreError for a saved fit."""

    @abstractmethod
    def noise(self, independent: Array) -> Array:
        """Residuals with the fitted covariance from independent standard normals (n, k)."""

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """The data's own matrices. Raises StoreError for a saved fit, which holds no data."""


@frozen(eq=False)
class FittedSource(Source):
    """Computes from the design and the engine at the point that was found.

    structures: the (qualified) names of the terms' structures.   reported: what is read off the covariance parameters.
    """

    spec: ModelSpec
    design: Design
    engine: Engine
    covariance: CovarianceModel
    reported: tuple[Reported, ...]
    structures: tuple[str, ...]
    found: Found

    @cached_property
    def estimates(self) -> Estimates:
        design, found = self.design, self.found
        point, evaluation, counts = found.point, found.evaluation, found.counts
        terms = tuple(
            TermEstimate(term.label, term.grouping, term.columns, name, bound.covariance_of(flat))
            for term, name, bound, flat in zip(
                design.terms, self.structures, self.covariance.random, point.flats[: len(design.terms)], strict=True
            )
        )
        free = found.cover.size + (0 if found.cover.scale is ABSOLUTE else 1)
        return Estimates(
            loglike=-0.5 * point.value,
            reml=self.spec.reml,
            nobs=design.n,
            n_missing=design.n_missing,
            n_parameters=design.p - self.engine.held_effects + free,
            columns=design.columns,
            dropped=design.dropped,
            beta=evaluation.beta,
            beta_cov=evaluation.beta_cov,
            sigma2=point.sigma2,
            terms=terms,
            grouping_names=tuple(g.name for g in design.groupings),
            grouping_columns=tuple(tuple(map(str, g.levels.names)) for g in design.groupings),
            grouping_levels=tuple(g.levels for g in design.groupings),
            converged=found.converged,
            singular=found.singular,
            stop_reason=found.reason,
            gradient_norm=found.check.gradient_norm,
            smallest_curvature=found.check.smallest_curvature,
            evaluations={"values": counts.values, "gradients": counts.gradients, "hessians": counts.hessians},
            seconds=sum(found.phases.values()),
            engine=self.engine.name,
            weighted=design.weights is not None,
            trace=tuple({name: getattr(row, name) for name in _TRACE} for row in found.trace),
            versions=versions(),
            phases=found.phases,
        )

    @cached_property
    def _parameters(self) -> tuple[pd.DataFrame, Array]:
        return parameter_table(self.engine, self.reported, self.found, self.uncertainty)

    @property
    def parameter_table(self) -> pd.DataFrame:
        return self._parameters[0]

    @property
    def parameter_cov(self) -> Array:
        return self._parameters[1]

    @cached_property
    def uncertainty(self) -> Uncertainty:
        """By one exact Hessian, for the table of parameters and for degrees of freedom."""
        return uncertainty(self.engine, self.found, reml=self.spec.reml)

    @cached_property
    def sensitivity(self) -> Sensitivity:
        return sensitivity(self.engine, self.found, self.uncertainty, reml=self.spec.reml)

    @cached_property
    def second_order(self) -> tuple[Array, Array]:
        moves, phi = self.sensitivity, self.found.evaluation.beta_cov
        return (
            second_term(self.engine, self.uncertainty, phi, moves.covariance, moves.within),
            second_term(self.engine, self.uncertainty, phi, moves.expected, moves.within_expected),
        )

    @property
    def kept_sensitivity(self) -> Sensitivity | None:
        return None if self.engine.prefers_average else self.sensitivity

    @cached_property
    def fixed_summary(self) -> FixedSummary:
        design, encoding = self.design, self.encoding
        assert design.frame is not None
        return summarize(encoding.fixed, encoding.kept, design.X, design.frame, encoding.transforms)

    @cached_property
    def effects(self) -> Effects:
        scale = self.found.point.sigma2  # covariances of effects are relative to σ²
        G, R = (tuple(m / scale for m in part) for part in self.covariance.matrices_at(self.found.point.flats))
        return self.engine.effects(self.design, G, self.found.evaluation.beta, R)

    @cached_property
    def fitted(self) -> Array:
        return np.asarray(self.population + conditional_part(self.rows, self.estimates, self.effects))

    @property
    def population(self) -> Array:
        mean = self.rows.X @ self.found.evaluation.beta
        return np.asarray(mean if self.rows.offset is None else mean + self.rows.offset)

    @property
    def response(self) -> Array:
        design = self.design
        return design.y if design.offset is None else design.y + design.offset

    @property
    def weights(self) -> Array | None:
        return self.design.weights

    @property
    def index(self) -> pd.Index:
        return self.design.index

    @property
    def encoding(self) -> Encoding:
        assert isinstance(self.design.encoding, Encoding)
        return self.design.encoding

    @property
    def residual_terms(self) -> tuple[tuple[BoundTerm, ...], tuple[Array, ...]]:
        """The structured residual's terms with their natural parameters in data units; none where it is independent."""
        return self.covariance.residual, self.found.point.flats[self.covariance.n_random :]

    @cached_property
    def residual_tables(self) -> tuple[Table, ...]:
        if self.design.residual is None:
            return (Table("", ("",), np.array([[self.estimates.sigma2]])),)
        return tables(*self.residual_terms)

    @cached_property
    def _weighted_residual(self) -> Array:
        return self.design.weighted(self.response - self.fitted)

    @cached_property
    def pearson(self) -> Array:
        return np.asarray((self.response - self.fitted) / np.sqrt(self.residual_variance))

    @cached_property
    def normalized(self) -> Array:
        if self.design.residual is None:
            return self.pearson
        return whitened(self.design.residual, *self.residual_terms, self._weighted_residual)

    @cached_property
    def memory(self) -> ResidualMemory | None:
        design = self.design
        if design.residual is None:
            return None
        terms, flats = self.residual_terms
        return ResidualMemory(
            design.residual,
            lambda k, index: terms[k].covariance_at(flats[k], index),
            design.root_weights,
            design.X,
            tuple(t.Z for t in design.terms),
            tuple(g.codes for g in design.groupings),
            self.response - self.fitted,
        )

    @property
    def residual_flats(self) -> tuple[Array, ...]:
        return self.residual_terms[1]

    def precision(self, columns: Array) -> Array:
        if self.design.residual is None:
            return np.asarray(columns / self.residual_variance[:, None])
        root = np.ones((self.design.n, 1)) if self.design.root_weights is None else self.design.root_weights[:, None]
        return np.asarray(root * unmixed(self.design.residual, *self.residual_terms, root * columns))

    def noise(self, independent: Array) -> Array:
        """Residuals with the fitted covariance from independent standard normals (n, k)."""
        if self.design.residual is None:
            made = independent * np.sqrt(self.estimates.sigma2)
        else:
            made = drawn(self.design.residual, *self.residual_terms, independent)
        return np.asarray(made if self.design.root_weights is None else made / self.design.root_weights[:, None])

    @property
    def relationships(self) -> tuple[Relationship | None, ...]:
        return tuple(g.relationship for g in self.design.groupings)

    @property
    def rows(self) -> Rows:
        return Rows.of_design(self.design)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    from mmframe import __version__

    found = {"python": platform.python_version(), "mmframe": __version__}
    for name in ("numpy", "scipy", "pandas", "formulaic"):
        found[name] = _version(name)
    return found


def _version(name: str) -> str:
    if name not in _VERSIONS:
        _VERSIONS[name] = importlib.metadata.version(name)
    return _VERSIONS[name]


_VERSIONS: dict[str, str] = {}
