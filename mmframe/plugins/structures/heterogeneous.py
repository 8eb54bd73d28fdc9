"""A variance for each point around the correlations of another structure."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import CovarianceStructure, IndexKind, Param, Phi, Points, Positive, hookimpl

_SCALE = "variance"
# The slope of a standard deviation is infinite where a variance is zero: it is taken this near to zero instead.
_NEAR_ZERO = 1e-16


@frozen
class Heterogeneous(CovarianceStructure):
    """Σ = D^½ C D^½: C is the given structure at variance 1, D holds a variance for each point.

    The structure must have one scale, a number named `variance`. ARH(1), CSH and TOEPH of SAS PROC MIXED; varIdent with a
    correlation structure in nlme (Pinheiro & Bates 2000, §5.2).
    """

    name = "heterogeneous"
    numbered = True
    structure: CovarianceStructure = field()

    @structure.validator
    def _is_a_structure(self, _: object, value: object) -> None:
        if not isinstance(value, CovarianceStructure):
            raise ValueError(f"structure={value!r}; allowed: a covariance structure, such as AR1()")

    @property
    def index_kind(self) -> IndexKind:  # type: ignore[override]
        return self.structure.index_kind

    def params(self, points: Points) -> tuple[Param, ...]:
        inner = self.structure.params(self._points(points))
        scales = [p for p in inner if p.scale_power]
        if [(p.name, p.domain, p.scale_power) for p in scales] != [(_SCALE, Positive(), 2)]:
            raise ValueError(
                f"heterogeneous needs a structure with one scale, a positive number named {_SCALE!r};"
                f" {self.structure.name} has {', '.join(p.name for p in scales) or 'none'}"
            )
        variance = Param(_SCALE, Positive(points.size), scale_power=2, labels=points.labels)
        return tuple(variance if p.name == _SCALE else p for p in inner)

    def covariance(self, phi: Phi, index: Any) -> Any:
        sd = np.sqrt(phi[_SCALE])[index[..., -1].astype(int)]
        correlation = self.structure.covariance(_at_one(phi), self._index(index))
        return sd[..., :, None] * sd[..., None, :] * correlation

    def jacobian(self, phi: Phi, index: Any) -> Any:
        inner = self.structure.jacobian(_at_one(phi), self._index(index))
        if inner is NotImplemented:
            return NotImplemented
        place = index[..., -1].astype(int)
        correlation = np.asarray(inner[_SCALE]).reshape(*place.shape, -1)  # Σ is linear in its variance
        variance = np.maximum(phi[_SCALE], _NEAR_ZERO * max(np.max(phi[_SCALE]), _NEAR_ZERO))
        sd = np.sqrt(variance)[place]
        scale = sd[..., :, None] * sd[..., None, :]
        # ∂Σ_ij/∂v_a = Σ_ij / (2 v_a), once for i = a and once for j = a.
        share = 0.5 * scale * correlation / variance[place][..., None]
        which = np.arange(variance.size).reshape(-1, *([1] * place.ndim))
        rows = np.where((place == which)[..., None], share, 0.0)
        shapes = {p: scale * np.asarray(inner[p]) for p in phi if p != _SCALE}
        return {_SCALE: rows + np.swapaxes(rows, -1, -2), **shapes}

    def customary(self, phi: Phi, points: Points) -> Any:
        """The variances, and correlations where the structure's own are covariances."""
        inner = self.structure.customary(_at_one(phi), self._points(points))
        return NotImplemented if inner is NotImplemented else [*phi[_SCALE], *np.asarray(inner)[1:]]

    def report(self, phi: Phi, points: Points) -> Any:
        return self.structure.report(_at_one(phi), self._points(points))

    def markov(self, points: Points) -> bool:
        return self.structure.markov(self._points(points))

    def _index(self, index: Any) -> Any:
        """The index as the inner structure knows it: the number of the point is ours unless it asked for it too."""
        return index if self.structure.numbered else index[..., :-1]

    def _points(self, points: Points) -> Points:
        return Points(points.labels, self._index(points.index))


def _at_one(phi: Phi) -> Phi:
    return Phi({**phi, _SCALE: 1.0})


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Heterogeneous]
