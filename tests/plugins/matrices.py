"""Shared by the tests of structures: points by hand, Σ at given parameters, derivatives against differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmframe.api import UNORDERED, CovarianceStructure, Phi, Points
from mmframe.covariance.derivative import DerivativeMethod, central_differences, flatten_phi, jacobian, make_phi


def points_at(structure: CovarianceStructure, places: Any) -> Points:
    """Points at these places, as the structure wants them: numbers alone where it is unordered."""
    index = np.asarray(places, dtype=float)
    index = index[:, None] if index.ndim == 1 else index
    numbers = np.arange(len(index), dtype=float)[:, None]
    index = numbers if structure.index_kind is UNORDERED else index
    labels = tuple(f"p{k + 1}" for k in range(len(index)))
    return Points(labels, np.hstack([index, numbers]) if structure.numbered else index)


def natural(values: dict[str, Any]) -> Phi:
    return Phi({k: np.asarray(v, dtype=float) if isinstance(v, Sequence) else v for k, v in values.items()})


def sigma(structure: CovarianceStructure, places: Any, **values: Any) -> Any:
    """Σ at these parameters; all declared ones must be given."""
    points = points_at(structure, places)
    assert [p.name for p in structure.params(points)] == list(values)
    return structure.covariance(natural(values), points.index)


def check_slopes(structure: CovarianceStructure, places: Any, **values: Any) -> None:
    """The analytic Jacobian equals central differences at these parameters, for a stack of orders too."""
    points = points_at(structure, places)
    params = structure.params(points)
    flat = flatten_phi(params, natural(values))
    stack = np.stack([points.index, points.index[::-1]])
    given = jacobian(DerivativeMethod.ANALYTIC, structure, params, flat, stack)
    by_steps = central_differences(lambda v: structure.covariance(make_phi(params, v), stack), flat)
    np.testing.assert_allclose(given, by_steps, atol=2e-9 * max(1.0, float(np.max(np.abs(by_steps)))))


def check_markov(structure: CovarianceStructure, places: Any, claimed: bool = True, **values: Any) -> None:
    """The claim of a tridiagonal inverse against a dense inverse, for all points and for some of them."""
    points = points_at(structure, places)
    assert structure.markov(points) is claimed
    tridiagonal = []
    for pick in (np.arange(points.size), np.array([0, 2, 3, points.size - 1])):
        inverse = np.linalg.inv(structure.covariance(natural(values), points.index[pick]))
        far = np.abs(np.subtract.outer(np.arange(len(pick)), np.arange(len(pick)))) > 1
        tridiagonal.append(bool(np.max(np.abs(inverse[far])) < 1e-9 * np.max(np.abs(inverse))))
    assert all(tridiagonal) if claimed else not any(tridiagonal)
