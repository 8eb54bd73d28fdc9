"""What a plugin's structure or coordinates give, looked at once before it is used: where it is of the wrong kind the plugin is
named, rather than whatever would fail on it later. The conformance kit checks what is right; this checks what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.derivative import make_phi
from mmframe.covariance.domain import Array, Domain
from mmframe.covariance.structure import CovarianceStructure, Param, Points
from mmframe.errors import PluginError


def _wrong(structure: CovarianceStructure, said: str) -> PluginError:
    where = f"the covariance structure {structure.name!r} ({type(structure).__module__}.{type(structure).__qualname__})"
    return PluginError(f"{where}: {said} · mmframe conformance checks it")


def checked_params(structure: CovarianceStructure, points: Points) -> tuple[Param, ...]:
    """Its parameters. Raises PluginError for what are none; ValueError is the structure's own, for points that it refuses."""
    given: Any = structure.params(points)
    if not isinstance(given, (tuple, list)) or not all(
        isinstance(p, Param) and isinstance(p.domain, Domain) for p in given
    ):
        raise _wrong(structure, f"params() gave {given!r}; allowed: a tuple of Param")
    names = [p.name for p in given]
    if len(set(names)) < len(names):
        raise _wrong(structure, f"params() gave the names {', '.join(names)}; allowed: each once")
    return tuple(given)


def check_matrix(structure: CovarianceStructure, params: tuple[Param, ...], flat: Array, index: Array) -> None:
    """Σ and its Jacobian at a point inside the domain. Raises PluginError."""
    phi = make_phi(params, flat)
    sigma, wanted = np.asarray(structure.covariance(phi, index)), (*index.shape[:-1], index.shape[-2])
    if sigma.dtype.kind not in "fiu" or sigma.shape != wanted:
        what = f"an array {sigma.shape} of {sigma.dtype}"
        raise _wrong(structure, f"covariance() gave {what} for an index {index.shape}; allowed: real numbers {wanted}")
    if not np.all(np.isfinite(sigma)):
        raise _wrong(structure, f"covariance() gave values that are not finite, at {phi!r}; allowed: numbers")
    if np.max(np.abs(sigma - np.swapaxes(sigma, -1, -2)), initial=0.0) > 1e-8 * np.max(np.abs(sigma), initial=0.0):
        raise _wrong(structure, "covariance() gave a matrix that is not symmetric")
    given: Any = structure.jacobian(phi, index)
    if given is NotImplemented:
        return
    if not isinstance(given, Mapping):
        raise _wrong(structure, f"jacobian() gave {type(given).__name__}; allowed: a mapping, or NotImplemented")
    for param in params:
        if param.name not in given:
            raise _wrong(
                structure, f"jacobian() has no {param.name!r}; allowed: all of {', '.join(p.name for p in params)}"
            )
        shapes = [(param.domain.count, *wanted), *([wanted] if param.domain.count == 1 else [])]
        part = np.asarray(given[param.name])
        if part.dtype.kind not in "fiu" or part.shape not in shapes:
            what = f"an array {part.shape} of {part.dtype}"
            raise _wrong(structure, f"jacobian()[{param.name!r}] is {what}; allowed: real numbers {shapes[0]}")


def checked_mapping(
    structure: CovarianceStructure, method: str, given: Any, names: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """What `project` or `report` gave: a mapping from names, with all of `names` among them. Raises PluginError."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise _wrong(structure, f"{method}() gave {given!r}; allowed: a mapping by name, or NotImplemented")
    missing = [name for name in names if name not in given]
    if missing:
        raise _wrong(structure, f"{method}() has no {missing[0]!r}; allowed: all of {', '.join(names)}")
    return given


def is_markov(structure: CovarianceStructure, points: Points) -> bool:
    """What `markov` says. Raises PluginError for what is no answer."""
    given: Any = structure.markov(points)
    if not isinstance(given, (bool, np.bool_)):
        raise _wrong(structure, f"markov() gave {given!r}; allowed: True or False")
    return bool(given)


def check_bijection(who: str, bijection: Bijection, param: Param) -> None:
    """Coordinates of one parameter, at a value inside its domain. Raises PluginError."""
    domain, size = param.domain, bijection.size
    place = f"the parameterization {who!r}, coordinates of {param.name!r}"
    if size != domain.count:
        raise PluginError(f"{place}: size is {size!r}; allowed: {domain.count}, one a number")
    for name in ("lower", "upper"):
        if np.shape(getattr(bijection, name)) != (size,):
            raise PluginError(f"{place}: {name} is {getattr(bijection, name)!r}; allowed: an array ({size},)")
    value = domain.sample(np.random.default_rng(20240302))
    theta: Any = bijection.inverse(value)
    if not isinstance(theta, np.ndarray) or theta.shape != (size,) or theta.dtype.kind not in "fiu":
        raise PluginError(f"{place}: inverse() gave {theta!r}; allowed: an array ({size},)")
    back: Any = bijection.forward(theta)
    try:
        flat = np.asarray(domain.flatten(back), dtype=float)
    except (TypeError, ValueError, AttributeError):
        flat = np.empty(0)
    if flat.shape != (size,) or not np.all(np.isfinite(flat)):
        raise PluginError(f"{place}: forward() gave {back!r}; allowed: a value of {domain}")
    for name, answer, shape in (
        ("jacobian", bijection.jacobian(theta), (domain.count, size)),
        ("curvature", bijection.curvature(theta, np.ones(domain.count)), (size, size)),
    ):
        if answer is not NotImplemented and np.shape(answer) != shape:
            raise PluginError(f"{place}: {name}() gave {answer!r}; allowed: an array {shape}, or NotImplemented")
