"""Derivatives of Σ(φ): analytic where a structure gives them, else by complex step, else by central differences.

A complex step is exact to rounding where the code is analytic, and silently wrong where it is not (`abs`, a negative
base to a real power). So it is used only after it has agreed with central differences at points of the domain.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mmframe.covariance.domain import Array, Box, Domain
from mmframe.covariance.structure import CovarianceStructure, Param, Phi, Points

_STEP = 1e-5
_COMPLEX_STEP = 1e-30
_AGREEMENT = 1e-6
FEW = 12  # points that are enough to choose the method, where there may be very many


class DerivativeMethod(enum.Enum):
    """How ∂Σ/∂φ is computed."""

    ANALYTIC = "analytic"
    COMPLEX_STEP = "complex step"
    DIFFERENCES = "central differences"


def parts(params: tuple[Param, ...]) -> Iterator[tuple[Param, slice]]:
    """Each parameter with its place in the flat φ."""
    place = 0
    for param in params:
        yield param, slice(place, place + param.domain.count)
        place += param.domain.count


def make_phi(params: tuple[Param, ...], flat: Any) -> Phi:
    """Natural parameters from one flat vector over all parameters."""
    return Phi({param.name: param.domain.unflatten(flat[part]) for param, part in parts(params)})


def flatten_phi(params: tuple[Param, ...], phi: Any) -> Array:
    """One flat vector over all parameters, from a mapping of values."""
    parts = [np.asarray(param.domain.flatten(phi[param.name]), dtype=float) for param in params]
    return np.concatenate(parts) if parts else np.zeros(0)


def central_differences(function: Callable[[Array], Array], point: Array, scale: Array | None = None) -> Array:
    """∂function/∂point by central differences: (point.size, *function shape). `scale`: typical sizes of the entries."""
    steps = _STEP * (np.maximum(np.abs(point), 1e-3) if scale is None else scale)
    columns = []
    for k in range(point.size):
        up, down = point.copy(), point.copy()
        up[k] += steps[k]
        down[k] -= steps[k]
        columns.append((function(up) - function(down)) / (up[k] - down[k]))
    return np.stack(columns)


def typical_sizes(params: tuple[Param, ...], flat: Array) -> Array:
    """The size of each entry of the flat φ, for steps: its own, or a thousandth of the largest of its parameter where it
    carries the scale (whatever its units), of 1 where it is a shape."""
    sizes = np.abs(flat)
    for param, part in parts(params):
        floor = 1e-3 * (float(np.max(sizes[part], initial=0.0)) if param.scale_power else 1.0)
        sizes[part] = np.maximum(sizes[part], floor if floor > 0.0 else 1e-3)
    return sizes


def _stays_inside(domain: Domain, flat: Array) -> bool:
    return not isinstance(domain, Box) or bool(np.all(flat > domain.low) and np.all(flat < domain.high))


def _differences(structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array) -> Array:
    """Central differences; one-sided of second order where a bound of a box is nearer than the step."""

    def sigma(values: Array) -> Array:
        return np.asarray(structure.covariance(make_phi(params, values), index), dtype=float)

    owner = [param for param in params for _ in range(param.domain.count)]
    sizes = typical_sizes(params, flat)
    rows = []
    for k, param in enumerate(owner):
        step = _STEP * sizes[k]

        def moved(by: float, k: int = k) -> Array:
            values = flat.copy()
            values[k] += by
            return values

        ahead = _stays_inside(param.domain, moved(2 * step)[k : k + 1])
        behind = _stays_inside(param.domain, moved(-2 * step)[k : k + 1])
        if ahead and behind:
            rows.append((sigma(moved(step)) - sigma(moved(-step))) / (2 * step))
        else:
            h = step if ahead else -step
            rows.append((-3 * sigma(flat) + 4 * sigma(moved(h)) - sigma(moved(2 * h))) / (2 * h))
    return np.stack(rows)


def _complex_step(structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array) -> Array:
    rows = []
    for k in range(flat.size):
        moved = flat.astype(complex)
        moved[k] += 1j * _COMPLEX_STEP
        rows.append(np.imag(structure.covariance(make_phi(params, moved), index)) / _COMPLEX_STEP)
    return np.stack(rows)


def _analytic(structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array) -> Any:
    given = structure.jacobian(make_phi(params, flat), index)
    if given is NotImplemented:
        return NotImplemented
    parts = []
    for param in params:
        part = np.asarray(given[param.name], dtype=float)
        parts.append(part if part.ndim == index.ndim + 1 else part[None])
    return np.concatenate(parts) if parts else np.zeros((0, *index.shape[:-1], index.shape[-2]))


_BY_METHOD = {
    DerivativeMethod.ANALYTIC: _analytic,
    DerivativeMethod.COMPLEX_STEP: _complex_step,
    DerivativeMethod.DIFFERENCES: _differences,
}


def jacobian(
    method: DerivativeMethod, structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array
) -> Array:
    """∂Σ/∂φ over all parameters: (total count, ..., m, m)."""
    return np.asarray(_BY_METHOD[method](structure, params, flat, index))


def choose_method(structure: CovarianceStructure, params: tuple[Param, ...], points: Points) -> DerivativeMethod:
    """The best method that this structure supports at these points; a complex step only where it proves right."""
    if not params:
        return DerivativeMethod.ANALYTIC
    rng = np.random.default_rng(20240229)
    samples = [flatten_phi(params, {p.name: p.domain.sample(rng) for p in params}) for _ in range(3)]
    overridden = type(structure).jacobian is not CovarianceStructure.jacobian
    if overridden and _analytic(structure, params, samples[0], points.index) is not NotImplemented:
        return DerivativeMethod.ANALYTIC
    for flat in samples:
        try:
            with np.errstate(all="ignore"):
                fast = _complex_step(structure, params, flat, points.index)
        except (TypeError, ValueError, AttributeError, ArithmeticError, np.linalg.LinAlgError):
            return DerivativeMethod.DIFFERENCES  # code that does not take complex numbers
        slow = _differences(structure, params, flat, points.index)
        if not np.allclose(fast, slow, rtol=_AGREEMENT, atol=_AGREEMENT * max(float(np.max(np.abs(slow))), 1e-300)):
            return DerivativeMethod.DIFFERENCES
    return DerivativeMethod.COMPLEX_STEP


def constant_jacobian(
    method: DerivativeMethod, structure: CovarianceStructure, params: tuple[Param, ...], points: Points
) -> Array | None:
    """∂Σ/∂φ where it is the same everywhere, so that Σ is linear in φ; else None."""
    rng = np.random.default_rng(20240301)
    first, second = (
        jacobian(
            method,
            structure,
            params,
            flatten_phi(params, {p.name: p.domain.sample(rng) for p in params}),
            points.index,
        )
        for _ in range(2)
    )
    return first if np.array_equal(first, second) else None
