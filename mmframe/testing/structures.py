"""Checks of covariance structures."""

from __future__ import annotations

import re

import numpy as np

from mmframe.covariance.combine import Piece, Product
from mmframe.covariance.cover import cover
from mmframe.covariance.derivative import central_differences, jacobian, make_phi
from mmframe.covariance.domain import Array, Box
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.project import divergence, project_numerically
from mmframe.covariance.structure import CovarianceStructure, Param, Points
from mmframe.covariance.term import BoundTerm
from mmframe.likelihood.banded import BandedEngine
from mmframe.likelihood.pattern import PatternEngine
from mmframe.registry.registry import PARAMETERIZATION, default_registry
from mmframe.testing.designs import covariate_points, points_for
from mmframe.testing.oracle import ONE, check_against_oracle, check_residual_against_oracle, samples

SIZES = (1, 2, 3, 5)
_SINGULAR = 1e-10  # the most negative eigenvalue of a singular Σ, relative to its largest entry


def check_covariance_structure(structure: CovarianceStructure, sizes: tuple[int, ...] = SIZES) -> list[str]:
    """All rules of a covariance structure, and its likelihood on both a small and a wide basis.

    sizes: numbers of points to check. A variance function is checked as a product with a variance that carries the scale.
    Raises AssertionError with the rule that was broken.
    """
    if structure.unit:
        return check_variance_function(structure, sizes)
    done = [_names(structure)]
    for size in sizes:
        points = points_for(structure, size)
        params = tuple(structure.params(points))
        _declarations(structure, params, size)
        for sample in samples(params):
            _positive_definite(structure, params, points, sample, inside=True)
            _permutations_and_subsets(structure, params, points, sample)
            _scaling(structure, params, points, sample)
            _stacks(structure, params, points, sample)
            _markov(structure, params, points, sample)
            _jacobian(structure, params, points, sample)
        for sample in _edges(params):
            _positive_definite(structure, params, points, sample, inside=False)
        if size == max(sizes):  # at few points a shape may have nothing to shape
            _identifiable(structure, params, points)
            _customary(structure, params, points)
        if not structure.singular:
            _projection(structure, points)
        _report(structure, params, points)
    done += [
        "parameters are declared",
        "Σ is symmetric, finite and positive semidefinite over the domain and near its edges",
        "Σ follows its points: permutations and subsets",
        "scale powers: Σ(c^power φ) = c² Σ(φ)",
        "a stack of indices equals a loop",
        "a chain has a tridiagonal inverse",
        "the Jacobian equals differences",
        "parameters are identifiable",
        "customary parameters are a change of parameters",
        "the projection is a minimum",
        "reports are finite",
    ]
    for entry in default_registry().of_kind(PARAMETERIZATION):
        for size in (s for s in sizes if s <= 3):
            check_against_oracle(structure, entry.cls(), points_for(structure, size))
            if not structure.singular:
                check_residual_against_oracle(
                    structure, entry.cls(), points_for(structure, size), PatternEngine, random=False
                )
            if structure.markov(points_for(structure, size)):
                check_residual_against_oracle(
                    structure, entry.cls(), points_for(structure, size), BandedEngine, random=True
                )
        done.append(f"value, gradient and Hessian equal the dense oracle on both sides ({entry.name})")
    return done


def check_variance_function(structure: CovarianceStructure, sizes: tuple[int, ...] = SIZES) -> list[str]:
    """The rules of a variance function: with a variance that it multiplies it is a structure. Raises AssertionError."""
    done = [_names(structure)]
    for size in sizes:
        points = covariate_points(structure, size)
        params = tuple(structure.params(points))
        assert all(p.scale_power == 0 for p in params), f"{structure.name}: a variance function carries no scale"
        numbers = np.arange(float(size))[:, None]
        variance = Piece(ONE, Points(points.labels, numbers), slice(0, 1))
        whole = Product((variance, Piece(structure, points, slice(1, 2), "variance")))
        at = Points(points.labels, np.hstack([numbers, points.index]))
        every = tuple(whole.params(at))
        for sample in samples(every):
            _positive_definite(whole, every, at, sample, inside=True)
            _permutations_and_subsets(whole, every, at, sample)
            _stacks(whole, every, at, sample)
            _jacobian(whole, every, at, sample)
            plain = np.asarray(structure.covariance(make_phi(params, sample[1:]), points.index))
            assert not np.any(plain - np.diag(np.diag(plain))), f"{structure.name}: a variance function is diagonal"
        for entry in default_registry().of_kind(PARAMETERIZATION):
            check_residual_against_oracle(whole, entry.cls(), at, PatternEngine, random=False)
    done += [
        "parameters are declared",
        "Σ is diagonal, positive, and follows its points",
        "the Jacobian equals differences",
    ]
    return [*done, "value, gradient and Hessian equal the dense oracle"]


