"""Penalties for `fit(fe_pen=..., cov_pen=...)`. Any object with `func` and `deriv` serves, those of statsmodels too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from attrs import frozen

from mmframe.compat.components import Ints
from mmframe.compat.params import square_root
from mmframe.covariance.domain import Array
from mmframe.likelihood import penalty as core


class Penalty(ABC):
    """A penalty on slopes. weights: a number, or one for each slope; `alpha` multiplies them."""

    def __init__(self, weights: Any = 1.0) -> None:
        self.weights = weights
        self.alpha: Any = 1.0

    @abstractmethod
    def func(self, params: Array) -> float:
        """The penalty at params (k_fe,)."""

    @abstractmethod
    def deriv(self, params: Array) -> Array:
        """Its gradient (k_fe,)."""


class L2(Penalty):
    """alpha Σ weight β²: ridge regression."""

    def func(self, params: Array) -> float:
        return float(np.sum(self.weights * self.alpha * params**2))

    def deriv(self, params: Array) -> Array:
        return np.asarray(2.0 * self.weights * self.alpha * params)


class PseudoHuber(Penalty):
    """alpha Σ weight dlt² (√(1 + (β/dlt)²) − 1): quadratic near zero, linear far from it."""

    def __init__(self, dlt: float, weights: Any = 1.0) -> None:
        super().__init__(weights)
        self.dlt = dlt

    def func(self, params: Array) -> float:
        return float(np.sum(self.weights * self.alpha * self.dlt**2 * (np.sqrt(1.0 + (params / self.dlt) ** 2) - 1.0)))

    def deriv(self, params: Array) -> Array:
        return np.asarray(params * self.weights * self.alpha / np.sqrt(1.0 + (params / self.dlt) ** 2))


class CovariancePenalty(ABC):
    """A penalty on cov_re relative to scale. weight: a number."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @abstractmethod
    def func(self, mat: Array, mat_inv: Array) -> float:
        """The penalty at the matrix (k_re, k_re); its inverse is given as well."""

    @abstractmethod
    def deriv(self, mat: Array, mat_inv: Array) -> Array:
        """The gradient by the entries of the lower triangle, row by row."""


class PSD(CovariancePenalty):
    """−weight log|cov_re|: goes to infinity at singular matrices."""

    def func(self, mat: Array, mat_inv: Array) -> float:
        diagonal = np.diag(square_root(mat))
        return float(-2.0 * self.weight * np.sum(np.log(diagonal))) if np.all(diagonal > 0) else np.inf

    def deriv(self, mat: Array, mat_inv: Array) -> Array:
        twice = 2.0 * mat_inv - np.diag(np.diag(mat_inv))
        return np.asarray(-self.weight * twice[np.tril_indices(len(mat))])


@frozen(eq=False)
class _OnEffects:
    """A penalty of users on slopes, for the engine. order: the place of each of the engine's columns among the slopes."""

    given: Any
    order: Ints

    def value(self, beta: Array) -> float:
        return float(self.given.func(beta[np.argsort(self.order)]))

    def gradient(self, beta: Array) -> Array:
        return np.asarray(self.given.deriv(beta[np.argsort(self.order)]), dtype=float)[self.order]


@frozen(eq=False)
class _OnCovariance:
    """A penalty of users on cov_re, for the engine: infinite where the matrix has no inverse. order: likewise."""

    given: Any
    order: Ints

    def _outside(self, G: Array) -> Array:
        back = np.argsort(self.order)
        return G[np.ix_(back, back)]

    def value(self, G: Array) -> float:
        matrix = self._outside(G)
        try:
            return float(self.given.func(matrix, np.linalg.inv(matrix)))
        except np.linalg.LinAlgError:
            return np.inf

    def gradient(self, G: Array) -> Array:
        matrix = self._outside(G)
        out = np.zeros_like(matrix)
        out[np.tril_indices(len(G))] = np.asarray(self.given.deriv(matrix, np.linalg.inv(matrix)), dtype=float)
        return 0.5 * (out + out.T)[np.ix_(self.order, self.order)]  # an entry off the diagonal stands twice


def on_effects(given: Any, order: Ints) -> core.Penalty:
    """The core's penalty on β. Raises ValueError for an object that is no penalty."""
    _check(given, "fe_pen")
    found = _OnEffects(given, order)
    return core.Penalty(found.value, found.gradient)


def on_covariance(given: Any, order: Ints) -> core.Penalty:
    """The core's penalty on the matrix of a term. Raises ValueError for an object that is no penalty."""
    _check(given, "cov_pen")
    found = _OnCovariance(given, order)
    return core.Penalty(found.value, found.gradient)


def _check(given: Any, where: str) -> None:
    if not (callable(getattr(given, "func", None)) and callable(getattr(given, "deriv", None))):
        raise ValueError(f"{where}: {given!r} · allowed: an object with func and deriv, such as L2() or PSD(1.0)")
