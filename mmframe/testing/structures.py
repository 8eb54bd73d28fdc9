"""The rules of covariance structures and variance functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from mmframe.covariance.derivative import central_differences, jacobian, make_phi
from mmframe.covariance.domain import Array
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.project import divergence, project_numerically
from mmframe.covariance.sound import checked_mapping
from mmframe.covariance.structure import POSITION, CovarianceStructure, Points
from mmframe.registry.registry import PARAMETERIZATION
from mmframe.testing.case import Case, Rule, check_all, chosen
from mmframe.testing.declarations import declarations, names
from mmframe.testing.designs import covariate_points, grid_for, points_for
from mmframe.testing.oracle import bound, check_both_sides
from mmframe.testing.place import Place
from mmframe.testing.places import edges, samples
from mmframe.testing.registered import built_in

SIZES = (1, 2, 3, 5)
_SINGULAR = 1e-10  # the most negative eigenvalue of a singular Σ, relative to its largest entry
_MANY = 64  # points at which Σ must be positive semidefinite as well
_SMALL = 3  # points up to which likelihoods are compared


def check_covariance_structure(
    structure: CovarianceStructure, sizes: tuple[int, ...] = SIZES, rules: Iterable[str] | None = None
) -> list[str]:
    """All rules of a covariance structure, and its likelihood on both sides; the sentences of those that hold.

    sizes: numbers of points to check.   rules: only these. A variance function is checked as a product with a variance that
    carries the scale. Raises ConformanceError at the first rule that is broken, SpecError for a rule that there is not.
    """
    return check_all(chosen(structure_cases(structure, sizes), rules))


def structure_cases(structure: CovarianceStructure, sizes: tuple[int, ...] = SIZES) -> list[Case]:
    """The cases of a structure, one a rule."""
    sizes = tuple(size for size in sizes if _takes(structure, size)) or sizes
    cases = [Case(structure, rule, partial(run, structure, sizes), sizes) for rule, run in RULES.items()]
    for entry in built_in(PARAMETERIZATION):
        name = f"likelihood_{entry.name}"
        says = f"value, gradient and Hessian equal the dense oracle on both sides ({entry.name})"
        rule = Rule(name, says, "mend what the other rules find first; then compare jacobian() with Σ")
        cases.append(Case(structure, rule, partial(_likelihood, entry.cls(), structure, sizes), sizes))
    return cases


def _takes(structure: CovarianceStructure, size: int) -> bool:
    """Whether it takes so many points; it may refuse them by a ValueError."""
    try:
        Place.of(structure, size)
    except ValueError:
        return False
    except Exception:
        return True  # a rule will show it
    return True


def _places(structure: CovarianceStructure, sizes: tuple[int, ...]) -> Iterator[tuple[Place, Array]]:
    for size in sizes:
        place = Place.of(structure, size)
        for flat in samples(place.params):
            yield place, flat


def _pure(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        before, index = flat.copy(), place.points.index.copy()
        phi = make_phi(place.params, flat)
        first = np.array(place.structure.covariance(phi, index))
        second = np.array(place.structure.covariance(phi, index))
        assert np.array_equal(index, place.points.index), f"{place.who()}: covariance() changed its index"
        assert np.array_equal(flat, before), f"{place.who()}: covariance() changed its parameters"
        assert np.array_equal(first, second, equal_nan=True), f"{place.who()}: two calls gave two matrices"
        place.structure.jacobian(phi, index)
        assert np.array_equal(index, place.points.index), f"{place.who()}: jacobian() changed its index"
        assert np.array_equal(flat, before), f"{place.who()}: jacobian() changed its parameters"


def _shape(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        sigma, m = place.sigma(flat), place.points.size
        assert sigma.shape == (m, m), f"{place.who(flat)}: Σ has the shape {sigma.shape}, not {(m, m)}"
        assert np.isrealobj(sigma), f"{place.who(flat)}: Σ is complex"
        assert np.all(np.isfinite(sigma)), f"{place.who(flat)}: Σ is not finite:\n{sigma}"


def _symmetric(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        sigma = place.sigma(flat)
        gap = np.abs(sigma - sigma.T)
        at = np.unravel_index(int(np.argmax(gap)), gap.shape)
        assert gap[at] <= 1e-12 * np.max(np.abs(sigma)), (
            f"{place.who(flat)}: Σ is not symmetric: Σ{list(map(int, at))} = {sigma[at]:.6g}, mirrored {sigma.T[at]:.6g}"
        )


def _smallest(sigma: Array) -> tuple[float, float]:
    """(the smallest eigenvalue, the largest entry)."""
    return float(np.linalg.eigvalsh(0.5 * (sigma + sigma.T))[0]), float(np.max(np.abs(sigma)))


def _positive_definite(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        smallest, size = _smallest(place.sigma(flat))
        enough = smallest >= -_SINGULAR * size if structure.singular else smallest > 0
        assert enough, f"{place.who(flat)}: Σ has the eigenvalue {smallest:.3g}"


def _edges(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        place = Place.of(structure, size)
        for flat in edges(place.params):
            sigma = place.sigma(flat)
            assert np.all(np.isfinite(sigma)), f"{place.who(flat)}: near its edge Σ is not finite"
            smallest, largest = _smallest(sigma)
            assert smallest >= -1e-10 * largest, f"{place.who(flat)}: near its edge Σ has the eigenvalue {smallest:.3g}"


def _many_points(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    if structure.unit:
        return
    scattered = points_for(structure, _MANY)
    # positions need not be whole; a structure may refuse those that are not
    between = Points(scattered.labels, 0.37 * scattered.index)
    places = [scattered, grid_for(structure, _MANY)]
    for points in [*places, *([between] if structure.index_kind is POSITION and not structure.numbered else [])]:
        try:
            place = Place.at(structure, points)
        except ValueError:
            continue  # it says that it does not take these
        if sum(p.domain.count for p in place.params) > _MANY:
            continue  # a matrix of free entries is judged at few points as well as at many
        for flat in samples(place.params, 12):
            assert np.all(np.isfinite(place.sigma(flat))), f"{place.who(flat)}: Σ is not finite"
            smallest, size = _smallest(place.sigma(flat))
            assert smallest >= -1e-9 * size, f"{place.who(flat)}: Σ has the eigenvalue {smallest:.3g}"


def _points(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    for place, flat in _places(structure, sizes):
        whole = place.sigma(flat)
        for pick in (rng.permutation(place.points.size), np.arange(0, place.points.size, 2)):
            part = place.sigma(flat, place.points.index[pick])
            wanted = whole[np.ix_(pick, pick)]
            assert part.shape == wanted.shape and np.allclose(part, wanted, rtol=1e-10, atol=1e-12), (
                f"{place.who(flat)}: Σ of the points {pick.tolist()} is not that part of Σ of all points"
            )


def _stacks(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        index = place.points.index
        stacked = np.stack([index, index[::-1]])
        apart = np.stack([place.sigma(flat, each) for each in stacked])
        for stack, wanted in ((stacked, apart), (stacked[None], apart[None])):
            together = place.sigma(flat, stack)
            assert together.shape == wanted.shape, (
                f"{place.who(flat)}: for an index {stack.shape} Σ has the shape {together.shape}, not {wanted.shape}"
            )
            same = np.allclose(together, wanted, rtol=1e-12, atol=0)
            assert same, f"{place.who(flat)}: a stack of indices differs from a loop"


def _scaling(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        powers = np.concatenate([np.full(p.domain.count, float(p.scale_power)) for p in place.params])
        assert np.any(powers > 0), f"{place.who()}: no parameter carries the scale"
        for c in (0.5, 3.0):
            moved, wanted = place.sigma(flat * c**powers), c**2 * place.sigma(flat)
            assert np.allclose(moved, wanted, rtol=1e-9), (
                f"{place.who(flat)}: Σ(c^power φ) is not c² Σ(φ) for c = {c:g}: {moved.flat[0]:.6g}, not {wanted.flat[0]:.6g}"
            )


def _markov(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        if not place.structure.markov(place.points):
            continue
        order = np.lexsort(place.points.index.T[::-1])
        for pick in (order, order[::2], order[1:]):
            if pick.size < 3:
                continue
            inverse = np.linalg.inv(place.sigma(flat, place.points.index[pick]))
            far = np.abs(np.subtract.outer(np.arange(pick.size), np.arange(pick.size))) > 1
            largest = float(np.max(np.abs(inverse[far])) / np.max(np.abs(inverse)))
            assert largest <= 1e-8, (
                f"{place.who(flat)}: far from the diagonal Σ⁻¹ reaches {largest:.2g} of its largest entry"
            )


def _jacobian(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        method = bound(place.structure, place.points).method
        given = jacobian(method, place.structure, place.params, flat, place.points.index)
        differences = central_differences(place.sigma, flat)
        assert given.shape == differences.shape, (
            f"{place.who(flat)}: the Jacobian ({method.value}) has the shape {given.shape}, not {differences.shape}"
        )
        size = max(float(np.max(np.abs(differences))), 1e-8)
        gap = np.max(np.abs(given - differences), axis=(-2, -1))
        worst = int(np.argmax(gap))
        owner = [p.name for p in place.params for _ in range(p.domain.count)][worst]
        assert gap[worst] <= 1e-5 * size, (
            f"{place.who(flat)}: ∂Σ/∂{owner} ({method.value}) differs from differences by {gap[worst]:.2g}"
        )


def _identifiable(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    place = Place.of(structure, max(sizes))  # at few points a shape may have nothing to shape
    flat = samples(place.params)[0]
    matrix = central_differences(place.sigma, flat).reshape(flat.size, -1)
    scaled = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-300)
    smallest = np.linalg.svd(scaled, compute_uv=False)[min(flat.size, matrix.shape[1]) - 1]
    entries = place.points.size * (place.points.size + 1) // 2
    if structure.unit:
        entries = place.points.size
        flat = flat[1:]  # its level is the variance's
    assert smallest > 1e-8 and flat.size <= entries, (
        f"{place.who()}: {flat.size} parameters, which Σ does not tell apart"
    )


def _customary(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    place = Place.of(structure, max(sizes))
    if place.structure.customary(make_phi(place.params, samples(place.params)[0]), place.points) is NotImplemented:
        return

    def read(values: Array) -> Array:
        return np.asarray(place.structure.customary(make_phi(place.params, values), place.points), dtype=float)

    for flat in samples(place.params):
        found = read(flat)
        assert found.shape == flat.shape, (
            f"{place.who()}: customary() gave {found.size} numbers for {flat.size} parameters"
        )
        slopes = central_differences(read, flat)
        scaled = slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-300)
        smallest = np.linalg.svd(scaled, compute_uv=False)[-1] if flat.size else 1.0
        assert smallest > 1e-8, f"{place.who(flat)}: customary() does not tell its parameters apart"


def _projection(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    if structure.singular or structure.unit:
        return
    for size in sizes:
        place = Place.of(structure, size)
        rng = np.random.default_rng(5)
        root = np.eye(size) + 0.3 * rng.normal(size=(size, size))
        target = root @ root.T
        term = bound(structure, place.points)
        reached = divergence(term.covariance_of(term.project(target)), target)
        searched = project_numerically(structure, term.params, term.method, place.points.index, target)
        numeric = divergence(term.covariance_of(searched), target)
        assert reached <= numeric + 1e-5, f"{place.who()}: project() reaches {reached:.8g}, a search {numeric:.8g}"


def _report(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for place, flat in _places(structure, sizes):
        given = place.structure.report(make_phi(place.params, flat), place.points)
        if given is not NotImplemented:
            named = checked_mapping(place.structure, "report", given)
            assert all(np.isfinite(v) for v in named.values()), f"{place.who(flat)}: report() gives {given}"


def _diagonal(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    if not structure.unit:
        return
    for size in sizes:
        place = Place.at(structure, covariate_points(structure, size))
        for flat in samples(place.params):
            sigma = place.sigma(flat)
            assert not np.any(sigma - np.diag(np.diag(sigma))), f"{place.who(flat)}: a variance function is diagonal"


def _likelihood(parameterization: Parameterization, structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for size in (s for s in sizes if s <= _SMALL):
        place = Place.of(structure, size)
        check_both_sides(place.structure, parameterization, place.points, random=not structure.unit)


_Run = Callable[[CovarianceStructure, tuple[int, ...]], None]

RULES: dict[Rule, _Run] = {
    Rule(
        "names",
        "names are lower case, and options are fields of a frozen attrs class",
        "name it after ^[a-z][a-z0-9_]*$, decorate the class with @attrs.frozen, and declare options as its fields",
    ): names,
    Rule(
        "parameters",
        "parameters are declared, under names of their own, the same at each call",
        "let params() depend on its points and the options alone, and name each parameter once",
    ): declarations,
    Rule(
        "pure",
        "covariance() and jacobian() leave their arguments as they are, and give the same twice",
        "work on copies (index = index.copy(), phi.sd * 2 and not phi.sd *= 2), and draw nothing at random",
    ): _pure,
    Rule(
        "shape",
        "Σ is a real, finite matrix (m, m)",
        "return one row and one column a point; index[..., :, None, :] - index[..., None, :, :] pairs the points",
    ): _shape,
    Rule("symmetric", "Σ is symmetric", "let the entry of two points depend on both in the same way"): _symmetric,
    Rule(
        "positive_definite",
        "Σ is positive definite inside the domain",
        "narrow the domain of the parameters, params(points) may let it depend on the points; or set singular = True where"
        " Σ has a low rank on purpose",
    ): _positive_definite,
    Rule(
        "edges",
        "Σ is finite and positive semidefinite near the edges of the domain",
        "narrow the domain: compound symmetry over m points takes Interval(-1/(m-1), 1), not Interval(-1, 1)",
    ): _edges,
    Rule(
        "many_points",
        f"Σ is positive semidefinite at {_MANY} points, scattered and on a grid",
        "a function of the distance must be positive definite in the dimension of its points; refuse others in params() by a"
        " ValueError",
    ): _many_points,
    Rule(
        "points",
        "Σ follows its points: permutations and subsets",
        "compute an entry from the index of its two points, never from their place in the order",
    ): _points,
    Rule(
        "stacks",
        "a stack of indices (..., m, d) gives a stack of matrices (..., m, m), as a loop does",
        "write index[..., 0] and not index[:, 0], and transpose by swapaxes(-1, -2)",
    ): _stacks,
    Rule(
        "scale_power",
        "scale powers hold: Σ(c^power φ) = c² Σ(φ), and some parameter carries the scale",
        "give scale_power=2 to variances, 1 to standard deviations, 0 to correlations and shapes",
    ): _scaling,
    Rule(
        "markov",
        "what says that it is Markov has a tridiagonal inverse",
        "return False from markov(), or True only for the options and points where it holds",
    ): _markov,
    Rule(
        "jacobian",
        "∂Σ/∂φ equals differences",
        "correct jacobian(), or leave it out: then Σ is differentiated for you",
    ): _jacobian,
    Rule(
        "identifiable",
        "Σ tells its parameters apart",
        "leave out of params() what Σ does not depend on at these points, or what others can stand for",
    ): _identifiable,
    Rule(
        "customary",
        "customary parameters are a change of parameters",
        "let customary() return as many independent numbers as φ has, or leave it out",
    ): _customary,
    Rule(
        "projection",
        "project() finds the minimum of log|Σ| + tr(Σ⁻¹ target)",
        "correct project(), or leave it out: then a search takes its place",
    ): _projection,
    Rule(
        "report", "what report() gives is finite", "leave out of report() what is not defined at these points"
    ): _report,
    Rule(
        "diagonal",
        "a variance function is diagonal",
        "return zeros off the diagonal, or set unit = False: it is a covariance structure",
    ): _diagonal,
}