def _names(structure: CovarianceStructure) -> str:
    for name in (structure.name, *structure.aliases):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"the name {name!r} is not ^[a-z][a-z0-9_]*$"
    return "names"


def _declarations(structure: CovarianceStructure, params: tuple[Param, ...], size: int) -> None:
    names = [p.name for p in params]
    assert names, f"{structure.name}: no parameter at {size} points"
    assert len(set(names)) == len(names), f"{structure.name}: parameter names repeat: {names}"
    assert all(name.isidentifier() for name in names), f"{structure.name}: {names} are not all identifiers"
    assert params == tuple(structure.params(points_for(structure, size))), (
        f"{structure.name}: params() changes between calls"
    )


def _edges(params: tuple[Param, ...]) -> list[Array]:
    """Points of the domain next to each bound of each number."""
    base = samples(params)[0]
    out, place = [], 0
    for param in params:
        domain = param.domain
        if isinstance(domain, Box):
            for k in range(domain.count):
                for bound, inward in ((domain.low, 1.0), (domain.high, -1.0)):
                    if np.isfinite(bound):
                        moved = base.copy()
                        moved[place + k] = bound + inward * 1e-9 * max(1.0, abs(bound))
                        out.append(moved)
        place += domain.count
    return out


def _sigma(structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array) -> Array:
    return np.asarray(structure.covariance(make_phi(params, flat), index))


def _positive_definite(
    structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array, *, inside: bool
) -> None:
    sigma = _sigma(structure, params, flat, points.index)
    who = f"{structure.name} at {points.size} points, φ = {flat}"
    assert sigma.shape == (points.size, points.size), f"{who}: Σ has the shape {sigma.shape}"
    assert np.all(np.isfinite(sigma)), f"{who}: Σ is not finite"
    np.testing.assert_allclose(sigma, sigma.T, atol=1e-12 * np.max(np.abs(sigma)), err_msg=f"{who}: Σ is not symmetric")
    smallest = float(np.linalg.eigvalsh(sigma)[0])
    bound = 0.0 if inside else -1e-10 * float(np.max(np.abs(sigma)))
    if structure.singular:
        inside, bound = False, -_SINGULAR * float(np.max(np.abs(sigma)))
    assert smallest > bound or (not inside and smallest >= bound), f"{who}: Σ has the eigenvalue {smallest:.3g}"


def _permutations_and_subsets(
    structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array
) -> None:
    rng = np.random.default_rng(1)
    whole = _sigma(structure, params, flat, points.index)
    for pick in (rng.permutation(points.size), np.arange(0, points.size, 2)):
        part = _sigma(structure, params, flat, points.index[pick])
        np.testing.assert_allclose(
            part, whole[np.ix_(pick, pick)], rtol=1e-10, atol=1e-12,
            err_msg=f"{structure.name}: Σ of some points is not that part of Σ of all points",
        )  # fmt: skip


def _markov(structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array) -> None:
    """What claims to be a chain has a tridiagonal inverse in the order of its points, also of some of them."""
    if not structure.markov(points):
        return
    order = np.lexsort(points.index.T[::-1])
    for pick in (order, order[::2], order[1:]):
        if pick.size < 3:
            continue
        inverse = np.linalg.inv(_sigma(structure, params, flat, points.index[pick]))
        far = np.abs(np.subtract.outer(np.arange(pick.size), np.arange(pick.size))) > 1
        assert np.max(np.abs(inverse[far])) <= 1e-8 * np.max(np.abs(inverse)), (
            f"{structure.name}: markov() is True, and the inverse of Σ is not tridiagonal: return False"
        )


