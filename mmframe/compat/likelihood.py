"""The criterion and its derivatives in packed parameters, as the engine gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import evolve, frozen

from mmframe.compat.layout import Layout
from mmframe.compat.params import MixedLMParams, as_params, square_root
from mmframe.compat.sampling import joint_information
from mmframe.covariance.domain import Array, OutsideDomainError, PositiveDefinite, vech
from mmframe.covariance.matrix_bijections import CholeskyEntries
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Evaluation
from mmframe.likelihood.information import eliminate
from mmframe.likelihood.threads import one_blas_thread

_SINGULAR = 1e-10


@frozen(eq=False)
class Likelihood:
    """−½ of what an engine evaluates. Parameters are of the profile parameterization, and scale is profiled."""

    layout: Layout
    engine: Engine
    reml: bool
    use_sqrt: bool = True

    def read(self, params: Any, where: str = "params") -> MixedLMParams:
        """A copy of parameters. Raises ValueError for those of another model."""
        return as_params(params, self.layout.shape, self.use_sqrt, where)

    def _point(self, fe_params: Any, cov_re: Any, vcomp: Any) -> MixedLMParams:
        parts = {
            "cov_re": np.atleast_2d(np.asarray(cov_re, dtype=float)),
            "vcomp": np.atleast_1d(np.asarray(vcomp, dtype=float)),
        }
        if not parts["cov_re"].size:
            parts["cov_re"] = np.zeros((0, 0))
        return self.read(MixedLMParams.from_components(np.asarray(fe_params, dtype=float), **parts), "parameters")

    def _evaluate(self, params: MixedLMParams, beta: Array | None, score: bool = False) -> Evaluation | None:
        try:
            with one_blas_thread(), np.errstate(all="ignore"):
                return self.engine.evaluate(self.layout.matrices(params), reml=self.reml, score=score, beta=beta)
        except (OutsideDomainError, np.linalg.LinAlgError):
            return None

    def value(self, params: Any, profile_fe: bool) -> float:
        point = self.read(params)
        if np.any(np.asarray(point.vcomp) < 0):
            return -np.inf
        found = self._evaluate(point, None if profile_fe else self.layout.inward(point.fe_params))
        return -np.inf if found is None or not np.isfinite(found.value) else -0.5 * found.value

    def score(self, params: Any, calc_fe: bool) -> tuple[Array, Array, Array]:
        """By slopes, the lower triangle, components; at the slopes that params has. NaN outside the parameter space."""
        point, k_fe, k = self.read(params), len(self.layout.order), self.layout.k_re2
        found = self._evaluate(point, self.layout.inward(point.fe_params), score=True)
        if found is None:
            return np.full(k_fe, np.nan), np.full(k, np.nan), np.full(len(self.layout.components), np.nan)
        covariances = -0.5 * self.layout.gradient(found.score)
        slopes = -0.5 * self.layout.outward(found.beta_score) if calc_fe else np.zeros(k_fe)
        return slopes, covariances[:k], covariances[k:]

    def score_by_root(self, params: Any, calc_fe: bool) -> tuple[Array, Array, Array]:
        """By slopes, the Cholesky factor, roots of components."""
        point = self.read(params)
        slopes, entries, components = self.score(point, calc_fe)
        if self.layout.k_re:
            root = vech(square_root(np.asarray(point.cov_re, dtype=float)))
            entries = CholeskyEntries(PositiveDefinite(self.layout.k_re)).jacobian(root).T @ entries
        return slopes, np.asarray(entries), components * 2.0 * np.sqrt(point.vcomp)

    def hessian(self, params: Any) -> tuple[Array, bool]:
        point = self.read(params)
        size = len(self.layout.order) + self.layout.k_re2 + len(self.layout.components)
        joint = joint_information(self.layout, point, reml=self.reml)
        singular = is_singular(point.cov_re, point.vcomp, _SINGULAR)
        if joint is None:
            return np.full((size, size), np.nan), singular
        return -0.5 * eliminate(joint, np.array([size])), singular

    def slopes(self, cov_re: Any, vcomp: Any, tol: float = _SINGULAR) -> tuple[Array, bool]:
        """Slopes by generalised least squares, and whether the covariance is singular."""
        if not len(self.layout.order):
            return np.zeros(0), False
        point = self._point(np.zeros(len(self.layout.order)), cov_re, vcomp)
        found = self._evaluate(point, None)
        if found is None:
            raise ValueError(
                "cov_re, vcomp: outside the parameter space · allowed: a covariance matrix, and components ≥ 0"
            )
        return self.layout.outward(found.beta), is_singular(point.cov_re, point.vcomp, tol)

    def scale(self, fe_params: Any, cov_re: Any, vcomp: Any) -> float:
        point = self._point(fe_params, cov_re, vcomp)
        found = evolve(self, engine=self.layout.model.engine)._evaluate(point, self.layout.inward(point.fe_params))
        if found is None:
            raise ValueError(
                "cov_re, vcomp: outside the parameter space · allowed: a covariance matrix, and components ≥ 0"
            )
        return found.sigma2


def is_singular(cov_re: Any, vcomp: Any, tol: float) -> bool:
    """Whether an eigenvalue of cov_re, or a component, is below tol."""
    matrix, components = np.asarray(cov_re, dtype=float), np.asarray(vcomp, dtype=float)
    return bool((matrix.size and np.linalg.eigvalsh(np.atleast_2d(matrix))[0] < tol) or np.any(components < tol))