def _scaling(structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array) -> None:
    powers = np.concatenate([np.full(p.domain.count, float(p.scale_power)) for p in params])
    assert np.any(powers > 0), f"{structure.name}: no parameter carries the scale (scale_power 1 or 2)"
    for c in (0.5, 3.0):
        np.testing.assert_allclose(
            _sigma(structure, params, flat * c**powers, points.index), c**2 * _sigma(structure, params, flat, points.index),
            rtol=1e-9, err_msg=f"{structure.name}: Σ(c^power φ) is not c² Σ(φ)",
        )  # fmt: skip


def _stacks(structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array) -> None:
    stacked = np.stack([points.index, points.index[::-1]])
    together = _sigma(structure, params, flat, stacked)
    apart = np.stack([_sigma(structure, params, flat, index) for index in stacked])
    np.testing.assert_allclose(
        together, apart, rtol=1e-12, err_msg=f"{structure.name}: a stack of indices differs from a loop"
    )


def _jacobian(structure: CovarianceStructure, params: tuple[Param, ...], points: Points, flat: Array) -> None:
    term = _bound(structure, points)
    given = jacobian(term.method, structure, params, flat, points.index)
    differences = central_differences(lambda v: _sigma(structure, params, v, points.index), flat)
    size = max(float(np.max(np.abs(differences))), 1e-8)
    np.testing.assert_allclose(
        given,
        differences,
        atol=1e-5 * size,
        err_msg=f"{structure.name}: the Jacobian ({term.method.value}) differs from differences",
    )


def _identifiable(structure: CovarianceStructure, params: tuple[Param, ...], points: Points) -> None:
    flat = samples(params)[0]
    differences = central_differences(lambda v: _sigma(structure, params, v, points.index), flat)
    matrix = differences.reshape(flat.size, -1)
    scaled = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-300)
    singular = np.linalg.svd(scaled, compute_uv=False)
    assert singular[min(flat.size, matrix.shape[1]) - 1] > 1e-8 and flat.size <= points.size * (points.size + 1) // 2, (
        f"{structure.name} at {points.size} points: {flat.size} parameters, which Σ does not tell apart"
    )


def _customary(structure: CovarianceStructure, params: tuple[Param, ...], points: Points) -> None:
    """They are as many as φ, and φ follows from them: their derivatives are of full rank."""
    if structure.customary(make_phi(params, samples(params)[0]), points) is NotImplemented:
        return
    for flat in samples(params):

        def read(v: Array) -> Array:
            return np.asarray(structure.customary(make_phi(params, v), points), dtype=float)

        found = read(flat)
        assert found.shape == flat.shape, (
            f"{structure.name}: customary() gave {found.size} numbers for {flat.size} parameters"
        )
        slopes = central_differences(read, flat)
        scaled = slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-300)
        assert not flat.size or np.linalg.svd(scaled, compute_uv=False)[-1] > 1e-8, (
            f"{structure.name}: customary() does not tell its parameters apart"
        )


def _projection(structure: CovarianceStructure, points: Points) -> None:
    rng = np.random.default_rng(5)
    root = np.eye(points.size) + 0.3 * rng.normal(size=(points.size, points.size))
    target = root @ root.T
    term = _bound(structure, points)
    reached = divergence(term.covariance_of(term.project(target)), target)
    numeric = divergence(
        term.covariance_of(project_numerically(structure, term.params, term.method, points.index, target)), target
    )
    assert reached <= numeric + 1e-5, f"{structure.name}: project() reaches {reached:.8g}, a search {numeric:.8g}"


def _report(structure: CovarianceStructure, params: tuple[Param, ...], points: Points) -> None:
    given = structure.report(make_phi(params, samples(params)[0]), points)
    if given is not NotImplemented:
        assert all(np.isfinite(v) for v in given.values()), f"{structure.name}: report() gives {given}"


class _Cover(Parameterization):
    """The cover as a parameterization."""

    name = "cover"
    from mmframe.covariance.parameterization import RELATIVE as scale

    def bijection(self, param: Param) -> object:
        return cover(param.domain)


def _bound(structure: CovarianceStructure, points: Points) -> BoundTerm:
    return BoundTerm.bind("basis | g", "g", structure, points, _Cover())
